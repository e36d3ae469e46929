"""Scrubbing in processes of its own, where a hard deadline ends it: no text can hold its caller or another text.

`pool.ScrubberPool` is what callers use. `template.Template` starts a process that has everything loaded and forks the
workers from it (`python -m ingest.scrub.workers.main`); `worker.serve` is such a worker's loop. They speak the messages
of `wire`, in JSON, over socket pairs that no other process can reach; `codec` is the shape of those messages.
"""

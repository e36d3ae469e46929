"""Scrubbing in processes of its own, where a hard deadline ends it: no text can hold its caller or another text.

Callers use `pool.ScrubberPool`. `template.Template` starts a process that has everything loaded and forks the workers
from it (`python -m ingest.scrub.workers.main`); `worker.serve` is such a worker's loop. They exchange the frames of
`wire`, in JSON, over socket pairs that no other process can reach; `codec` has the shape of the messages.
"""

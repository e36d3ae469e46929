"""How much personal data scrubbing finds and how much else it removes, beside stock Presidio in the same run.

Usage: python -m bench.ingest [--spans FILE] [--conversations FILE] [--retail N] [--speed]
                              [--request-path N] [--deadlines] [--imports N,N] [--limit N] [--misses N] [--json OUT]

--spans FILE         JSONL of `{"text", "spans": [{"start", "end", "label"}]}`. A span counts as covered when each of
                     its letters and digits is replaced, whatever the type given.
--conversations FILE a conversation file without labels. Counts what an independent set of patterns still finds in it.
--retail N           makes up N shop chats whose values are known (`bench.retail`) and counts what is left of them.
--speed              messages a second of processor time at two lengths: one at a time, read together, and as
                     `shoptalk scrub` does it (until nothing more is found).
--request-path N     the time that scrubbing adds to a chat's eleventh turn, in N chats each way.
--imports N,N        imports made-up conversations of N turns, each time in a new process: turns a second, and the most
                     memory it held at a tenth of the way and at the end.
--deadlines          how soon the next text is answered after a text that was stopped at its deadline.
--misses N           prints N spans that were not covered.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.scrubbing_quality import conversations, lines, ours, quality, retail, stock
from bench.scrubbing_speed import deadlines, imports, request_path, speed
from ingest.scrub.scrubber import PresidioScrubber
from ingest.scrub.workers.pool import ScrubberPool


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spans", type=Path)
    parser.add_argument("--conversations", type=Path)
    parser.add_argument("--retail", type=int)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--request-path", type=int)
    parser.add_argument("--deadlines", action="store_true")
    parser.add_argument("--imports", help="numbers of turns, with commas between")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--misses", type=int, default=0)
    parser.add_argument("--no-stock", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    chosen = vars(options).keys() - {"limit", "misses", "no_stock", "json"}
    if not any(getattr(options, name) for name in chosen):
        parser.error("name something to measure, such as --retail 300, which needs no file")
    from ingest.scrub.analyzer import Analyzer

    scrubber = PresidioScrubber(Analyzer())
    result: dict[str, Any] = {}
    if options.spans:
        rows = list(lines(options.spans, options.limit))
        result["shoptalk"] = quality(ours(scrubber), rows, options.misses)
        if not options.no_stock:
            result["stock Presidio"] = quality(stock(), rows)
    if options.conversations:
        result["conversations"] = conversations(scrubber, list(lines(options.conversations, options.limit)))
    if options.retail:
        result["retail"] = retail(scrubber, options.retail)
    if options.speed or options.request_path or options.deadlines:
        with contextlib.closing(ScrubberPool()) as processes:
            processes.start()
            if options.speed:
                result["messages_per_cpu_second"] = speed(processes)
            if options.request_path:
                result["request_path"] = request_path(processes, options.request_path)
            if options.deadlines:
                result["deadlines"] = deadlines(processes)
    if options.imports:
        counts = [int(count) for count in options.imports.split(",")]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            result["imports"] = list(pool.map(imports, counts))
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

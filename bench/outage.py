"""How long admission takes while Label Studio accepts connections and never answers.

Usage: python -m bench.outage [--seconds 600] [--json OUT]

A shop on its default settings, but for the null engine. A customer chats each second; the lag is the age of the oldest
entry in the inbox, looked at ten times a second. `before` is the same without anything to push.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

from bench.client import percentile
from shoptalk.domain import Scope
from shoptalk.store.ingest import inbox
from shoptalk.store.labeling import samples
from tests.e2e.silent import silent_server
from tests.e2e.stack import Stack, until
from tests.rows import newest_turns, sample

CALM_S = 60.0


def lags(stack: Stack, seconds: float) -> dict[str, float]:
    """Return the lag of admission in seconds while a customer chats."""
    stop = threading.Event()

    def chat() -> None:
        body = {"model": "shop", "messages": [{"role": "user", "content": "where is my parcel"}]}
        with stack.client(Scope.CHAT) as http:
            while not stop.wait(1.0):
                http.post("/v1/chat/completions", json=body).raise_for_status()

    customer = threading.Thread(target=chat)
    customer.start()
    found, until_s = [], time.monotonic() + seconds
    while time.monotonic() < until_s:
        with stack.parts.store.read() as conn:
            since = inbox.backlog(conn)[1]
        found.append((stack.parts.store.now() - since).total_seconds() if since else 0.0)
        time.sleep(0.1)
    stop.set()
    customer.join()
    return {
        "p50_s": round(percentile(found, 0.5), 2),
        "p99_s": round(percentile(found, 0.99), 2),
        "most_s": round(max(found), 2),
    }


def measure(seconds: float) -> dict[str, object]:
    with (
        tempfile.TemporaryDirectory() as home,
        silent_server() as url,
        Stack(Path(home), label_studio_url=url, label_studio_token="0" * 40) as stack,
    ):
        stack.start("serve")
        stack.start("worker")
        before = lags(stack, CALM_S)
        with stack.parts.store.write() as conn:
            reply = next(turn for turn in newest_turns(conn) if turn.role == "assistant")
            samples.add(conn, sample("smp_1", turn_id=reply.id, conversation_id=reply.conversation_id))
        until(lambda: "busy with push" in stack.run("worker", "--check").stdout, "the push to hang")
        return {"seconds": seconds, "before": before, "during": lags(stack, seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.seconds)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

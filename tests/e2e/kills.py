"""Customers who go on chatting while processes are killed, and the check of the store afterwards.

Nothing acknowledged may be missing or stored twice. For tests and for bench/kills.py.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import sqlalchemy as sa

from shoptalk.store.ingest import inbox
from shoptalk.store.schema import conversations, feedback, inferences, quarantine, turns
from tests.e2e.stack import Stack, until

REPEATED = 0.2  # share of requests sent again although they were answered
MOST_EXCHANGES = 4  # in a conversation
RATED = 0.3
CUSTOMERS = 4


@dataclass
class Acknowledged:
    """All that the API acknowledged to customers."""

    exchanges: dict[str, list[str]] = field(default_factory=dict)  # a conversation's inferences, in order
    ratings: list[str] = field(default_factory=list)
    repeated: int = 0
    contradicted: list[str] = field(default_factory=list)  # answered differently when asked again

    @property
    def turns(self) -> int:
        return 2 * sum(map(len, self.exchanges.values()))


class Customer(threading.Thread):
    """A customer who holds one conversation after the other, and repeats what fails under the same idempotency key."""

    def __init__(self, stack: Stack, key: str, number: int, halt: threading.Event) -> None:
        super().__init__(daemon=True)
        headers = {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=stack.url, headers=headers, timeout=10, trust_env=False)
        self._number, self._halt = number, halt
        self._chance = random.Random(number)
        self.acknowledged = Acknowledged()

    def run(self) -> None:
        talk = 0
        with self._http:
            while not self._halt.is_set():
                talk += 1
                self._talk(f"talk-{self._number}-{talk}")

    def _talk(self, conversation: str) -> None:
        messages: list[dict[str, str]] = []
        acknowledged = self.acknowledged.exchanges.setdefault(conversation, [])
        for n in range(self._chance.randint(1, MOST_EXCHANGES)):
            messages.append({"role": "user", "content": f"and my question {n} about a kettle"})
            body = {"model": "shop", "messages": messages, "metadata": {"conversation_id": conversation}}
            answer = self._send("/v1/chat/completions", body, {"Idempotency-Key": uuid4().hex})
            if answer is None:
                return
            acknowledged.append(str(answer["id"]))
            messages.append(answer["choices"][0]["message"])
            if self._chance.random() < RATED:
                rating = {"inference_id": answer["id"], "metric": "thumbs", "value": 1, "idempotency_key": uuid4().hex}
                kept = self._send("/v1/feedback", rating, {})
                if kept is not None:
                    self.acknowledged.ratings.append(str(kept["id"]))

    def _send(self, path: str, body: object, headers: dict[str, str]) -> dict[str, Any] | None:
        """Send a request until it is acknowledged, and a share of them once more."""
        answer = self._until_answered(path, body, headers)
        if answer is not None and self._chance.random() < REPEATED:
            again = self._until_answered(path, body, headers)
            if again is not None:
                self.acknowledged.repeated += 1
                if again["id"] != answer["id"]:
                    self.acknowledged.contradicted.append(f"{answer['id']} became {again['id']}")
        return answer

    def _until_answered(self, path: str, body: object, headers: dict[str, str]) -> dict[str, Any] | None:
        """Return the answer, or None where the customer must stop first."""
        while True:
            try:
                response = self._http.post(path, json=body, headers=headers)
                response.raise_for_status()
                return dict(response.json())
            except httpx.HTTPError:
                if self._halt.is_set():
                    return None
                time.sleep(0.1)


def chat_while_killed(
    stack: Stack, kills: int, turns_between: int, report: Callable[[int, int], None] = lambda _kill, _turns: None
) -> Acknowledged:
    """Kill the API `kills` times, each after about `turns_between` more turns, and the worker every third time.

    Call `report` after each kill, with its number and the turns acknowledged so far. Drain the inbox at the end.
    """
    halt, chance = threading.Event(), random.Random(kills)
    key = stack.key()
    customers = [Customer(stack, key, n, halt) for n in range(CUSTOMERS)]
    stack.start("worker")
    for customer in customers:
        customer.start()

    def acknowledged() -> int:
        return sum(c.acknowledged.turns for c in customers)

    try:
        for kill in range(kills):
            wanted = acknowledged() + round(turns_between * chance.uniform(0.8, 1.3))
            until(lambda wanted=wanted: acknowledged() >= wanted, "acknowledgements", 300)
            if kill % 3 == 2:
                stack.kill("worker")
                stack.start("worker")
            stack.kill("serve")
            stack.start("serve")
            report(kill + 1, acknowledged())
    finally:
        halt.set()
        for customer in customers:
            customer.join()
    until(lambda: _waiting(stack) == 0, "the drain", 600)
    found = Acknowledged()
    for customer in customers:
        found.exchanges |= customer.acknowledged.exchanges
        found.ratings += customer.acknowledged.ratings
        found.repeated += customer.acknowledged.repeated
        found.contradicted += customer.acknowledged.contradicted
    return found


def _waiting(stack: Stack) -> int:
    with stack.parts.store.read() as conn:
        return inbox.count(conn)


def faults(stack: Stack, acknowledged: Acknowledged) -> list[str]:
    """Return what is missing, doubled or out of order; empty where all is well."""
    with stack.parts.store.read() as conn:
        rows = conn.execute(
            sa.select(turns.c.id, turns.c.conversation_id, turns.c.parent_id, turns.c.role, turns.c.inference_id)
        ).all()
        replies = set(conn.execute(sa.select(inferences.c.id)).scalars())
        ratings = Counter(conn.execute(sa.select(feedback.c.id)).scalars())
        refused = conn.execute(sa.select(sa.func.count()).select_from(quarantine)).scalar_one()
        ids = {p: id for p, id in conn.execute(sa.select(conversations.c.public_hash, conversations.c.id))}
    found = list(acknowledged.contradicted)
    if refused:
        found.append(f"{refused} in quarantine")
    by_conversation: dict[str, list[Any]] = {}
    for row in rows:
        by_conversation.setdefault(row.conversation_id, []).append(row)
    for public, wanted in acknowledged.exchanges.items():
        stored = by_conversation.get(ids.get(stack.parts.secrets.public_conversation(public), ""), [])
        line = _in_order(stored)
        if line is None:
            found.append(f"{public}: two turns follow the same one: {[r.inference_id for r in stored]} {wanted}")
            continue
        said = [row.inference_id for row in line if row.role == "assistant"]
        # the last exchange may have been kept although its answer was lost
        if said[: len(wanted)] != wanted or len(said) > len(wanted) + 1 or len(line) != 2 * len(said):
            found.append(f"{public}: {len(wanted)} replies acknowledged, {len(said)} stored in {len(line)} turns")
        found += [f"{public}: no record of {id}" for id in said if id not in replies]
    found += [f"{id}: stored {ratings[id]} times" for id in acknowledged.ratings if ratings[id] != 1]
    return found


def _in_order(rows: list[Any]) -> list[Any] | None:
    """Return the turns from first to last, or None where they branch."""
    after = {row.parent_id: row for row in rows}
    if len(after) != len(rows):
        return None
    line, parent = [], None
    while (row := after.get(parent)) is not None:
        line.append(row)
        parent = row.id
    return line if len(line) == len(rows) else None

"""Erasure in this stage: the rows of erased conversations, and adapters that were trained on them. Knows no dataset.

Prefix caches in memory are emptied by each API process itself (`chatbot.release.follower`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from chatbot.release.moves import ReleaseMoves
from shoptalk.domain import AdapterRef
from shoptalk.models.registry import Registry
from shoptalk.ports import Erased
from shoptalk.store import Store, adapters
from shoptalk.store.chat import answers, chats, inferences, releases

ACTOR: Final = "erasure"


class ChatEraser:
    """Erases conversations, inferences, and the answers kept for idempotency keys."""

    name: Final = "chatbot"
    covers: Final = frozenset({"conversations", "chat_turns", "inferences", "answers"})

    def __init__(self, store: Store) -> None:
        self._store = store

    def erase(self, what: Erased) -> dict[str, int]:
        """Delete the rows; return counts by kind."""
        with self._store.write() as conn:
            counts = {
                "answers": answers.erase(conn, [*what.conversations, *what.inferences]),
                "inferences": inferences.erase(conn, what.conversations),
                "places of turns": chats.erase(conn, what.conversations),
            }
            what.done(conn, counts)
        return counts


class Withdrawals:
    """Takes marked adapters out of service, each by its policy, and deletes the files of those nobody serves.

    One that is served goes at once, or when its successor is live, at the latest `latest` after its mark. Either way
    `ask` is called for a round, which makes that successor.
    """

    name: Final = "service"
    covers: Final = frozenset({"adapter_marks", "artifacts/"})

    def __init__(
        self, store: Store, releases: ReleaseMoves, registry: Registry, latest: timedelta, ask: Callable[[str], object]
    ) -> None:
        self._store, self._releases, self._registry = store, releases, registry
        self._latest, self._ask = latest, ask

    def erase(self, what: Erased) -> dict[str, Any]:
        """Withdraw what the erasure marked, and ask for a successor; return the outcome for each adapter."""
        with self._store.read() as conn:
            mine, served = adapters.marks_of(conn, what.erasure), _served(conn)
        for mark in mine:
            if mark.ref in served:
                self._ask(f"{mark.ref} was trained on what {what.erasure} erased")
        self.run_once()
        with self._store.read() as conn:
            mine = adapters.marks_of(conn, what.erasure)
        return {str(mark.ref): "withdrawn" if mark.withdrawn_at else self._until(mark) for mark in mine}

    def _until(self, mark: adapters.Mark) -> str:
        return f"serves until replaced, at the latest until {mark.created_at + self._latest:%Y-%m-%d %H:%M} UTC"

    def run_once(self) -> int:
        """Withdraw marked adapters and delete files, as far as possible now; return how many were dealt with."""
        with self._store.read() as conn:
            marks = adapters.open_marks(conn)
            served = _served(conn)
            observed = {AdapterRef.parse(row.adapter) for row in releases.all_observed(conn)}
        count, late = 0, self._store.now() - self._latest
        for mark in marks:
            due = mark.policy == "now" or mark.ref not in served or mark.created_at <= late
            if mark.withdrawn_at is None and due:
                self._releases.withdraw(mark.ref, ACTOR, f"trained on what {mark.erasure_id} erased")
                self._registry.withdraw(mark.ref)
                count += 1
            elif mark.withdrawn_at is not None and mark.deleted_at is None and mark.ref not in observed:
                self._registry.delete_files(mark.ref)
                count += 1
        return count


def _served(conn: sa.Connection) -> set[AdapterRef]:
    """Return what aliases should serve, and what they serve while that rolls out."""
    served = {AdapterRef.parse(row.adapter) for row in releases.all_desired(conn)}
    return served | {AdapterRef.parse(release.previous) for release in releases.rolling_out(conn)}

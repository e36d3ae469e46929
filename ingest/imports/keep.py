"""Writes what an import brings of each conversation into the inbox, in the caller's transaction.

Only what is not here yet is written. A conversation that changed is a new version: turns that it has no more are
superseded. Scrubs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa

from ingest.formats.files import LineProblem
from ingest.imports.lookup import ConversationLookup, IncomingConversation, refusal
from ingest.imports.prepare import PreparedConversation
from ingest.imports.result import ImportOutcome
from shoptalk.crypto import Secrets
from shoptalk.events import ExchangeRecorded
from shoptalk.ports import Inbox
from shoptalk.store.chat import chats
from shoptalk.store.ingest import imports, quarantine, turns
from shoptalk.store.ingest import inbox as entries

CHANGED: Final = ("", "it was changed while it was read; import it again")

OpenConversation = Callable[[sa.Connection, chats.StoredConversation], bool]
"""The chatbot's way of opening a conversation; returns whether it is new."""


class ConversationKeeper:
    """Keeps conversations, with what is known of them."""

    def __init__(
        self,
        inbox: Inbox,
        secrets: Secrets,
        scrubber_version: str,
        lookup: ConversationLookup,
        open_conversation: OpenConversation,
    ) -> None:
        self._inbox, self._secrets, self._scrubber_version = inbox, secrets, scrubber_version
        self._lookup, self._open = lookup, open_conversation

    def keep(
        self,
        conn: sa.Connection,
        item: IncomingConversation,
        prepared: PreparedConversation | None,
        batch_id: str | None,
        dry_run: bool,
    ) -> ImportOutcome:
        """Keep what of a conversation is not here yet, and remember this version of it.

        `prepared` is None where there was nothing to prepare. With `dry_run` nothing is written.
        """
        line = item.raw.line
        if self._lookup.erased(conn, item):
            return ImportOutcome(line, "erased")
        before = imports.known(conn, [item.id]).get(item.id)
        if before is not None and self._lookup.unchanged(item, before):
            if not dry_run:
                _ascribe(conn, item, chats.find(conn, item.id), before.turn_ids)
            return ImportOutcome(line, "unchanged")
        # opened first, so that whoever else opens it waits and sees it
        new = not dry_run and self._open(conn, item.opened)
        opened = item.opened if new else chats.find(conn, item.id)
        refused = None if new else refusal(conn, item, opened)
        if refused or prepared is None:
            return ImportOutcome(line, "refused", problem=str(LineProblem(line, *(refused or CHANGED))))
        payload = self._payload(conn, prepared, before)
        if not dry_run and not self._write(conn, prepared, payload, before, opened, batch_id):
            payload = None
        if payload is None:
            return ImportOutcome(line, "unchanged")
        problem = prepared.reason or "; ".join(map(str, prepared.failures)) or None
        return ImportOutcome(line, "changed" if before else "new", len(payload.turns), problem)

    def _write(
        self,
        conn: sa.Connection,
        prepared: PreparedConversation,
        payload: ExchangeRecorded | None,
        before: imports.Known | None,
        opened: chats.StoredConversation | None,
        batch_id: str | None,
    ) -> bool:
        """Remember the version and put the payload into the inbox; return whether that was new there."""
        item, ids = prepared.item, [turn.id for turn in prepared.turns]
        version = 1 + (before.version if before else 0)
        imports.remember(conn, imports.Known(item.id, item.digest, self._scrubber_version, version, ids))
        _ascribe(conn, item, opened, ids)
        if payload is None:
            return False
        customer = item.customer or (opened.customer if opened else None)
        entry = "arr_" + self._secrets.digest("import arrival", _content_key(item.id, payload))[:32]
        return self._inbox.accept(conn, entry, payload, item.id, batch_id, customer)

    def _payload(
        self, conn: sa.Connection, prepared: PreparedConversation, before: imports.Known | None
    ) -> ExchangeRecorded | None:
        """Return what of a conversation is not stored yet; None where all of it is."""
        ids = [turn.id for turn in prepared.turns]
        stored = {turn_id: turn.text for turn_id, turn in turns.many(conn, ids).items()}
        on_their_way = set(before.turn_ids if before and entries.waits(conn, prepared.item.id) else ())
        fresh = [turn for turn in prepared.turns if turn.id not in stored and turn.id not in on_their_way]
        revisions = {
            turn.id: turn.text
            for turn in prepared.turns
            if turn.text is not None and stored.get(turn.id) not in (None, turn.text)
        }
        superseded = sorted(set(before.turn_ids) - set(ids)) if before else []
        if not fresh and not revisions and not superseded:
            return None
        return ExchangeRecorded(
            source="import",
            scrubber=self._scrubber_version,
            turns=fresh,
            revisions=revisions,
            superseded=superseded,
            failures=[str(failure) for failure in prepared.failures],
        )


def _content_key(conversation: str, payload: ExchangeRecorded) -> str:
    """Return what an entry is known by: the same content, sent again, is the same entry."""
    revised = [part for pair in sorted(payload.revisions.items()) for part in pair]
    return "\0".join([conversation, *(turn.id for turn in payload.turns), *revised, *payload.superseded])


def _ascribe(
    conn: sa.Connection, item: IncomingConversation, opened: chats.StoredConversation | None, turn_ids: Sequence[str]
) -> None:
    """Give the customer that a conversation names now what was imported of it before they were known."""
    if item.customer is None or opened is None or opened.customer == item.customer:
        return
    turns.ascribe(conn, turn_ids, item.customer)
    entries.ascribe(conn, item.id, item.customer)
    quarantine.ascribe(conn, item.id, item.customer)

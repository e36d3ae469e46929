"""Finds out what is known of conversations that come from elsewhere: whose they are, and whether they changed.

Known by a keyed digest of all that was said, so that this takes no scrubbing. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from ingest.formats.files import FileConversation
from shoptalk.crypto import Secrets
from shoptalk.owners import IMPORT
from shoptalk.store import erasures
from shoptalk.store.chat import chats
from shoptalk.store.conversation_ids import erased, stored_ids
from shoptalk.store.ingest import imports, inbox, quarantine, turns

OTHER_CUSTOMER: Final = ("customer_id", "this conversation is another customer's; give it an id of its own")
OTHER_OWNER: Final = ("conversation_id", "this conversation is another owner's; give it an id of its own")


@dataclass(frozen=True, slots=True)
class IncomingConversation:
    """A conversation as it came, raw, and its identity here."""

    raw: FileConversation
    opened: chats.StoredConversation
    #: keyed digest of all that was said
    digest: str

    @property
    def id(self) -> str:
        """The stored id."""
        return self.opened.id

    @property
    def customer(self) -> str | None:
        """Keyed hash of the customer's id."""
        return self.opened.customer


class ConversationLookup:
    """Looks up conversations for a scrubber's version: with another one, everything counts as changed."""

    def __init__(self, secrets: Secrets, scrubber_version: str) -> None:
        self._secrets, self._scrubber_version = secrets, scrubber_version

    def incoming(self, conn: sa.Connection, raw: Sequence[FileConversation], owner: str) -> list[IncomingConversation]:
        """Return the conversations with their identity, in order."""
        ids = self._stored_ids(conn, [each.id for each in raw], owner)
        return [self._incoming(each, id, owner) for each, id in zip(raw, ids, strict=True)]

    def to_scrub(self, conn: sa.Connection, items: Sequence[IncomingConversation]) -> list[IncomingConversation]:
        """Return those that are new or changed and may be taken in."""
        ids = [item.id for item in items]
        known, opened = imports.known(conn, ids), chats.find_many(conn, ids)
        changed = [item for item in items if not self.unchanged(item, known.get(item.id))]
        allowed = [item for item in changed if not refusal(conn, item, opened.get(item.id))]
        return [item for item in allowed if not self.erased(conn, item)]

    def unchanged(self, item: IncomingConversation, known: imports.Known | None) -> bool:
        """Return whether this version of the conversation was imported before, by this scrubber."""
        return known is not None and (known.digest, known.scrubber) == (item.digest, self._scrubber_version)

    def erased(self, conn: sa.Connection, item: IncomingConversation) -> bool:
        """Return whether the conversation or its customer was erased."""
        if item.customer is not None and erasures.buried(conn, [self._secrets.tombstone(item.customer)]):
            return True
        return erased(conn, self._secrets, item.raw.id, item.opened.owner)

    def _stored_ids(self, conn: sa.Connection, public_ids: Sequence[str], owner: str) -> list[str]:
        """Return where each conversation is, or would be.

        Before there were owners, an import added to whatever had the same id; such an import is known again.
        """
        found = stored_ids(conn, self._secrets, public_ids, owner)
        if owner != IMPORT:
            return found
        former = [self._secrets.public_conversation(public) for public in public_ids]
        added = imports.known(conn, former)
        return [old if old in added else id for old, id in zip(former, found, strict=True)]

    def _incoming(self, raw: FileConversation, id: str, owner: str) -> IncomingConversation:
        said = [[turn.role, turn.text, turn.at.isoformat() if turn.at else None] for turn in raw.turns]
        content = [raw.customer, said, sorted(raw.record.items())]
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        customer = None if raw.customer is None else self._secrets.customer(raw.customer)
        opened = chats.StoredConversation(id, owner, customer, self._secrets.public_conversation(raw.id))
        return IncomingConversation(raw, opened, self._secrets.digest("import content", text))


def refusal(
    conn: sa.Connection, item: IncomingConversation, opened: chats.StoredConversation | None
) -> tuple[str, str] | None:
    """Return the field and the reason why nothing may be added: another owner's, or another customer's conversation."""
    if opened is None:
        return None
    if opened.owner != item.opened.owner:
        return OTHER_OWNER
    if item.customer is None:
        return None
    present = {opened.customer} - {None}
    present |= {customer for table in (turns, inbox, quarantine) for customer in table.customers(conn, opened.id)}
    return OTHER_CUSTOMER if present - {item.customer} else None

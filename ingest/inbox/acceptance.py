"""Keeps what the API and imports acknowledge, encrypted, inside their own transaction. Knows no HTTP and no drain.

`shoptalk.events` has the payloads, which were scrubbed before they come here.
"""

from __future__ import annotations

import sqlalchemy as sa

from shoptalk.crypto import Secrets
from shoptalk.events import Payload
from shoptalk.store.ingest import inbox


class EncryptedInbox:
    """Satisfies `shoptalk.ports.Inbox`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def accept(
        self,
        conn: sa.Connection,
        id: str,
        payload: Payload,
        conversation_id: str,
        batch_id: str | None = None,
        customer: str | None = None,
    ) -> bool:
        """Encrypt and keep; return whether it was new. Durable when the caller's transaction commits."""
        body = self._secrets.encrypt(payload.as_json())
        return inbox.add(conn, id, payload.kind, conversation_id, body, batch_id, customer)

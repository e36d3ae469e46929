"""Takes what the API acknowledges, encrypted, inside the API's own transaction. Knows no HTTP and no drain.

Two kinds of payload, both scrubbed before they come here; `shoptalk.events` checks them when they are opened.

`exchange`::

    {"source": "chat" | "import", "scrubber": version,
     "turns": [{"id", "parent_id": str | null, "role": "system" | "user" | "assistant", "text": str | null,
                "reason": str | null, "inference_id": str | null, "at": ISO 8601 with zone, "pii": {TYPE: n}}],
     "revisions": {turn_id: new text}, "superseded": [turn_id], "failures": [text]}

A turn whose text could not be scrubbed has no text, and the reason instead. `revisions` are earlier turns of the
same conversation in which a value found later was found too. `superseded` are turns of an imported conversation's
former version; `failures` are of the checks of `ingest.inbox.validation`.

`feedback`::

    {"id", "inference_id": str | null, "metric", "value": number, "comment": str | null, "pii": {TYPE: n},
     "at": ISO 8601 with zone, "scrubber": version, "caller": {"owner", "customer": str | null} | null}

Where the inference was not known yet, `caller` says whose it must turn out to be, and the arrival's conversation is the
inference's id. Before there were owners it named the `key_id` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from shoptalk.crypto import Secrets
from shoptalk.store.ingest import inbox


class ArrivalInbox:
    """Satisfies `shoptalk.ports.Inbox`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def accept(
        self,
        conn: sa.Connection,
        id: str,
        kind: str,
        conversation_id: str,
        payload: Mapping[str, Any],
        batch_id: str | None = None,
        customer: str | None = None,
    ) -> bool:
        """Seal and keep; says whether it was new. Durable when the caller's transaction commits."""
        return inbox.add(conn, id, kind, conversation_id, self._secrets.encrypt(dict(payload)), batch_id, customer)

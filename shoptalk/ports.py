"""What one stage needs of another, as Protocols; `compose` passes in what satisfies them.

Stages import these and `shoptalk`, never each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from shoptalk.domain import Erasure, ErasurePolicy, Message
from shoptalk.errors import ScrubbingFailed


class Filler(Protocol):
    """Fills placeholders in text that arrives in pieces."""

    def feed(self, piece: str) -> str:
        """What can be shown now; holds back what may be the start of a placeholder."""
        ...

    def flush(self) -> str:
        """The rest, at the end of the text."""
        ...


class Vault(Protocol):
    """One request's memory of which value each placeholder stands for. Never written anywhere."""

    def fill(self, text: str) -> str:
        """Put values back. A placeholder the model invented becomes its plain type: 'your order number'."""
        ...

    def settle(self, text: str) -> str:
        """For the record: known placeholders stay, invented ones become their plain type."""
        ...

    def filler(self) -> Filler: ...


class Scrubbed(Protocol):
    """A conversation after scrubbing; every sequence is as long as the input."""

    @property
    def texts(self) -> Sequence[str]:
        """Causal: a message's text depends on it and the ones before it only, so prefixes are stable."""
        ...

    @property
    def final(self) -> Sequence[str]:
        """With values found later carried back too; differs from `texts` only where that found something."""
        ...

    @property
    def counts(self) -> Sequence[Mapping[str, int]]:
        """Values removed, by type, for each message."""
        ...

    @property
    def vault(self) -> Vault: ...


CustomerRecord = Mapping[str, str | Sequence[str]]
"""What the shop knows of a customer: name, email, phone, address, order, account, username, other."""


class Scrubber(Protocol):
    """Removes personal data. Deterministic, thread-safe, without network."""

    @property
    def version(self) -> str: ...

    def scrub(self, messages: Sequence[Message], record: CustomerRecord = ...) -> Scrubbed:
        """Raises `ScrubbingFailed` rather than let a text through that was not fully scanned.

        `ScrubbingTimedOut` is one: the text took too long. `ScrubberUnavailable` is no fault of the text's, here and
        in the other methods.
        """
        ...

    def scrub_many(
        self, conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord] = ...
    ) -> Sequence[Scrubbed | ScrubbingFailed]:
        """As `scrub`, of several conversations in less time; what failed stands where its outcome would."""
        ...

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        """Scrub a text about a scrubbed conversation, keeping placeholders; what was removed, by type."""
        ...


class ScrubberService(Scrubber, Protocol):
    """A scrubber that runs beside the API."""

    def start(self) -> None:
        """Return when it is ready, also after `close`; raises ConfigurationError."""
        ...

    def close(self) -> None:
        """End what it runs."""
        ...


class Inbox(Protocol):
    """Takes what the API acknowledges, encrypted, in the caller's transaction."""

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
        """Says whether it was new. The payloads are described in `ingest.inbox.acceptance`.

        What belongs to a batch is not admitted before that is released. `customer` is a keyed hash: who said it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure is about: stored ids. `since` is when the first of it was admitted, None where nothing was.

    An eraser whose last act is a transaction calls `done` within it, so that a kill after it loses no count.
    """

    erasure: str
    policy: ErasurePolicy
    customer: str | None
    conversations: tuple[str, ...]
    inferences: tuple[str, ...]
    since: datetime | None
    done: Callable[[sa.Connection, Mapping[str, Any]], None]


class Eraser(Protocol):
    """Takes erased conversations out of what one stage keeps."""

    @property
    def name(self) -> str: ...

    @property
    def covers(self) -> frozenset[str]:
        """Tables, and folders under the home folder (`folder/`), in which nothing erased remains."""
        ...

    def erase(self, what: Erased) -> Mapping[str, Any]:
        """What was removed, by kind; for the receipt. May be killed anywhere and called again.

        Raises what may pass, such as LabelStudioUnavailable: then it is tried again later.
        """
        ...


class Erasures(Protocol):
    """Erases customers; `ingest.erasure` does it."""

    def begin_customer(self, public_id: str, policy: ErasurePolicy | None = None) -> str:
        """Durable when it returns the erasure's id: from then on nothing of the customer's past comes in."""
        ...

    def run(self, erasure_id: str) -> Erasure:
        """Go on as far as is possible now."""
        ...

    def find(self, erasure_id: str) -> Erasure:
        """Raises NotFound."""
        ...


class Imports(Protocol):
    """Takes in finished conversations; `ingest.imports.importer` does it."""

    def import_batch(self, rows: Sequence[Mapping[str, Any]], owner: str) -> list[dict[str, Any]]:
        """What became of each, in order: `state`, `turns` that are new, `problem`."""
        ...

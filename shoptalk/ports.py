"""Protocols of what one stage needs of another; `shoptalk.app` passes in what satisfies them.

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
from shoptalk.events import Payload


class PlaceholderFiller(Protocol):
    """Fills placeholders in text that arrives in pieces."""

    def feed(self, piece: str) -> str:
        """Return what can be shown now; hold back what may be the start of a placeholder."""
        ...

    def flush(self) -> str:
        """Return the rest, at the end of the text."""
        ...


class PlaceholderVault(Protocol):
    """One request's memory of which value each placeholder stands for. Never written anywhere."""

    def fill(self, text: str) -> str:
        """Put values back. A placeholder the model invented becomes its plain type: 'your order number'."""
        ...

    def settle(self, text: str) -> str:
        """Return the text for the record: known placeholders stay, invented ones become their plain type."""
        ...

    def filler(self) -> PlaceholderFiller:
        """Return a filler for one streamed reply."""
        ...


class ScrubbedConversation(Protocol):
    """A conversation after scrubbing; every sequence is as long as the input."""

    @property
    def texts(self) -> Sequence[str]:
        """The causal texts: each depends on its message and the ones before it only, so prefixes are stable."""
        ...

    @property
    def final(self) -> Sequence[str]:
        """The texts with values found later carried back too; differ from `texts` only where that found something."""
        ...

    @property
    def counts(self) -> Sequence[Mapping[str, int]]:
        """The number of values removed from each message, by type."""
        ...

    @property
    def vault(self) -> PlaceholderVault:
        """The values that were removed."""
        ...


CustomerRecord = Mapping[str, str | Sequence[str]]
"""The shop's record of a customer: name, email, phone, address, order, account, username, other."""


class Scrubber(Protocol):
    """Removes personal data. Deterministic, thread-safe, without network."""

    @property
    def version(self) -> str:
        """The version of its rules and models; another version may find something else."""
        ...

    def scrub(self, messages: Sequence[Message], record: CustomerRecord = ...) -> ScrubbedConversation:
        """Scrub a conversation, or raise `ScrubbingFailed` rather than let a text through that was not fully scanned.

        `ScrubbingTimedOut`, a subclass, says that the text took too long. `ScrubberUnavailable` says nothing about the
        text, here and in the other methods.
        """
        ...

    def scrub_many(
        self, conversations: Sequence[Sequence[Message]], records: Sequence[CustomerRecord] = ...
    ) -> Sequence[ScrubbedConversation | ScrubbingFailed]:
        """Scrub several conversations in less time than one by one. A failure stands in its conversation's place."""
        ...

    def scrub_correction(self, history: Sequence[str], text: str) -> tuple[str, Mapping[str, int]]:
        """Scrub a text about a scrubbed conversation, keeping placeholders; also return the number removed, by type."""
        ...


class ScrubberService(Scrubber, Protocol):
    """A scrubber that runs beside the API."""

    def start(self) -> None:
        """Return when it is ready, also after `close`. Raises ConfigurationError."""
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
        payload: Payload,
        conversation_id: str,
        batch_id: str | None = None,
        customer: str | None = None,
    ) -> bool:
        """Add an entry; return whether it was new.

        What belongs to a batch is not admitted before the batch is released. `customer` is a keyed hash: who said it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Erased:
    """The stored ids that an erasure is about. `since` is when the first of it was admitted, None where nothing was.

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
    def name(self) -> str:
        """The name of its steps in receipts."""
        ...

    @property
    def covers(self) -> frozenset[str]:
        """Tables, and folders under the home folder (`folder/`), in which nothing erased remains."""
        ...

    def erase(self, what: Erased) -> Mapping[str, Any]:
        """Erase, and return the number removed by kind, for the receipt. May be killed anywhere and called again.

        Raises what may pass, such as LabelStudioUnavailable: then it is tried again later.
        """
        ...


class Retention(Protocol):
    """Removes what one stage keeps for a time only."""

    @property
    def name(self) -> str:
        """What it removes, in words."""
        ...

    def expired(self) -> int:
        """Return how much would be removed now, without removing it."""
        ...

    def remove(self) -> int:
        """Remove some of it; return how much. May be killed anywhere and called again."""
        ...


class ErasureService(Protocol):
    """Erases customers; `ingest.erasure` does it."""

    def begin_customer(self, public_id: str, policy: ErasurePolicy | None = None) -> str:
        """Begin and return the erasure's id. From then on, durably, nothing of the customer's past comes in."""
        ...

    def run(self, erasure_id: str) -> Erasure:
        """Go on as far as is possible now."""
        ...

    def find(self, erasure_id: str) -> Erasure:
        """Return an erasure; raise NotFound."""
        ...


class Imports(Protocol):
    """Takes in finished conversations; `ingest.imports.importer` does it."""

    def import_batch(self, rows: Sequence[Mapping[str, Any]], owner: str) -> list[dict[str, Any]]:
        """Import, and return what became of each in order: `state`, `turns` that are new, `problem`."""
        ...

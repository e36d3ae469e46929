"""One exchange on its way through the API: what was asked, as scrubbed, and what came of it.

Raw text lives here, in the request's memory, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chatbot.engine.protocol import Finished
from chatbot.router import Route
from shoptalk.domain import Message, new_id
from shoptalk.ports import Scrubbed, Vault


@dataclass(frozen=True, slots=True)
class History:
    """The conversation's part of what was scrubbed; see `shoptalk.ports.Scrubbed`."""

    texts: Sequence[str]
    final: Sequence[str]
    counts: Sequence[Mapping[str, int]]
    vault: Vault


@dataclass(frozen=True, slots=True)
class Exchange:
    """`raw` is the history as sent, without system messages; `scrubbed` is None where scrubbing failed.

    `prompt` is what the model reads: the shop's system prompt, then the history with placeholders.
    """

    conversation: str
    public_conversation: str
    owner: str
    customer: str | None
    raw: Sequence[Message]
    prompt: Sequence[Message]
    scrubbed: Scrubbed | None
    scrub_problem: str | None
    route: Route
    named_by_client: bool = False  # the conversation's id is the client's own
    idempotency: tuple[str, str] | None = None  # (stored key, hash of the body)
    id: str = field(default_factory=lambda: new_id("inf"))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the customer was shown, and its scrubbed form for the record."""

    shown: str
    text: str | None
    problem: str | None
    pii: Mapping[str, int]
    finished: Finished
    revised: Mapping[int, str]  # messages of the history that turned out to hold a value found later

"""One exchange on its way through the API: the request as scrubbed, and the reply to it.

Raw text is kept here, in the request's memory, and nowhere else. Knows no HTTP and no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chatbot.api.idempotency import RepeatableRequest
from chatbot.engine.protocol import Finished
from chatbot.router import Route
from shoptalk.domain import Message, new_id
from shoptalk.ports import PlaceholderVault, ScrubbedConversation


@dataclass(frozen=True, slots=True)
class History:
    """The conversation's part of what was scrubbed; see `shoptalk.ports.ScrubbedConversation`."""

    texts: Sequence[str]
    final: Sequence[str]
    counts: Sequence[Mapping[str, int]]
    vault: PlaceholderVault


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request for a reply, prepared for the engine. `id` is the inference's.

    `raw` is the history as sent, without system messages; `scrubbed` is None where scrubbing failed. `prompt` is what
    the model reads: the shop's system prompt, then the history with placeholders.
    """

    conversation: str
    public_conversation: str
    owner: str
    customer: str | None
    raw: Sequence[Message]
    prompt: Sequence[Message]
    scrubbed: ScrubbedConversation | None
    scrub_problem: str | None
    route: Route
    named_by_client: bool = False  # the conversation's id is the client's own
    repeatable: RepeatableRequest | None = None  # where it carries an idempotency key
    joined: bool = False  # the client named none, and its history is this conversation's
    test: bool = False  # the client says that it is a test, and no customer's
    id: str = field(default_factory=lambda: new_id("inf"))


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: `shown` as the customer read it, and `text`, its scrubbed form for the record.

    `revised` holds new texts of those messages of the history, by index, in which a value was found later.
    """

    shown: str
    text: str | None
    problem: str | None
    pii: Mapping[str, int]
    finished: Finished
    revised: Mapping[int, str]

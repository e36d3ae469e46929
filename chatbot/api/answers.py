"""The bodies of the API's answers, as the OpenAPI schema describes them. Requests are in `schemas`.

Those that show stored things are in `stored_answers`. Times are ISO 8601 with an offset. Knows no store and no route.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from shoptalk.domain import ErasureState

T = TypeVar("T")


def _iso(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


# pydantic would write a time in UTC with 'Z'
Moment = Annotated[str, BeforeValidator(_iso), WithJsonSchema({"type": "string", "format": "date-time"})]
# `name@vN`, from the text or an AdapterRef
AdapterName = Annotated[str, BeforeValidator(str)]


class Answer(BaseModel):
    """A body that is made by its fields' names."""


class StoredAnswer(Answer):
    """A body that shows a stored thing; made by `model_validate` from its dataclass."""

    model_config = ConfigDict(from_attributes=True)


class ListAnswer(Answer, Generic[T]):
    """A list, newest first where the items have a time."""

    object: Literal["list"] = "list"
    data: list[T]


class ErrorDetail(Answer):
    """An error in OpenAI's words; `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Answer):
    """The body of every error."""

    error: ErrorDetail


class HealthAnswer(Answer):
    """The answer to GET /healthz."""

    status: Literal["ok"] = "ok"


class ReadinessAnswer(Answer):
    """The answer to GET /readyz: whether the API can serve, and the state of each part."""

    status: Literal["ready", "not ready"]
    engine: Literal["ok", "down"]
    store: Literal["ok", "down"]


class ModelAnswer(Answer):
    """A name that requests may send as `model`: an alias, with the adapter it `serves`, or an adapter version."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "shoptalk"
    serves: str | None


class CompletionMessage(Answer):
    """The reply."""

    role: Literal["assistant"]
    content: str | None
    refusal: None


class CompletionChoice(Answer):
    """A reply and why it ended; there is always one."""

    index: int
    message: CompletionMessage
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class PromptTokensDetails(Answer):
    """The part of the prompt's tokens that came from the cache."""

    cached_tokens: int


class Usage(Answer):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Completion(Answer):
    """The answer to POST /v1/chat/completions; `model` names the exact adapter."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage
    metadata: dict[str, str | None]


class FeedbackAnswer(Answer):
    """The answer to POST /v1/feedback.

    `recorded` is false where the same feedback came before; `pending` is true until its reply is stored.
    """

    id: str
    object: Literal["feedback"] = "feedback"
    recorded: bool
    pending: bool


class ImportedConversation(Answer):
    """The outcome of one conversation of an import; `turns` counts those that are new."""

    state: Literal["new", "changed", "unchanged", "erased", "refused"]
    turns: int
    problem: str | None


class ImportAnswer(Answer):
    """The answer to POST /v1/conversations: outcomes in the order of the request, and how many have each state."""

    object: Literal["import"]
    counts: dict[str, int]
    conversations: list[ImportedConversation]


class ErasureAnswer(StoredAnswer):
    """An erasure's state; `receipt` counts what was removed, once it is done."""

    id: str
    object: Literal["erasure"] = "erasure"
    state: ErasureState
    problem: str | None
    receipt: dict[str, Any] | None

"""The bodies of requests, checked. Field names and ranges are OpenAI's; what is not supported is refused, not ignored.

The bodies of answers are in `answers`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from shoptalk.domain import Message

MAX_MESSAGE = 32_000  # characters
MAX_MESSAGES = 200
Strict = ConfigDict(strict=True, extra="ignore")
STORABLE = r"^[^\x00]*$"  # PostgreSQL keeps no NUL
StoredId = Annotated[str, StringConstraints(pattern=STORABLE, max_length=80)]


class TextPart(BaseModel):
    """One part of a message's content; text is the only kind."""

    model_config = Strict
    type: Literal["text"]
    text: str = Field(max_length=MAX_MESSAGE)


class ChatMessage(BaseModel):
    """One message of the history."""

    model_config = Strict
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)] | list[TextPart]

    @property
    def text(self) -> str:
        """Return the content as one text."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)

    def as_message(self) -> Message:
        """Return it as the model's message; a developer message is a system message."""
        return Message("system" if self.role == "developer" else self.role, self.text)


class StreamOptions(BaseModel):
    """`include_usage` adds a last chunk with token counts."""

    model_config = Strict
    include_usage: bool = False


MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


RecordValue = Annotated[str, StringConstraints(max_length=512)]
RecordValues = RecordValue | Annotated[list[RecordValue], Field(max_length=20)]


class CustomerRecord(BaseModel):
    """The shop's record of the customer, with which scrubbing finds more. Used for this request and not kept."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: RecordValues = []
    email: RecordValues = []
    phone: RecordValues = []
    address: RecordValues = []
    order: RecordValues = []
    account: RecordValues = []
    username: RecordValues = []
    other: RecordValues = []

    def values(self) -> dict[str, str | list[str]]:
        """Return the fields that are given."""
        return {name: value for name, value in self.model_dump().items() if value}


class ChatRequest(BaseModel):
    """The body of POST /v1/chat/completions."""

    model_config = Strict
    model: str = Field(min_length=1, max_length=200)
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1, le=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    min_tokens: int = Field(0, ge=0, le=8192)
    ignore_eos: bool = False
    user: str | None = Field(None, min_length=1, max_length=512)
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    customer: CustomerRecord | None = None
    tools: None = None
    functions: None = None

    @field_validator("stop")
    @classmethod
    def _stop(cls, value: str | list[str] | None) -> str | list[str] | None:
        strings = [value] if isinstance(value, str) else value or []
        if len(strings) > 4 or any(not s or len(s) > 200 for s in strings):
            raise ValueError("at most 4 stop strings of 1 to 200 characters")
        return value

    @model_validator(mode="after")
    def _last_is_the_customers(self) -> ChatRequest:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must have the role 'user'")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs to be true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class FeedbackRequest(BaseModel):
    """The body of POST /v1/feedback: about one reply (`inference_id`) or a whole conversation."""

    model_config = Strict
    inference_id: StoredId | None = None
    conversation_id: str | None = Field(None, max_length=512)
    metric: Literal["thumbs", "rating", "resolved", "correction"]
    value: float | bool | str
    comment: str | None = Field(None, max_length=4000)
    idempotency_key: str | None = Field(None, min_length=1, max_length=200)

    @model_validator(mode="after")
    def _consistent(self) -> FeedbackRequest:
        if (self.inference_id is None) == (self.conversation_id is None):
            raise ValueError("name either inference_id or conversation_id")
        if self.metric == "correction":
            if not isinstance(self.value, str) or not 0 < len(self.value) <= MAX_MESSAGE:
                raise ValueError("value: a correction is the text of the better reply")
            if self.comment is not None:
                raise ValueError("comment: a correction has none; its text is the value")
            return self
        low, high = (1, 5) if self.metric == "rating" else (0, 1)
        if isinstance(self.value, str) or not low <= float(self.value) <= high:
            raise ValueError(f"value: {self.metric} takes a number from {low} to {high}")
        return self

    @property
    def number(self) -> float:
        """Return the metric's value; a correction counts as 0 (the reply was not good)."""
        return 0.0 if isinstance(self.value, str) else float(self.value)

    @property
    def words(self) -> str | None:
        """Return the text that the customer wrote: a correction or a comment."""
        return self.value if isinstance(self.value, str) else self.comment


class ReleaseRequest(BaseModel):
    """The body of POST /v1/releases."""

    model_config = Strict
    adapter: str = Field(max_length=80)
    alias: str | None = Field(None, pattern=r"^[a-z][a-z0-9_-]{0,31}$")


class RoundRequest(BaseModel):
    """The body of a request for a round of learning."""

    model_config = Strict
    reason: str = Field("", max_length=400, pattern=STORABLE)


class MoveRequest(BaseModel):
    """The body of a release's promote, abort and rollback."""

    model_config = Strict
    reason: str = Field("", max_length=400, pattern=STORABLE)

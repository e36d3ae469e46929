"""The payloads of `ingest.inbox.acceptance` as checked models. Knows no table and no encryption."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from shoptalk.domain import Feedback, Role, Turn
from shoptalk.errors import InvalidInput
from shoptalk.owners import of_key

LONGEST_TEXT = 32_000
# placeholders may be longer than what they replace
LONGEST_SCRUBBED = 4 * LONGEST_TEXT
MOST_TURNS = 1000

Id = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(max_length=LONGEST_SCRUBBED)]
Counts = dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[int, Field(ge=0)]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TurnIn(_Model):
    """One turn of an exchange."""

    id: Id
    parent_id: Id | None = None
    role: Role
    text: Text | None
    reason: Annotated[str, Field(max_length=200)] | None = None
    inference_id: Id | None = None
    at: AwareDatetime
    pii: Counts = {}

    @model_validator(mode="after")
    def _text_or_reason(self) -> TurnIn:
        if self.text is None and not self.reason:
            raise ValueError("a turn without text needs a reason")
        return self

    def turn(self, conversation_id: str, customer: str | None) -> Turn:
        return Turn(
            id=self.id,
            conversation_id=conversation_id,
            parent_id=self.parent_id,
            role=self.role,
            text=self.text,
            at=self.at,
            inference_id=self.inference_id,
            reason=self.reason,
            customer=customer,
        )


class Exchange(_Model):
    """What was said in one request, or one imported conversation."""

    source: Literal["chat", "import"]
    scrubber: Annotated[str, Field(min_length=1, max_length=32)]
    turns: Annotated[list[TurnIn], Field(max_length=MOST_TURNS)]
    revisions: dict[Id, Text] = {}
    superseded: Annotated[list[Id], Field(max_length=MOST_TURNS)] = []
    failures: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=20)] = []


class Caller(_Model):
    """Who sent feedback about an inference that was not known yet: it must turn out to be theirs.

    Before there were owners the `key_id` said whose it is.
    """

    owner: Id = ""
    key_id: Id | None = None
    customer: Id | None

    @model_validator(mode="after")
    def _named(self) -> Caller:
        if not self.owner and not self.key_id:
            raise ValueError("names no owner")
        return self

    @property
    def whose(self) -> str:
        return self.owner or of_key(self.key_id or "", self.customer)


class FeedbackIn(_Model):
    """What somebody said of a reply or a conversation."""

    id: Id
    inference_id: Id | None = None
    metric: Literal["thumbs", "rating", "resolved", "correction"]
    value: FiniteFloat
    comment: Text | None = None
    pii: Counts = {}
    at: AwareDatetime
    scrubber: Annotated[str, Field(min_length=1, max_length=32)]
    caller: Caller | None = None

    @model_validator(mode="after")
    def _early_about_a_reply(self) -> FeedbackIn:
        if self.caller is not None and self.inference_id is None:
            raise ValueError("names no inference to wait for")
        return self

    def feedback(self, conversation_id: str) -> Feedback:
        return Feedback(
            id=self.id,
            conversation_id=conversation_id,
            inference_id=self.inference_id,
            metric=self.metric,
            value=self.value,
            comment=self.comment,
            created_at=self.at.astimezone(UTC),
        )


def read(kind: str, payload: Any) -> Exchange | FeedbackIn:
    """Raises InvalidInput naming the field; never quotes a value."""
    model: type[Exchange] | type[FeedbackIn]
    if kind == "exchange":
        model = Exchange
    elif kind == "feedback":
        model = FeedbackIn
    else:
        raise InvalidInput("unknown kind of arrival", field="kind")
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # keys of free-form objects may be anything, so only positions and our own field names are told
        known = {name for model in (TurnIn, Exchange, FeedbackIn, Caller) for name in model.model_fields}
        field = ".".join(str(p) if isinstance(p, int) or p in known else "*" for p in first["loc"])
        raise InvalidInput(f"{field or kind}: {first['msg']}", field=field or None) from None

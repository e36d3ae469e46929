"""The entries of the inbox as typed models: the contract between the API and imports, which write it, and the drain.

All texts were scrubbed before. A model is validated once when it is built and once when the drain reads it back, since
another version may have written it. Knows no table and no encryption.
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from shoptalk.domain import ArrivalKind, Feedback, FeedbackMetric, Role, Turn
from shoptalk.errors import InvalidInput
from shoptalk.owners import of_key

LONGEST_TEXT: Final = 32_000
# placeholders may be longer than what they replace
LONGEST_SCRUBBED: Final = 4 * LONGEST_TEXT
MOST_TURNS: Final = 1000

Id = Annotated[str, Field(min_length=1, max_length=80)]
Text = Annotated[str, Field(max_length=LONGEST_SCRUBBED)]
Reason = Annotated[str, Field(max_length=200)]
ScrubberVersion = Annotated[str, Field(min_length=1, max_length=32)]
Counts = dict[Annotated[str, Field(min_length=1, max_length=64)], Annotated[int, Field(ge=0)]]
Time = Annotated[AwareDatetime, PlainSerializer(lambda at: at.isoformat(), return_type=str, when_used="json")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def as_json(self) -> dict[str, Any]:
        """Return what is stored: JSON values of the fields that were given, so that older versions read it too."""
        return self.model_dump(mode="json", exclude_unset=True)


class TurnRecorded(_Model):
    """One turn of an exchange. A turn whose text could not be scrubbed has no text, and the reason instead."""

    id: Id
    parent_id: Id | None = None
    role: Role
    text: Text | None
    reason: Reason | None = None
    inference_id: Id | None = None
    at: Time
    #: how many values scrubbing removed, by type
    pii: Counts = {}

    @model_validator(mode="after")
    def _text_or_reason(self) -> TurnRecorded:
        if self.text is None and not self.reason:
            raise ValueError("a turn without text needs a reason")
        return self

    def turn(self, conversation_id: str, customer: str | None) -> Turn:
        """Return the turn to be admitted; `customer` is a keyed hash."""
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


class ExchangeRecorded(_Model):
    """The turns that one request added to a conversation, or that an import brought of one."""

    kind: ClassVar[ArrivalKind] = "exchange"

    source: Literal["chat", "import"]
    scrubber: ScrubberVersion
    turns: Annotated[list[TurnRecorded], Field(max_length=MOST_TURNS)]
    #: new texts of earlier turns of the conversation, by turn: a value found later was found in them too
    revisions: dict[Id, Text] = {}
    #: turns of an imported conversation's former version that the new one has no more
    superseded: Annotated[list[Id], Field(max_length=MOST_TURNS)] = []
    #: checks of `ingest.inbox.validation` that failed
    failures: Annotated[list[Reason], Field(max_length=20)] = []
    #: whether the client said that this is a test, and no customer's
    test: bool = False


class FeedbackSender(_Model):
    """The sender of feedback about an inference that was not known yet: it must turn out to be theirs.

    Entries from before there were owners name the `key_id` instead of the `owner`.
    """

    owner: Id = ""
    key_id: Id | None = None
    #: keyed hash
    customer: Id | None

    @model_validator(mode="after")
    def _named(self) -> FeedbackSender:
        if not self.owner and not self.key_id:
            raise ValueError("names no owner")
        return self

    @property
    def owner_id(self) -> str:
        """The owner, also where only the key is named."""
        return self.owner or of_key(self.key_id or "", self.customer)


class FeedbackReceived(_Model):
    """A rating or comment about a reply or a conversation.

    `caller` is set where the inference was not known yet; then the entry's conversation is the inference's id.
    """

    kind: ClassVar[ArrivalKind] = "feedback"

    id: Id
    inference_id: Id | None = None
    metric: FeedbackMetric
    value: FiniteFloat
    comment: Text | None = None
    #: how many values scrubbing removed from the comment, by type
    pii: Counts = {}
    at: Time
    scrubber: ScrubberVersion
    caller: FeedbackSender | None = None

    @model_validator(mode="after")
    def _early_about_a_reply(self) -> FeedbackReceived:
        if self.caller is not None and self.inference_id is None:
            raise ValueError("names no inference to wait for")
        return self

    def feedback(self, conversation_id: str) -> Feedback:
        """Return the feedback to be admitted."""
        return Feedback(
            id=self.id,
            conversation_id=conversation_id,
            inference_id=self.inference_id,
            metric=self.metric,
            value=self.value,
            comment=self.comment,
            created_at=self.at.astimezone(UTC),
        )


Payload: TypeAlias = ExchangeRecorded | FeedbackReceived
_MODELS: Final[dict[str, type[ExchangeRecorded] | type[FeedbackReceived]]] = {
    model.kind: model for model in (ExchangeRecorded, FeedbackReceived)
}
_OWN_FIELDS: Final = frozenset(
    name for model in (TurnRecorded, ExchangeRecorded, FeedbackReceived, FeedbackSender) for name in model.model_fields
)


def read(kind: str, payload: Any) -> Payload:
    """Return a stored payload as its model. Raises InvalidInput naming the field, which never quotes a value."""
    if kind not in _MODELS:
        raise InvalidInput("unknown kind of inbox entry", field="kind")
    try:
        return _MODELS[kind].model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # keys of free-form objects may be anything, so only positions and our own field names are named
        field = ".".join(str(p) if isinstance(p, int) or p in _OWN_FIELDS else "*" for p in first["loc"])
        raise InvalidInput(f"{field or kind}: {first['msg']}", field=field or None) from None

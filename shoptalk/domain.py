"""Frozen types that travel between stages, and every closed set of names.

They know neither how they are stored nor how they are served. Times are timezone-aware UTC. Every `text`
here has been scrubbed: it holds typed placeholders such as `<ORDER_ID_1>`, never what a customer typed raw.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Self
from uuid import uuid4

Role = Literal["system", "user", "assistant"]
RoundState = Literal["running", "waiting", "done", "failed", "cancelled"]
RunState = Literal["running", "done", "failed"]
ErasureState = Literal["running", "done"]
ErasurePolicy = Literal["now", "when_replaced"]
BatchState = Literal["open", "held", "accepted", "refused"]
TriggerKind = Literal["drift", "labels", "schedule", "person", "erasure"]
LabelVerdict = Literal["good", "fixable", "bad"]
FeedbackMetric = Literal["thumbs", "rating", "resolved", "correction"]
SampleStrategy = Literal["usefulness", "novelty"]
ArrivalKind = Literal["exchange", "feedback"]
"""What the inbox holds; see `shoptalk.events`."""

EXACT_VARIANT: Final = "exact"
"""The variant of a request for an exact adapter version."""
BASE_VERSION: Final = 0
ADAPTER: Final = re.compile(r"([A-Za-z0-9_.-]{1,64})@v(0|[1-9][0-9]{0,8})", re.ASCII)  # one spelling per version


def new_id(prefix: str) -> str:
    """Return a fresh random id such as `inf_3f...` (128 bits)."""
    return f"{prefix}_{uuid4().hex}"


def id_of_round(round_id: str, prefix: Literal["run", "evl"]) -> str:
    """Return the id of a round's training run or evaluation, which a repeated step finds again."""
    return f"{prefix}_{round_id.removeprefix('rnd_')}"


class Scope(enum.StrEnum):
    """A right of an API key; `admin` includes all."""

    CHAT = "chat"
    FEEDBACK = "feedback"
    INGEST = "ingest"
    READ = "read"
    ANNOTATE = "annotate"
    RELEASE = "release"
    ERASE = "erase"
    ADMIN = "admin"


class Verdict(enum.StrEnum):
    """The gate's decision about a candidate."""

    PROMOTE = "promote"
    REJECT = "reject"
    INCONCLUSIVE = "inconclusive"


class ReleaseState(enum.StrEnum):
    """Where a release stands. It rolls out until every API process serves it. The last four are final."""

    PENDING = "pending"
    SHADOW = "shadow"
    CANARY = "canary"
    ROLLING_OUT = "rolling_out"
    LIVE = "live"
    SUPERSEDED = "superseded"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """One immutable LoRA version, written `name@vN`; version 0 is the base model alone."""

    name: str
    version: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `shop@v3`; raise ValueError for anything else."""
        found = ADAPTER.fullmatch(text)
        if found is None:
            raise ValueError(f"'{text[:80]}' is not an adapter version such as 'shop@v3'")
        return cls(found[1], int(found[2]))

    @property
    def is_base(self) -> bool:
        return self.version == BASE_VERSION

    def __str__(self) -> str:
        return f"{self.name}@v{self.version}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat, as the model sees it."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of an API key; where one is 0 the settings apply."""

    requests_per_minute: int = 0
    tokens_per_day: int = 0
    concurrent: int = 0


NO_LIMITS: Final = KeyLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret. Keys of one owner share its conversations; see `shoptalk.owners`."""

    #: `key_` and 32 hex digits
    id: str
    #: for people, to tell keys apart
    name: str
    scopes: frozenset[Scope]
    #: whose conversations it reaches
    owner: str
    created_at: datetime
    #: None while it is in use
    revoked_at: datetime | None = None
    limits: KeyLimits = NO_LIMITS

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has a scope, by itself or as `admin`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One admitted message of a conversation.

    Turns form a tree, so an answer that was tried again is a sibling and no contradiction.
    """

    id: str
    conversation_id: str
    #: the turn it answers; None for a conversation's first
    parent_id: str | None
    role: Role
    #: scrubbed; None where scrubbing failed
    text: str | None
    #: when it was said
    at: datetime
    #: the inference that said it; None for people
    inference_id: str | None = None
    #: why there is no text
    reason: str | None = None
    #: keyed hash of the customer's id
    customer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """One reply by one adapter version. Holds no text."""

    #: also the `id` of the HTTP response
    id: str
    conversation_id: str
    #: the public model name that was asked for
    alias: str
    #: `name@vN` that answered
    adapter: str
    #: the router's choice, such as `live`
    variant: str
    #: the probability that the router had of choosing it
    propensity: float
    prompt_tokens: int
    completion_tokens: int
    #: milliseconds until the first token
    ttft_ms: float
    #: milliseconds until the last token
    latency_ms: float
    #: `stop`, `length`, `cancelled`, `deadline` or `error`
    finish_reason: str
    #: mean over the reply's tokens, in nats
    mean_logprob: float
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A rating of a reply or of a whole conversation."""

    id: str
    conversation_id: str
    #: None where it is about the conversation
    inference_id: str | None
    metric: FeedbackMetric
    #: 0 or 1 for `thumbs` and `resolved`, 1 to 5 for `rating`, 1 for `correction`
    value: float
    #: scrubbed; for `correction` the better reply
    comment: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A reply chosen for annotators."""

    id: str
    turn_id: str
    conversation_id: str
    #: the round that chose it
    round_id: str
    #: the probability that it had of being chosen
    inclusion_probability: float
    strategy: SampleStrategy
    #: Label Studio's task; None until it is pushed
    task_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is kept of the annotations of one sample."""

    id: str
    sample_id: str
    #: the reply that was judged
    turn_id: str
    conversation_id: str
    verdict: LabelVerdict
    #: the text worth learning; None if there is none
    reply: str | None
    #: 1 to 5
    rating: int | None
    #: the customer's, by the labelling page's choices
    intent: str | None
    flags: tuple[str, ...]
    #: how many people judged it
    annotators: int
    #: share of pairs of them that agree on the verdict; None for one alone
    agreement: float | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A registry entry. Hashes are lower-case hex SHA-256 of the stored files."""

    ref: AdapterRef
    weights_sha256: str
    config_sha256: str
    #: of the weights
    size_bytes: int
    #: LoRA rank
    rank: int
    #: the base model it was trained on
    base_sha256: str
    #: None for an adapter from elsewhere
    dataset_id: str | None
    #: the training run that published it
    run_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One attempt to make an adapter the one an alias serves."""

    id: str
    alias: str
    #: `name@vN` to be served
    adapter: str
    #: `name@vN` served before, to which a rollback returns
    previous: str
    state: ReleaseState
    #: what the gate decided by; None for a release by hand
    evaluation_id: str | None
    #: `round:<id>`, a key's id, or `cli`
    actor: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure of one customer or conversation. When it is done, only the receipt is left of what it was about."""

    id: str
    state: ErasureState
    policy: ErasurePolicy
    #: keyed hash; None when done, or where a conversation was named
    customer: str | None
    #: stored ids; None when done
    conversations: Sequence[str] | None
    #: ids of the replies in them; None when done
    inferences: Sequence[str] | None
    #: when the first of it was admitted
    since: datetime | None
    #: why the last step did not end; None where all is well
    problem: str | None
    #: counts of what was removed; None until done
    receipt: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training or holdout example: a conversation so far and the reply wanted."""

    label_id: str
    conversation_id: str
    #: what is never divided between training and holdout: a customer, else the conversation
    group: str
    #: the system prompt first
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The gate's verdict with its reasons, in plain English."""

    verdict: Verdict
    reasons: tuple[str, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)

"""Frozen types that travel between stages.

They know neither how they are stored nor how they are served. Times are timezone-aware UTC. Every `text`
here has been scrubbed: it holds typed placeholders such as `<ORDER_ID_1>`, never what a customer typed raw.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self
from uuid import uuid4

Role = Literal["system", "user", "assistant"]
BASE_VERSION = 0
ADAPTER = re.compile(r"([A-Za-z0-9_.-]{1,64})@v(0|[1-9][0-9]{0,8})", re.ASCII)  # one spelling per version


def now() -> datetime:
    """The present time, UTC."""
    return datetime.now(UTC)


def new_id(prefix: str) -> str:
    """A fresh random id such as `inf_3f...` (128 bits)."""
    return f"{prefix}_{uuid4().hex}"


class Scope(enum.StrEnum):
    """What an API key may do; `admin` may do everything."""

    CHAT = "chat"
    FEEDBACK = "feedback"
    INGEST = "ingest"
    READ = "read"
    ANNOTATE = "annotate"
    RELEASE = "release"
    ERASE = "erase"
    ADMIN = "admin"


class Verdict(enum.StrEnum):
    """What the gate says of a candidate."""

    PROMOTE = "promote"
    REJECT = "reject"
    INCONCLUSIVE = "inconclusive"


class ReleaseState(enum.StrEnum):
    """Where a release stands. `shadow` and `canary` precede `live`; the last four are final."""

    PENDING = "pending"
    SHADOW = "shadow"
    CANARY = "canary"
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
        """Read `shop@v3`; raises ValueError for anything else."""
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
    """What an API key may use; where it is 0 the settings say."""

    requests_per_minute: int = 0
    tokens_per_day: int = 0
    concurrent: int = 0


NO_LIMITS: Final = KeyLimits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. Keys of one owner share its conversations; see `shoptalk.owners`."""

    id: str
    name: str
    scopes: frozenset[Scope]
    owner: str
    created_at: datetime
    revoked_at: datetime | None = None
    limits: KeyLimits = NO_LIMITS

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class Turn:
    """One admitted message of a conversation.

    Turns form a tree: `parent_id` is the turn it answers, so an answer tried again is a sibling, not a
    contradiction. `text` is None where scrubbing failed; `reason` then says why.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str | None
    at: datetime
    inference_id: str | None = None
    reason: str | None = None
    customer: str | None = None  # keyed hash


@dataclass(frozen=True, slots=True)
class Inference:
    """One reply by one adapter version. Holds no text."""

    id: str
    conversation_id: str
    alias: str
    adapter: str
    variant: str
    propensity: float
    prompt_tokens: int
    completion_tokens: int
    ttft_ms: float
    latency_ms: float
    finish_reason: str
    mean_logprob: float
    created_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a customer or shop says of a reply (`inference_id`) or of a whole conversation."""

    id: str
    conversation_id: str
    inference_id: str | None
    metric: str
    value: float
    comment: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply chosen for annotators, with the probability it had of being chosen."""

    id: str
    turn_id: str
    conversation_id: str
    round_id: str
    inclusion_probability: float
    strategy: str
    task_id: int | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """What is kept of annotations of one sample. `reply` is the text worth learning, None if there is none."""

    id: str
    sample_id: str
    turn_id: str
    conversation_id: str
    verdict: str
    reply: str | None
    rating: int | None
    intent: str | None
    flags: tuple[str, ...]
    annotators: int
    agreement: float | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Adapter:
    """A registry entry. Hashes are lower-case hex SHA-256 of the stored files."""

    ref: AdapterRef
    weights_sha256: str
    config_sha256: str
    size_bytes: int
    rank: int
    base_sha256: str
    dataset_id: str | None
    run_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Release:
    """One attempt to make an adapter the one an alias serves."""

    id: str
    alias: str
    adapter: str
    previous: str
    state: ReleaseState
    evaluation_id: str | None
    actor: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Erasure:
    """`state` is running or done. When done, what tells whom it was about is gone and the receipt is there."""

    id: str
    state: str
    policy: str
    customer: str | None
    conversations: Sequence[str] | None
    inferences: Sequence[str] | None
    since: datetime | None
    problem: str | None
    receipt: Mapping[str, Any] | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Example:
    """One training or holdout example: a conversation so far and the reply wanted."""

    label_id: str
    conversation_id: str
    group: str
    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The gate's verdict with its reasons, in plain English."""

    verdict: Verdict
    reasons: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)

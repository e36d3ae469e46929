"""What the API asks of an engine. Knows no model, no HTTP and no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from shoptalk.domain import AdapterRef, Message
from shoptalk.models.adapterfile import AdapterFiles

FinishReason = Literal["stop", "length", "cancelled", "deadline", "error", "displaced"]
Priority = Literal["normal", "low"]
Lane = Literal["keys", "visitors"]
LANES: Final[tuple[Lane, ...]] = ("keys", "visitors")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose tokens. `temperature` 0 is greedy; `logprobs` is how many alternatives to report."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One reply wanted: the whole chat, the exact adapter, how to sample.

    `deadline_s` seconds after submission the reply ends with what there is. `priority` "low" (shadow traffic) waits
    until nobody else does. Requests of one `client` wait behind each other, not in front of other clients'; clients of
    one `group` (visitors at one address) share that group's turns. Requests of the lane "visitors" together have a part
    of the batch and of the queue, so that there is always room for those of the lane "keys".
    `common` is how the first message begins in every client's requests: what is computed of it may serve them all.
    """

    id: str
    messages: Sequence[Message]
    adapter: AdapterRef
    sampling: Sampling
    deadline_s: float | None = None
    priority: Priority = "normal"
    client: str = ""
    common: str = ""
    lane: Lane = "keys"
    group: str = ""  # the client's own where there is none

    @property
    def turns(self) -> str:
        """Whose turns it takes."""
        return self.group or self.client


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many may wait, and the visitors' part of batch and queue; see `shoptalk.settings`."""

    batch: int
    queue: int
    visitors: float = 0.5
    visitor_wait_s: float = 30.0

    @property
    def visitor_rows(self) -> int:
        return max(1, int(self.batch * self.visitors))

    @property
    def visitor_queue(self) -> int:
        return max(1, int(self.queue * self.visitors))

    def refuses(self, lane: Lane, waiting: int, visitors: int, pace: float) -> float | None:
        """Seconds to wait before trying again where one more of a lane is too many; None where there is room.

        `waiting` wait in all, `visitors` of them in the visitors' lane; a reply there takes `pace` seconds of late.
        """
        if lane == "visitors":
            needs = pace * visitors / self.visitor_rows
            if visitors >= self.visitor_queue or needs > self.visitor_wait_s:
                return max(1.0, pace / self.visitor_rows, needs - self.visitor_wait_s)
        return max(1.0, pace * waiting / self.batch) if waiting >= self.queue else None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token with its natural-log probability and the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """More text. `tokens` is filled only where logprobs were asked for."""

    text: str
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply. Times are milliseconds since submission; `text` is the whole reply.

    `cached_tokens` of the prompt's tokens were not computed again, since an earlier request had computed them.
    """

    reason: FinishReason
    text: str
    prompt_tokens: int
    completion_tokens: int
    ttft_ms: float
    latency_ms: float
    mean_logprob: float
    problem: str | None = None
    cached_tokens: int = 0


Event = Delta | Finished
OnEvent = Callable[[Event], None]


class Engine(Protocol):
    """Thread-safe. `on_event` is called from the engine's own thread and must return at once."""

    @property
    def fingerprint(self) -> str:
        """Base model and precision, for `system_fingerprint`."""
        ...

    @property
    def base_sha256(self) -> str: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def healthy(self) -> bool: ...

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        """Queue a request. Raises Overloaded, InvalidInput (prompt too long), NotFound (adapter not resident).

        Where a lane's queue is full, a request of the group that waits with most gives its place to a group that has
        fewer, and ends as "displaced".

        The adapter is held from here until `Finished` was delivered, and let go just after, so it cannot be unloaded
        in between.
        """
        ...

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        """Whether a group's request would be refused now, were `ahead` more of its lane before it.

        Seconds until it should be tried again; None where there is room. Costs next to nothing.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; it still gets its `Finished`."""
        ...

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        """Verify and make resident; blocks until done. Raises AdapterRefused; what is live stays as it is."""
        ...

    def unload(self, adapter: AdapterRef) -> bool:
        """Free the adapter's slot unless a request holds it; says whether it is gone."""
        ...

    def resident(self) -> Sequence[AdapterRef]: ...

    def figures(self) -> Mapping[str, float]:
        """What is in use now, for metrics: at least `rows`, `waiting` and `held` (slots held by requests)."""
        ...

    def forget(self) -> None:
        """Keep nothing of finished requests, such as keys and values for a conversation's next turn."""
        ...

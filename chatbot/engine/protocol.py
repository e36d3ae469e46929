"""The interface of an engine, and what goes in and out of it. Knows no model, no HTTP and no store."""

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
    """How to choose tokens. `temperature` 0 is greedy; `logprobs` is the number of alternatives to report."""

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
    """A request for one reply: the whole chat, the exact adapter, how to sample.

    `deadline_s` seconds after submission the reply ends with the tokens it has. `priority` "low" (shadow traffic) waits
    until nothing else does. Requests of one `client` wait behind each other, not in front of other clients'; clients of
    one `group` (visitors at one address) share that group's turns. Requests of the lane "visitors" together have a
    share of the batch and of the queue, so that there is always room for those of the lane "keys".
    `shared_prefix` is how the first message begins in every client's requests: its keys and values may serve them all.
    """

    id: str
    messages: Sequence[Message]
    adapter: AdapterRef
    sampling: Sampling
    deadline_s: float | None = None
    priority: Priority = "normal"
    client: str = ""
    shared_prefix: str = ""
    lane: Lane = "keys"
    group: str = ""  # the client's own where there is none

    @property
    def queue_group(self) -> str:
        """The group in the fair queue whose turns it takes."""
        return self.group or self.client


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A chosen token with its natural-log probability and the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """More text of a reply. `tokens` is filled only where logprobs were asked for."""

    text: str
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a reply. Times are milliseconds since submission; `text` is the whole reply.

    `cached_tokens` of the prompt's tokens were not computed again, since an earlier request had computed them.
    `mean_logprob` is a natural-log probability; `problem` says what went wrong where the reason is "error".
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
    """An engine. Thread-safe; `on_event` is called from the engine's own thread and must return at once."""

    @property
    def fingerprint(self) -> str:
        """Base model and precision, for `system_fingerprint`."""
        ...

    @property
    def base_sha256(self) -> str:
        """SHA-256 of the base model's weights."""
        ...

    def start(self) -> None:
        """Start the engine's thread; return when it can answer."""
        ...

    def stop(self) -> None:
        """End all requests with reason "error", then the engine's thread."""
        ...

    def healthy(self) -> bool:
        """Return whether the engine takes requests now."""
        ...

    def submit(self, request: GenerationRequest, on_event: OnEvent) -> None:
        """Queue a request. Raises Overloaded, InvalidInput (prompt too long), NotFound (adapter not resident).

        Where the visitors' queue is full, a group with fewer waiting requests displaces a request of the group with
        most; that one ends as "displaced".

        The adapter is held from here until just after `Finished` was delivered, so it cannot be unloaded in between.
        """
        ...

    def crowded(self, lane: Lane, group: str, ahead: int) -> float | None:
        """Return the seconds after which to try again where a group's request would be refused now, else None.

        Assumes that `ahead` more requests of its lane come before it. Costs next to nothing.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """End a request at the next step; its `Finished` still comes. An unknown id is ignored."""
        ...

    def load(self, adapter: AdapterRef, files: AdapterFiles) -> None:
        """Verify an adapter and make it resident; block until done. Raises AdapterRefused and then changes nothing."""
        ...

    def unload(self, adapter: AdapterRef) -> bool:
        """Free the adapter's slot unless a request holds it; return whether it is gone."""
        ...

    def resident(self) -> Sequence[AdapterRef]:
        """Return the adapters that requests may name, without the base model."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Return what is in use now, as values of the Prometheus gauge `shoptalk_engine`.

        At least `rows` (sequences in the batch), `waiting` (requests in the queue) and `held` (slots that requests
        hold).
        """
        ...

    def forget(self) -> None:
        """Drop what is kept of finished requests, such as KV caches for a conversation's next turn."""
        ...

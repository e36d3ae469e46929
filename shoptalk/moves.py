"""State machines: for each kind of thing one table of the moves it can make. HTTP, command line and console share them.

A machine knows states and moves, not what a move does. `scripts/state_machines.py` draws them into the docs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from shoptalk.domain import BatchState, ErasureState, ReleaseState, RoundState
from shoptalk.errors import IllegalMove

S = TypeVar("S", bound=str)


@dataclass(frozen=True, slots=True)
class Move(Generic[S]):
    """From any of `sources` to `target`."""

    sources: tuple[S, ...]
    target: S


@dataclass(frozen=True, slots=True)
class Machine(Generic[S]):
    """All moves of one kind of thing, by name."""

    #: the thing in words, for messages
    noun: str
    #: where it begins
    initial: S
    moves: Mapping[str, Move[S]]

    def after(self, move: str, state: S, id: str) -> S:
        """Return the state after a move; raise IllegalMove where `state` does not allow it."""
        if not self.allows(move, state):
            raise IllegalMove(f"cannot {move.replace('_', ' ')} {self.noun} {id[:80]}: it is {plain(state)}")
        return self.moves[move].target

    def allows(self, move: str, state: S) -> bool:
        """Return whether a thing in this state can make the move."""
        return move in self.moves and state in self.moves[move].sources

    @property
    def states(self) -> tuple[S, ...]:
        """All states, the initial one first, in the order in which moves reach them."""
        found = dict.fromkeys([self.initial])
        for move in self.moves.values():
            found |= dict.fromkeys((*move.sources, move.target))
        return tuple(found)

    @property
    def final(self) -> frozenset[S]:
        """States that no move leaves."""
        return frozenset(self.states) - {source for move in self.moves.values() for source in move.sources}


def plain(state: str) -> str:
    """Return a state as words: `rolled back`."""
    return str(state).replace("_", " ")


_UNDECIDED: Final = (ReleaseState.PENDING, ReleaseState.SHADOW, ReleaseState.CANARY)
RELEASE: Final = Machine(
    "release",
    ReleaseState.PENDING,
    {
        "promote": Move(_UNDECIDED, ReleaseState.ROLLING_OUT),
        "abort": Move(_UNDECIDED, ReleaseState.ABORTED),
        # every API process that is alive serves it
        "serve": Move((ReleaseState.ROLLING_OUT,), ReleaseState.LIVE),
        # an API process refuses its adapter
        "fail": Move((ReleaseState.ROLLING_OUT,), ReleaseState.FAILED),
        # another release of the alias went live
        "supersede": Move((ReleaseState.LIVE,), ReleaseState.SUPERSEDED),
        "rollback": Move((ReleaseState.ROLLING_OUT, ReleaseState.LIVE), ReleaseState.ROLLED_BACK),
        # an erasure takes its adapter out of service
        "withdraw": Move((ReleaseState.ROLLING_OUT, ReleaseState.LIVE), ReleaseState.ROLLED_BACK),
        # the release after it was rolled back or withdrawn
        "restore": Move((ReleaseState.SUPERSEDED,), ReleaseState.LIVE),
    },
)
#: the moves of a release that a person may make: over HTTP, on the command line and in the console
RELEASE_MOVES_BY_HAND: Final = ("promote", "abort", "rollback")
ROUND: Final[Machine[RoundState]] = Machine(
    "round",
    "running",
    {
        "step": Move(("running", "waiting"), "running"),
        "wait": Move(("running", "waiting"), "waiting"),
        "finish": Move(("running", "waiting"), "done"),
        "fail": Move(("running", "waiting"), "failed"),
        # a person ends it
        "cancel": Move(("running", "waiting"), "cancelled"),
    },
)
BATCH: Final[Machine[BatchState]] = Machine(
    "batch",
    "open",
    {
        "hold": Move(("open",), "held"),
        # by itself where the batch is like the last ones, else by a person
        "release": Move(("open", "held"), "accepted"),
        "refuse": Move(("open", "held"), "refused"),
    },
)
ERASURE: Final[Machine[ErasureState]] = Machine(
    "erasure",
    "running",
    {"step": Move(("running",), "running"), "finish": Move(("running",), "done")},
)
MACHINES: Final = (RELEASE, ROUND, BATCH, ERASURE)

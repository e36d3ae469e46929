"""Sorts failures of a round's steps: those that will fail again, those that may pass, and those nobody knows."""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy.exc import DBAPIError

from shoptalk.errors import (
    AdapterRefused,
    ArtifactCorrupt,
    ArtifactMissing,
    BaseModelMissing,
    ConfigurationError,
    EngineStopped,
    IllegalMove,
    InvalidInput,
    LabelStudioUnavailable,
    LeakageError,
    NotFound,
    Overloaded,
    RoundCancelled,
    ScrubberUnavailable,
)

FailureKind = Literal["final", "passing", "unknown"]
FINAL: Final = (
    AdapterRefused,
    ArtifactCorrupt,
    ArtifactMissing,
    BaseModelMissing,
    ConfigurationError,
    IllegalMove,
    InvalidInput,
    LeakageError,
    NotFound,
    RoundCancelled,
)
PASSING: Final = (DBAPIError, OSError, LabelStudioUnavailable, EngineStopped, Overloaded, ScrubberUnavailable)


def kind_of(error: BaseException) -> FailureKind:
    """Return what kind of failure it is.

    A final one ends the round at once; a passing one, as of a database or disk, is waited for however long it takes; an
    unknown one is tried a few times.
    """
    if isinstance(error, FINAL):
        return "final"
    return "passing" if isinstance(error, PASSING) else "unknown"

"""One exception tree. A class's docstring is its default message; callers add the particulars.

Knows nothing of HTTP: `chatbot.api.errors` maps these to responses.
"""

from __future__ import annotations


class ShoptalkError(Exception):
    """Something went wrong.

    `fix` says what to do about it, as one command or sentence; the command line and doctor print it.
    """

    def __init__(self, message: str | None = None, *, fix: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n")[0])
        self.fix = fix

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """Return what went wrong and, where it is known, the fix."""
        return f"{self.problem}; {self.fix}" if self.fix else self.problem

    @property
    def problem(self) -> str:
        """Return what went wrong, without the fix."""
        return str(self.args[0])


class ConfigurationError(ShoptalkError):
    """A setting is missing or wrong."""


class NotFound(ShoptalkError):
    """There is no such thing."""


class ModelNotFound(NotFound):
    """There is no such model, or it cannot be served."""

    field = "model"


class Conflict(ShoptalkError):
    """The request contradicts the present state."""


class IllegalMove(Conflict):
    """A release in this state cannot do that."""


class IdempotencyMismatch(Conflict):
    """This idempotency key was used before with another body."""


class AlreadyAnswered(Conflict):
    """This request was answered already; send it again to get the same answer."""


class InvalidInput(ShoptalkError):
    """The input is not valid.

    `field` names the offending part in dotted notation, so that a client can point at it.
    """

    def __init__(
        self, message: str | None = None, *, field: str | None = None, code: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message, fix=fix)
        self.field = field
        self.code = code


class Unauthenticated(ShoptalkError):
    """An API key is needed: send it as 'Authorization: Bearer <key>'."""


class Forbidden(ShoptalkError):
    """This API key does not have the scope the route needs.

    `field` names the part of the request that is not allowed, where only a part is.
    """

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Overloaded(ShoptalkError):
    """Too many requests are waiting; try again shortly."""

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RateLimited(Overloaded):
    """Too many requests came from this client; try again later."""


class EngineStopped(ShoptalkError):
    """The engine is not running."""


class EngineUnavailable(EngineStopped):
    """The server that computes replies does not answer; try again shortly."""

    def __init__(self, message: str | None = None, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ArtifactMissing(ShoptalkError):
    """An artifact is not in the store."""


class ArtifactCorrupt(ShoptalkError):
    """An artifact's bytes do not have the hash they were stored under."""


class AdapterRefused(ShoptalkError):
    """An adapter failed verification and was not loaded."""


class NoFreeSlot(AdapterRefused):
    """Every adapter slot is held by a reply in progress."""


class BaseModelMissing(ShoptalkError):
    """The base model is not on this machine."""


class LabelStudioUnavailable(ShoptalkError):
    """Label Studio does not answer."""


class LeakageError(ShoptalkError):
    """Training data and holdout overlap; refusing to train."""


class NotEnoughData(ShoptalkError):
    """There are not enough labels to go on."""


class RoundCancelled(ShoptalkError):
    """The round was cancelled."""


class TrainingFailed(ShoptalkError):
    """The training process ended with an error."""


class ScrubbingFailed(ShoptalkError):
    """A text could not be fully scanned for personal data, so it is not kept."""


class ScrubbingTimedOut(ScrubbingFailed):
    """A text took far longer to scan than ordinary text does, so it is not kept."""


class ScrubberUnavailable(ShoptalkError):
    """The processes that scan texts for personal data are not running; try again shortly."""

    retry_after = 2.0

"""Weighs how useful it is to label a reply, as a positive weight. Pure; knows neither the store nor the draw.

Every reply weighs at least `BASE` and at most `MOST`, so no reply is more than MOST / BASE times as likely to be
sampled as another: inverse-probability weights stay bounded, and good replies are sampled too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shoptalk.domain import Feedback, FeedbackMetric

BASE: Final = 1.0
THUMBS_DOWN: Final = 3.0
LOW_RATING: Final = 2.0
UNRESOLVED: Final = 2.0
CORRECTED: Final = 3.0
UNSURE: Final = 2.0
FIRST: Final = 1.0
NOVEL: Final = 6.0
MOST: Final = BASE + THUMBS_DOWN + LOW_RATING + UNRESOLVED + CORRECTED + UNSURE + FIRST + NOVEL
UNSURE_LOGPROB: Final = -2.0
"""A mean log-probability per token this low or lower gets the full weight of an unsure reply."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known about a reply. `mean_logprob` is in nats per token, `novelty` is from 0 to 1."""

    mean_logprob: float | None = None
    feedback: tuple[Feedback, ...] = ()
    first_reply: bool = False
    novelty: float = 0.0


def usefulness(signals: Signals) -> float:
    """Return the reply's weight, between BASE and MOST."""
    return (
        BASE
        + _complaints(signals.feedback)
        + UNSURE * _unsure(signals.mean_logprob)
        + FIRST * signals.first_reply
        + NOVEL * _unit(signals.novelty)
    )


def _complaints(feedback: Iterable[Feedback]) -> float:
    """Return the weight of the complaints. Each kind of complaint counts once."""
    found: dict[FeedbackMetric, float] = {}
    for item in feedback:
        if item.metric == "thumbs" and item.value <= 0:
            found["thumbs"] = THUMBS_DOWN
        elif item.metric == "rating" and item.value <= 2:
            found["rating"] = LOW_RATING
        elif item.metric == "resolved" and item.value <= 0:
            found["resolved"] = UNRESOLVED
        elif item.metric == "correction":
            found["correction"] = CORRECTED
    return sum(found.values())


def _unsure(mean_logprob: float | None) -> float:
    return 0.0 if mean_logprob is None else _unit(mean_logprob / UNSURE_LOGPROB)


def _unit(value: float) -> float:
    return 0.0 if math.isnan(value) else min(1.0, max(0.0, value))

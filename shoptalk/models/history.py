"""Shortens a chat that a model's context does not hold: the same way in serving's scores, evaluation and training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

from shoptalk.domain import Message


def within(
    messages: Sequence[Message], most: int, count: Callable[[Sequence[Message]], int]
) -> Sequence[Message] | None:
    """Return the chat with its oldest exchanges left out whole, so that it has at most `most` tokens.

    The system messages at the beginning and the newest exchange stay; None where these alone are too many. `count`
    returns a chat's tokens. An exchange begins with a message of the customer.
    """
    if count(messages) <= most:
        return messages
    system = list(takewhile(lambda message: message.role == "system", messages))
    begins = [i for i in range(len(system), len(messages)) if messages[i].role == "user"]
    kept: Sequence[Message] | None = None
    low, high = 1, len(begins) - 1  # the first exchange that stays, of the second to the last
    while low <= high:
        middle = (low + high) // 2
        shorter = [*system, *messages[begins[middle] :]]
        if count(shorter) <= most:
            kept, high = shorter, middle - 1
        else:
            low = middle + 1
    return kept

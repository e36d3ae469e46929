"""Builds and parses the content of a dataset's file: its examples as JSON objects.

A dataset's id is a hash of its file, so the keys here and the order of examples must stay as they are. Knows neither
the store nor how examples are chosen, and does not choose how the JSON is spelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from shoptalk.domain import Example, Message

Split = Literal["train", "holdout"]
TRAIN: Final = "train"
HOLDOUT: Final = "holdout"


def content_of(system_prompt: str, train: Sequence[Example], holdout: Sequence[Example]) -> dict[str, Any]:
    """Return the whole content of a dataset's file, its training examples first."""
    rows = [row_of(example, TRAIN) for example in train] + [row_of(example, HOLDOUT) for example in holdout]
    return {"version": 1, "system_prompt": system_prompt, "examples": rows}


def row_of(example: Example, split: Split) -> dict[str, Any]:
    """Return an example as it stands in the file, without the system prompt, which the file holds once."""
    return {
        "split": split,
        "label_id": example.label_id,
        "conversation_id": example.conversation_id,
        "group": example.group,
        "messages": [[m.role, m.content] for m in example.messages[1:]],
        "reply": example.reply,
    }


def example_of(row: Mapping[str, Any], system_prompt: str) -> Example:
    """Return the example that `row_of` wrote. Raises KeyError where a key is missing."""
    return Example(
        label_id=row["label_id"],
        conversation_id=row["conversation_id"],
        group=row["group"],
        messages=(Message("system", system_prompt), *(Message(role, text) for role, text in row["messages"])),
        reply=row["reply"],
    )

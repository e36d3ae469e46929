"""Translates between Label Studio's result lists and our plain answers.

Knows the result format and the control names, but no server, no store and no scrubber.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeling.label_studio.config import FLAGS, INTENTS, VERDICTS
from shoptalk.domain import LabelVerdict

Result = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class AnnotatorAnswer:
    """One annotator's judgement of one reply. `correction` is a better reply, `rating` is 1 to 5."""

    verdict: LabelVerdict
    correction: str | None = None
    rating: int | None = None
    intent: str | None = None
    flags: Sequence[str] = ()


def to_result(answer: AnnotatorAnswer) -> Result:
    """Return the answer as Label Studio's page would send it."""
    result = [_item("verdict", "reply", "choices", [answer.verdict])]
    if answer.rating is not None:
        result.append(_item("rating", "reply", "rating", answer.rating))
    if answer.correction is not None:
        result.append(correction(answer.correction))
    if answer.intent is not None:
        result.append(_item("intent", "dialog", "choices", [answer.intent]))
    if answer.flags:
        result.append(_item("flags", "reply", "choices", list(answer.flags)))
    return result


def correction(text: str) -> dict[str, Any]:
    """Return the item of a corrected reply. The bot's reply is shown as a prediction in the same form."""
    item = _item("correction", "reply", "textarea", None)
    return {**item, "value": {"text": [text]}}


def from_result(result: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of our controls, by name. Other controls, and values not on our lists, are left out."""
    found: dict[str, Any] = {}
    for item in result:
        name, value = item.get("from_name"), item.get("value") or {}
        chosen = value.get("choices") or []
        if name == "verdict" and chosen and chosen[0] in VERDICTS:
            found["verdict"] = chosen[0]
        elif name == "intent" and chosen and chosen[0] in INTENTS:
            found["intent"] = chosen[0]
        elif name == "flags":
            found["flags"] = [flag for flag in FLAGS if flag in chosen]
        elif name == "rating" and isinstance(value.get("rating"), int | float):
            found["rating"] = min(5, max(1, round(value["rating"])))
        elif name == "correction" and (text := "\n".join(_strings(value.get("text"))).strip()):
            found["correction"] = text
    return found


def rewrite_texts(result: Sequence[Mapping[str, Any]], change: Callable[[str], str]) -> Result:
    """Return the result with every text that a person can type passed through `change`: text areas and their notes."""
    changed: Result = []
    for item in result:
        item = dict(item)
        for part in ("value", "meta"):
            holder = item.get(part)
            if isinstance(holder, Mapping) and "text" in holder:
                text = holder["text"]
                new = change(text) if isinstance(text, str) else [change(piece) for piece in _strings(text)]
                item[part] = {**holder, "text": new}
        changed.append(item)
    return changed


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [piece for piece in value if isinstance(piece, str)] if isinstance(value, Iterable) else []


def _item(name: str, target: str, kind: str, value: object) -> dict[str, Any]:
    return {"from_name": name, "to_name": target, "type": kind, "value": {kind: value}}

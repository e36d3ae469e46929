"""Evidently reports: messages, replies and quality in the current window against the reference.

The only module that knows Evidently. A report is one self-contained HTML page of scrubbed data; it loads nothing from
anywhere, and what customers wrote stays text in it (see `monitoring.page`). Reports explain drift; they do not decide
it (see `monitoring.mmd`).
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monitoring.page import harmless, secured
from monitoring.windows import EmbeddedConversation
from shoptalk.domain import Feedback
from shoptalk.store.ingest.turns import Features

NUMBERS = ("message_words", "message_sentiment", "reply_words", "reply_refuses", "reply_logprob", "thumbs", "turns")
KINDS = ("message_language", "message_topic")
TEXTS = ("message", "reply")
MOST_ROWS = 2000
DATA = re.compile(r"^ *var (?:additional_graphs_)?metric_[0-9a-f]{32} = .*;$", re.MULTILINE)  # its metrics, as JSON


def frame(
    conversations: Sequence[EmbeddedConversation],
    features: Mapping[str, Features],
    feedback: Mapping[str, Sequence[Feedback]],
    topics: Mapping[str, int],
) -> Any:
    """Return a pandas DataFrame with one row per exchange: a customer's message and the reply to it."""
    import pandas as pd

    rows = []
    for conversation in conversations:
        known = {turn.id: turn for turn in conversation.turns}
        for reply in conversation.turns:
            message = known.get(reply.parent_id or "")
            if reply.role != "assistant" or message is None or not message.text or reply.text is None:
                continue
            thumbs = [f.value for f in feedback.get(reply.inference_id or "", ()) if f.metric == "thumbs"]
            asked, said = features.get(message.id), features.get(reply.id)
            rows.append(
                {
                    "message": message.text,
                    "reply": reply.text,
                    "message_language": asked.language if asked else None,
                    "message_topic": f"topic {topics[message.id]}" if message.id in topics else None,
                    "message_words": len(message.text.split()),
                    "message_sentiment": _number(asked.sentiment if asked else None),
                    "reply_words": len(reply.text.split()),
                    "reply_refuses": float(said.refusal) if said else 0.0,
                    "reply_logprob": _number(said.mean_logprob if said else None),
                    "thumbs": float(np.mean(thumbs)) if thumbs else float("nan"),
                    "turns": len(conversation.turns),
                }
            )
    return pd.DataFrame(rows, columns=[*TEXTS, *KINDS, *NUMBERS])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def render(reference: Any, current: Any, title: str) -> tuple[bytes, dict[str, Any]]:
    """Return the HTML page and Evidently's metrics by name. Takes data frames that `frame` made."""
    os.environ["DO_NOT_TRACK"] = "1"  # before the import: Evidently reads it then
    state = np.random.get_state()  # Evidently reseeds numpy's global generator
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in Evidently and pandas
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import MeanValue, RowCount, ValueDrift

        numbers = [c for c in NUMBERS if reference[c].notna().any() and current[c].notna().any()]
        kinds = [c for c in KINDS if reference[c].notna().any() and current[c].notna().any()]
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=kinds, text_columns=list(TEXTS))
        kept = [*TEXTS, *kinds, *numbers]
        shown = [_shown(f[kept].tail(MOST_ROWS)) for f in (current, reference)]
        both = [Dataset.from_pandas(f, data_definition=definition) for f in shown]
        wanted = [RowCount()]
        for column in numbers:
            wanted += [MeanValue(column=column), ValueDrift(column=column)]
        wanted += [ValueDrift(column=column) for column in (*kinds, *TEXTS)]
        snapshot = Report(wanted, metadata={"title": harmless(title)}).run(*both)
        html = secured(snapshot.get_html_str(as_iframe=False), DATA).encode()
        metrics = _metrics(snapshot.dict())
    np.random.set_state(state)
    return html, metrics


def _shown(rows: Any) -> Any:
    """Return the rows with texts and kinds made harmless, as Evidently puts them into its page unchanged."""
    return rows.assign(**{
        name: rows[name].map(harmless, na_action="ignore") for name in (*TEXTS, *KINDS) if name in rows.columns
    })  # fmt: skip


def _metrics(result: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in result.get("metrics", ()):
        name, value = str(metric.get("metric_name") or metric.get("metric_id")), metric.get("value")
        if isinstance(value, int | float) and np.isfinite(value):
            found[name[:80]] = round(float(value), 5)
    return found

"""The tables, grouped by the stage that writes them. Migrations, not this file, change a live database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text
from sqlalchemy.types import TypeDecorator


class Time(TypeDecorator[datetime]):
    """Timezone-aware UTC, also on SQLite, which has no such type."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("times must be timezone-aware")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
ID = String(80)
Json = sa.JSON()


def _id() -> Column[str]:
    return Column("id", ID, primary_key=True)


def _at(name: str = "created_at") -> Column[datetime]:
    return Column(name, Time(), nullable=False)


# chatbot: who may call, what was said to whom, what is served
api_keys = Table(
    "api_keys", metadata, _id(),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("owner", ID, nullable=False),  # see shoptalk.owners
    _at(), Column("revoked_at", Time()),
    Column("limits", Json),  # see KeyLimits; null for keys made before there were any
)  # fmt: skip
rate_buckets = Table(
    "rate_buckets", metadata, Column("id", String(200), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("at", Float, nullable=False),  # seconds since the epoch, as the next
    Column("full_at", Float, nullable=False, index=True),
)  # fmt: skip
conversations = Table(
    "conversations", metadata, _id(),
    Column("owner", ID, nullable=False),  # see shoptalk.owners
    Column("public_hash", ID, index=True),  # keyed, of the id that clients use
    Column("customer", ID, index=True),  # keyed hash
    Column("source", String(32), nullable=False),
    _at(),
)  # fmt: skip
chat_turns = Table(
    "chat_turns", metadata, _id(),
    Column("conversation_id", ID, ForeignKey("conversations.id"), nullable=False, index=True),
    Column("parent_id", ID),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False),  # keyed hash of the message as the client sent or saw it
    Column("inference_id", ID),
    _at(),
)  # fmt: skip
inferences = Table(
    "inferences", metadata, _id(),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("alias", String(64), nullable=False),
    Column("adapter", String(80), nullable=False, index=True),
    Column("variant", String(32), nullable=False),
    Column("propensity", Float, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("ttft_ms", Float, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("finish_reason", String(16), nullable=False),
    Column("mean_logprob", Float, nullable=False),
    Column("created_at", Time(), nullable=False, index=True),
)  # fmt: skip
answers = Table(  # what an Idempotency-Key was answered with
    "answers", metadata, _id(),
    Column("body_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # encrypted
    _at(), Column("conversation_id", ID, index=True),
)  # fmt: skip
releases = Table(
    "releases", metadata, _id(),
    Column("alias", String(64), nullable=False, index=True),
    Column("adapter", String(80), nullable=False),
    Column("previous", String(80), nullable=False),
    Column("state", String(16), nullable=False),
    Column("evaluation_id", ID),
    Column("actor", String(80), nullable=False),
    _at(), _at("updated_at"),
)  # fmt: skip
release_events = Table(
    "release_events", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("release_id", ID, nullable=False, index=True),
    Column("move", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    _at(),
    sqlite_autoincrement=True,
)  # fmt: skip
desired = Table(  # what each alias should serve
    "desired", metadata,
    Column("alias", String(64), primary_key=True),
    Column("adapter", String(80), nullable=False),
    Column("previous", String(80)),
    _at("updated_at"),
)  # fmt: skip
observed = Table(  # what each API process does serve
    "observed", metadata,
    Column("process", ID, primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("adapter", String(80), nullable=False),
    Column("problem", Text),
    _at("updated_at"),
)  # fmt: skip

# ingest: what arrived, what was admitted
arrivals = Table(
    "arrivals", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("conversation_id", ID, nullable=False),
    Column("body", LargeBinary, nullable=False),  # encrypted
    _at(),
    Column("claimed_until", Time()),  # by one of several drains
    Column("batch_id", ID, index=True),  # waits until this import is released
    Column("customer", ID, index=True),  # keyed hash
    sqlite_autoincrement=True,  # else SQLite gives numbers of removed rows again
)  # fmt: skip
import_batches = Table(
    "import_batches", metadata, _id(),
    Column("source", String(64), nullable=False),  # keyed hash of where it came from
    Column("name", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reasons", Json, nullable=False),
    Column("report", Json, nullable=False),
    _at(), _at("updated_at"),
)  # fmt: skip
imported = Table(  # what of conversations from elsewhere is known here
    "imported", metadata,
    Column("conversation_id", ID, primary_key=True),
    Column("digest", String(64), nullable=False),  # keyed, of all that was said
    Column("scrubber", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("turn_ids", Json, nullable=False),
    _at("updated_at"),
)  # fmt: skip
turns = Table(
    "turns", metadata, _id(),
    Column("seq", Integer, nullable=False, index=True),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("parent_id", ID),
    Column("role", String(16), nullable=False),
    Column("text", Text),
    Column("reason", String(200)),
    Column("inference_id", ID, index=True),
    Column("content_hash", String(64), nullable=False, index=True),
    Column("at", Time(), nullable=False, index=True),
    Column("admitted_at", Time(), nullable=False),
    Column("customer", ID, index=True),  # keyed hash
)  # fmt: skip
turn_features = Table(
    "turn_features", metadata,
    Column("turn_id", ID, primary_key=True),
    Column("version", String(32), primary_key=True),
    Column("characters", Integer, nullable=False),
    Column("words", Integer, nullable=False),
    Column("refusal", Integer, nullable=False),
    Column("embedding", LargeBinary),  # float32, little-endian, L2-normalised
    Column("language", String(8)),
    Column("sentiment", Float),
    Column("mean_logprob", Float),
    Column("cluster_id", ID, index=True),
)  # fmt: skip
near_clusters = Table(  # of turns that say nearly the same
    "near_clusters", metadata, _id(),
    Column("signature", LargeBinary, nullable=False),  # of the first one; uint32, little-endian
    _at(),
)  # fmt: skip
near_bands = Table(
    "near_bands", metadata,
    Column("role", String(16), primary_key=True),
    Column("band", String(16), primary_key=True),
    Column("cluster_id", ID, primary_key=True),
)  # fmt: skip
topic_models = Table(
    "topic_models", metadata, _id(),
    Column("version", String(32), nullable=False),
    Column("topics", Integer, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("centroids", LargeBinary, nullable=False),  # float32, little-endian
    _at(),
)  # fmt: skip
turn_topics = Table(
    "turn_topics", metadata,
    Column("turn_id", ID, primary_key=True),
    Column("model_id", ID, nullable=False, index=True),
    Column("topic", Integer, nullable=False),
)  # fmt: skip
feedback = Table(
    "feedback", metadata, _id(),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("inference_id", ID, index=True),
    Column("metric", String(16), nullable=False),
    Column("value", Float, nullable=False),
    Column("comment", Text),
    Column("created_at", Time(), nullable=False, index=True),
)  # fmt: skip
pii_counts = Table(
    "pii_counts", metadata,
    Column("subject", ID, primary_key=True),  # the arrival they were found in
    Column("type", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("scrubber", String(32), nullable=False),
)  # fmt: skip
quarantine = Table(
    "quarantine", metadata, _id(),
    Column("kind", String(16), nullable=False),
    Column("conversation_id", ID),
    Column("reason", String(400), nullable=False),
    Column("body", LargeBinary),  # encrypted; None where nothing may be kept
    _at(), Column("customer", ID, index=True),
)  # fmt: skip

erasures = Table(
    "erasures", metadata, _id(),
    Column("state", String(16), nullable=False),
    Column("policy", String(16), nullable=False),
    Column("customer", ID, index=True),  # keyed hash; both until it is done
    Column("conversations", Json),
    Column("inferences", Json),
    Column("since", Time()),  # of the first turn
    Column("problem", Text),
    Column("receipt", Json),
    _at(), _at("updated_at"),
)  # fmt: skip
erasure_steps = Table(
    "erasure_steps", metadata,
    Column("erasure_id", ID, primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("counts", Json, nullable=False),
    _at(),
)  # fmt: skip
tombstones = Table(  # customers and conversations that must not come back, as keyed hashes of their own
    "tombstones", metadata, _id(),
    Column("erasure_id", ID, nullable=False),
    _at(),
)  # fmt: skip

# labeling
label_projects = Table(
    "label_projects", metadata,
    Column("name", String(200), primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("cursor", Time()),
)  # fmt: skip
samples = Table(
    "samples", metadata, _id(),
    Column("turn_id", ID, nullable=False, unique=True),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("round_id", ID, nullable=False, index=True),
    Column("inclusion_probability", Float, nullable=False),
    Column("strategy", String(32), nullable=False),
    Column("task_id", Integer, index=True),
    _at(),
)  # fmt: skip
label_annotations = Table(
    "annotations", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # Label Studio's
    Column("sample_id", ID, nullable=False, index=True),
    Column("annotator", Integer),
    Column("skipped", Integer, nullable=False),
    Column("result", Json, nullable=False),  # scrubbed
    Column("lead_time_s", Float),
    Column("updated_at", Time(), nullable=False),
)  # fmt: skip
labels = Table(
    "labels", metadata, _id(),
    Column("sample_id", ID, nullable=False, unique=True),
    Column("turn_id", ID, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("verdict", String(16), nullable=False),
    Column("reply", Text),
    Column("rating", Integer),
    Column("intent", String(64)),
    Column("flags", Json, nullable=False),
    Column("annotators", Integer, nullable=False),
    Column("agreement", Float),
    _at("updated_at"),
)  # fmt: skip

# training
datasets = Table(
    "datasets", metadata, _id(),
    Column("manifest_sha256", String(64), nullable=False),
    Column("train", Integer, nullable=False),
    Column("holdout", Integer, nullable=False),
    Column("round_id", ID),
    _at(),
    Column("replaced_by", ID),  # by an erasure
    Column("erasure_id", ID),
)  # fmt: skip
dataset_examples = Table(
    "dataset_examples", metadata,
    Column("dataset_id", ID, ForeignKey("datasets.id"), primary_key=True),
    Column("label_id", ID, primary_key=True),
    Column("split", String(16), nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
)  # fmt: skip
holdout_groups = Table(  # sealed: a group once held out is never trained on
    "holdout_groups", metadata,
    Column("group", ID, primary_key=True),
    Column("split", String(16), nullable=False),
    _at(),
)  # fmt: skip
runs = Table(
    "runs", metadata, _id(),
    Column("dataset_id", ID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("config", Json, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("problem", Text),
    Column("adapter", String(80)),
    _at(), _at("updated_at"),
)  # fmt: skip
adapters = Table(
    "adapters", metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("weights_sha256", String(64), nullable=False),
    Column("config_sha256", String(64), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("base_sha256", String(64), nullable=False),
    Column("dataset_id", ID),
    Column("run_id", ID, unique=True),
    _at(),
)  # fmt: skip
adapter_marks = Table(  # adapters that were trained on what was erased since
    "adapter_marks", metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("erasure_id", ID, nullable=False),
    Column("policy", String(16), nullable=False),
    _at(), Column("withdrawn_at", Time()), Column("deleted_at", Time()),
)  # fmt: skip
evaluations = Table(
    "evaluations", metadata, _id(),
    Column("adapter", String(80), nullable=False, index=True),
    Column("against", String(80), nullable=False),
    Column("dataset_id", ID, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reasons", Json, nullable=False),
    _at(),
)  # fmt: skip

# monitoring
reports = Table(
    "reports", metadata, _id(),
    Column("title", String(200), nullable=False),
    Column("artifact_sha256", String(64), nullable=False),
    Column("summary", Json, nullable=False),
    _at(), Column("erased_at", Time()),
)  # fmt: skip
drift_checks = Table(
    "drift_checks", metadata, _id(),
    Column("statistic", Float, nullable=False),
    Column("p_value", Float, nullable=False),
    Column("reference", Integer, nullable=False),
    Column("current", Integer, nullable=False),
    Column("current_until", Integer, nullable=False),  # the newest turn's seq
    Column("report_id", ID),
    _at(),
)  # fmt: skip
triggers = Table(
    "triggers", metadata, _id(),
    Column("kind", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("round_id", ID, unique=True),
    _at(),
)  # fmt: skip

# shoptalk: rounds, written by the worker
rounds = Table(
    "rounds", metadata, _id(),
    Column("trigger_id", ID),
    Column("state", String(16), nullable=False),
    Column("step", String(32), nullable=False),
    Column("problem", Text),
    _at(), _at("updated_at"),
)  # fmt: skip
round_steps = Table(
    "round_steps", metadata,
    Column("round_id", ID, primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("result", Json, nullable=False),
    _at(),
)  # fmt: skip

Index("ix_arrivals_conversation", arrivals.c.conversation_id)

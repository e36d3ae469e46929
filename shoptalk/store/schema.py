"""The tables, grouped by the stage that writes them. Migrations, not this file, change a live database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, String, Table, Text, and_

from shoptalk.store.columns import ID, Json, Time, id_column, metadata, time_column

# chatbot: API keys, conversations, inferences and releases
api_keys = Table(
    "api_keys", metadata, id_column(),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("owner", ID, nullable=False),  # see shoptalk.owners
    time_column(), Column("revoked_at", Time()),
    Column("limits", Json),  # see KeyLimits; null for keys made before there were any
)  # fmt: skip
rate_buckets = Table(
    "rate_buckets", metadata, Column("id", String(200), primary_key=True),
    Column("tokens", Float, nullable=False),
    Column("at", Float, nullable=False),  # seconds since the epoch, as the next
    Column("full_at", Float, nullable=False, index=True),
)  # fmt: skip
conversations = Table(
    "conversations", metadata, id_column(),
    Column("owner", ID, nullable=False),  # see shoptalk.owners
    Column("public_hash", ID, index=True),  # keyed, of the id that clients use
    Column("made_id", ID),  # the id itself where we made it up
    Column("customer", ID, index=True),  # keyed hash
    Column("source", String(32), nullable=False),
    time_column(),
)  # fmt: skip
chat_turns = Table(
    "chat_turns", metadata, id_column(),
    Column("conversation_id", ID, ForeignKey("conversations.id"), nullable=False, index=True),
    Column("parent_id", ID),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False),  # keyed hash of the message as the client sent or saw it
    Column("inference_id", ID),
    Column("path", String(64), index=True),  # keyed hash of the history that ends here, its owner and customer
    Column("joined", Integer),  # 1 where the client did not name the conversation, and its history was found here
    time_column(),
)  # fmt: skip
inferences = Table(
    "inferences", metadata, id_column(),
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
answers = Table(  # the answer that was given to each Idempotency-Key
    "answers", metadata, id_column(),
    Column("body_sha256", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # encrypted
    time_column(), Column("conversation_id", ID, index=True),
)  # fmt: skip
releases = Table(
    "releases", metadata, id_column(),
    Column("alias", String(64), nullable=False, index=True),
    Column("adapter", String(80), nullable=False),
    Column("previous", String(80), nullable=False),
    Column("state", String(16), nullable=False),
    Column("evaluation_id", ID),
    Column("actor", String(80), nullable=False),
    time_column(), time_column("updated_at"),
)  # fmt: skip
release_events = Table(
    "release_events", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("release_id", ID, nullable=False, index=True),
    Column("move", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    time_column(),
    sqlite_autoincrement=True,
)  # fmt: skip
desired = Table(  # what each alias should serve
    "desired", metadata,
    Column("alias", String(64), primary_key=True),
    Column("adapter", String(80), nullable=False),
    Column("previous", String(80)),
    time_column("updated_at"),
)  # fmt: skip
observed = Table(  # what each API process does serve
    "observed", metadata,
    Column("process", ID, primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("adapter", String(80), nullable=False),
    Column("problem", Text),
    time_column("updated_at"),
)  # fmt: skip

# ingest: the inbox, turns and their features, imports, quarantine, erasures
arrivals = Table(
    "arrivals", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("conversation_id", ID, nullable=False),
    Column("body", LargeBinary, nullable=False),  # encrypted
    time_column(),
    Column("claimed_until", Time()),  # by one of several drains
    Column("batch_id", ID, index=True),  # waits until this import is released
    Column("customer", ID, index=True),  # keyed hash
    sqlite_autoincrement=True,  # otherwise SQLite reuses the numbers of removed rows
)  # fmt: skip
import_batches = Table(
    "import_batches", metadata, id_column(),
    Column("source", String(64), nullable=False),  # keyed hash of where it came from
    Column("name", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reasons", Json, nullable=False),
    Column("report", Json, nullable=False),
    time_column(), time_column("updated_at"),
)  # fmt: skip
imported = Table(  # the version of each imported conversation that is known
    "imported", metadata,
    Column("conversation_id", ID, primary_key=True),
    Column("digest", String(64), nullable=False),  # keyed, of all that was said
    Column("scrubber", String(32), nullable=False),
    Column("version", Integer, nullable=False),
    Column("turn_ids", Json, nullable=False),
    time_column("updated_at"),
)  # fmt: skip
turns = Table(
    "turns", metadata, id_column(),
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
admitted_conversations = Table(  # when the first turn of each conversation was admitted
    "admitted_conversations", metadata,
    Column("conversation_id", ID, primary_key=True),
    Column("traffic", String(80), nullable=False),  # see `shoptalk.store.ingest.conversations`
    Column("admitted_at", Time(), nullable=False),
)  # fmt: skip
feature_queue = Table(  # turns whose features are to be computed
    "feature_queue", metadata,
    Column("turn_id", ID, primary_key=True),
    Column("seq", Integer, nullable=False, index=True),
    Column("claimed_until", Time()),  # by one of several workers
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
near_clusters = Table(  # of near-duplicate turns
    "near_clusters", metadata, id_column(),
    Column("signature", LargeBinary, nullable=False),  # of the first one; uint32, little-endian
    time_column(),
)  # fmt: skip
near_bands = Table(
    "near_bands", metadata,
    Column("role", String(16), primary_key=True),
    Column("band", String(16), primary_key=True),
    Column("cluster_id", ID, primary_key=True),
)  # fmt: skip
topic_models = Table(
    "topic_models", metadata, id_column(),
    Column("version", String(32), nullable=False),
    Column("topics", Integer, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("centroids", LargeBinary, nullable=False),  # float32, little-endian
    Column("names", Json, nullable=False),  # the number of the topic of each centroid, which later models keep
    time_column(),
)  # fmt: skip
turn_topics = Table(
    "turn_topics", metadata,
    Column("turn_id", ID, primary_key=True),
    Column("topic", Integer, nullable=False),
)  # fmt: skip
feedback = Table(
    "feedback", metadata, id_column(),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("inference_id", ID, index=True),
    Column("metric", String(16), nullable=False),
    Column("value", Float, nullable=False),
    Column("comment", Text),
    Column("created_at", Time(), nullable=False, index=True),
)  # fmt: skip
pii_counts = Table(
    "pii_counts", metadata,
    Column("subject", ID, primary_key=True),  # the inbox entry they were found in
    Column("type", String(64), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("scrubber", String(32), nullable=False),
)  # fmt: skip
quarantine = Table(
    "quarantine", metadata, id_column(),
    Column("kind", String(16), nullable=False),
    Column("conversation_id", ID),
    Column("reason", String(400), nullable=False),
    Column("body", LargeBinary),  # encrypted; None where nothing may be kept
    time_column(), Column("customer", ID, index=True),
)  # fmt: skip

erasures = Table(
    "erasures", metadata, id_column(),
    Column("state", String(16), nullable=False),
    Column("policy", String(16), nullable=False),
    Column("customer", ID, index=True),  # keyed hash; both until it is done
    Column("conversations", Json),
    Column("inferences", Json),
    Column("since", Time()),  # of the first turn
    Column("problem", Text),
    Column("receipt", Json),
    time_column(), time_column("updated_at"),
)  # fmt: skip
erasure_steps = Table(
    "erasure_steps", metadata,
    Column("erasure_id", ID, primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("counts", Json, nullable=False),
    time_column(),
)  # fmt: skip
tombstones = Table(  # customers and conversations that must not come back, as keyed hashes of their own
    "tombstones", metadata, id_column(),
    Column("erasure_id", ID, nullable=False),
    time_column(),
)  # fmt: skip

# labeling
label_projects = Table(
    "label_projects", metadata,
    Column("name", String(200), primary_key=True),
    Column("project_id", Integer, nullable=False),
    Column("cursor", Time()),
)  # fmt: skip
samples = Table(
    "samples", metadata, id_column(),
    Column("turn_id", ID, nullable=False, unique=True),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("round_id", ID, nullable=False, index=True),
    Column("inclusion_probability", Float, nullable=False),
    Column("strategy", String(32), nullable=False),
    Column("task_id", Integer, index=True),
    time_column(),
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
    "labels", metadata, id_column(),
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
    time_column("updated_at"),
)  # fmt: skip

# training
datasets = Table(
    "datasets", metadata, id_column(),
    Column("manifest_sha256", String(64), nullable=False),
    Column("train", Integer, nullable=False),
    Column("holdout", Integer, nullable=False),
    Column("round_id", ID),
    time_column(),
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
holdout_groups = Table(  # fixed: a group once held out is never trained on
    "holdout_groups", metadata,
    Column("group", ID, primary_key=True),
    Column("split", String(16), nullable=False),
    time_column(),
)  # fmt: skip
runs = Table(
    "runs", metadata, id_column(),
    Column("dataset_id", ID, nullable=False),
    Column("state", String(16), nullable=False),
    Column("config", Json, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("problem", Text),
    Column("adapter", String(80)),
    time_column(), time_column("updated_at"),
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
    time_column(),
)  # fmt: skip
adapter_marks = Table(  # adapters that were trained on what was erased since
    "adapter_marks", metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("erasure_id", ID, nullable=False),
    Column("policy", String(16), nullable=False),
    time_column(), Column("withdrawn_at", Time()), Column("deleted_at", Time()),
)  # fmt: skip
evaluations = Table(
    "evaluations", metadata, id_column(),
    Column("adapter", String(80), nullable=False, index=True),
    Column("against", String(80), nullable=False),
    Column("dataset_id", ID, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reasons", Json, nullable=False),
    time_column(),
)  # fmt: skip

# monitoring
reports = Table(
    "reports", metadata, id_column(),
    Column("title", String(200), nullable=False),
    Column("artifact_sha256", String(64), nullable=False),
    Column("summary", Json, nullable=False),
    time_column(), Column("erased_at", Time()),
)  # fmt: skip
drift_checks = Table(
    "drift_checks", metadata, id_column(),
    Column("statistic", Float, nullable=False),
    Column("p_value", Float, nullable=False),
    Column("reference", Integer, nullable=False),
    Column("current", Integer, nullable=False),
    Column("against", String(120), nullable=False),  # the reference, in words
    Column("asked", Integer, nullable=False),  # 1 where a person asked for it
    Column("end_at", Time()),  # the place of the current window's last conversation
    Column("end_id", ID),
    Column("report_id", ID),
    time_column(),
)  # fmt: skip
triggers = Table(
    "triggers", metadata, id_column(),
    Column("kind", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("round_id", ID, index=True),
    time_column(),
)  # fmt: skip

# shoptalk: rounds, written by the worker
rounds = Table(
    "rounds", metadata, id_column(),
    Column("trigger_id", ID),
    Column("state", String(16), nullable=False),
    Column("step", String(32), nullable=False),
    Column("problem", Text),
    Column("learn_now", Integer, nullable=False),  # 1: train on the labels that are there
    time_column(), time_column("updated_at"),
)  # fmt: skip
round_steps = Table(
    "round_steps", metadata,
    Column("round_id", ID, primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("result", Json, nullable=False),
    time_column(),
)  # fmt: skip
counters = Table(  # totals, see `shoptalk.store.counters`
    "counters", metadata,
    Column("day", String(10), primary_key=True),
    Column("name", String(120), primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("value", Float, nullable=False),
)  # fmt: skip
cursors = Table(  # how far work that goes through a table in order has come
    "cursors", metadata,
    Column("name", String(80), primary_key=True),
    Column("position", BigInteger, nullable=False),
)  # fmt: skip
workers = Table(  # worker processes that run, on any host
    "workers", metadata, id_column(),
    Column("beat_at", Time(), nullable=False),  # its last sign of life, machine time
)  # fmt: skip
leases = Table(  # what only one worker does at a time
    "leases", metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", ID, nullable=False),
)  # fmt: skip

# what is read by itself, or for a page, finds its rows by an index and not by a scan
Index("ix_arrivals_conversation", arrivals.c.conversation_id)
_FREE = arrivals.c.batch_id.is_(None)
Index("ix_arrivals_free", arrivals.c.seq, sqlite_where=_FREE, postgresql_where=_FREE)
_REPLY = and_(turns.c.role == "assistant", turns.c.inference_id.is_not(None))
Index("ix_turns_replies", turns.c.seq, sqlite_where=_REPLY, postgresql_where=_REPLY)
_ADMITTED = admitted_conversations.c
Index("ix_admitted_conversations_place", _ADMITTED.traffic, _ADMITTED.admitted_at, _ADMITTED.conversation_id)
_UNPUSHED = samples.c.task_id.is_(None)
Index("ix_samples_created_at", samples.c.created_at)
Index("ix_samples_unpushed", samples.c.created_at, sqlite_where=_UNPUSHED, postgresql_where=_UNPUSHED)
_KEPT = adapter_marks.c.deleted_at.is_(None)
Index("ix_adapter_marks_kept", adapter_marks.c.created_at, sqlite_where=_KEPT, postgresql_where=_KEPT)
Index("ix_answers_created_at", answers.c.created_at)
_SHOWN = reports.c.erased_at.is_(None)
Index("ix_reports_shown", reports.c.created_at, sqlite_where=_SHOWN, postgresql_where=_SHOWN)
Index("ix_reports_artifact_sha256", reports.c.artifact_sha256)
Index("ix_drift_checks_end_id", drift_checks.c.end_id)
Index("ix_erasures_updated_at", erasures.c.updated_at)
for _column in (adapters.c.weights_sha256, adapters.c.config_sha256):
    Index(f"ix_adapters_{_column.name}", _column)
for _table in (erasures, rounds, releases):
    Index(f"ix_{_table.name}_state", _table.c.state)
for _table in (
    quarantine, topic_models, releases, datasets, runs, adapters, evaluations, reports, drift_checks, triggers, rounds,
    erasures, import_batches,
):  # fmt: skip
    Index(f"ix_{_table.name}_created_at", _table.c.created_at)

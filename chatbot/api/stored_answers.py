"""The bodies of the answers that show stored things: adapters, datasets, runs, evaluations, rounds, reports, releases.

Each model has the fields of the dataclass it is made from, by `model_validate`, and takes over their values; a test
compares the two. Knows no store and no route.
"""

from __future__ import annotations

from typing import Any

from chatbot.api.answers import AdapterName, Answer, ListAnswer, Moment, StoredAnswer
from shoptalk.domain import ReleaseState, RoundState, RunState, TriggerKind, Verdict


class AdapterAnswer(StoredAnswer):
    """A registered adapter version."""

    ref: AdapterName
    weights_sha256: str
    config_sha256: str
    size_bytes: int
    rank: int
    base_sha256: str
    dataset_id: str | None
    run_id: str | None
    created_at: Moment


class DatasetAnswer(StoredAnswer):
    """A frozen dataset; `train` and `holdout` count its examples."""

    id: str
    manifest_sha256: str
    train: int
    holdout: int
    round_id: str | None
    created_at: Moment
    replaced_by: str | None
    erasure_id: str | None


class RunAnswer(StoredAnswer):
    """A training run; `step` of `steps` optimizer steps are done."""

    id: str
    dataset_id: str
    state: RunState
    config: dict[str, Any]
    step: int
    steps: int
    metrics: dict[str, Any]
    problem: str | None
    adapter: str | None
    created_at: Moment
    updated_at: Moment


class EvaluationAnswer(StoredAnswer):
    """A candidate adapter judged `against` the one that was live, with all the evidence that the gate saw."""

    id: str
    adapter: str
    against: str
    dataset_id: str
    evidence: dict[str, Any]
    verdict: Verdict
    reasons: list[str]
    created_at: Moment


class RoundAnswer(StoredAnswer):
    """A round of learning; `step` is the one it is at."""

    id: str
    trigger_id: str | None
    state: RoundState
    step: str
    problem: str | None
    learn_now: bool
    created_at: Moment
    updated_at: Moment


class TriggerAnswer(StoredAnswer):
    """A request for a round; `round_id` is the round that it started or joined."""

    id: str
    kind: TriggerKind
    reason: str
    round_id: str | None
    created_at: Moment


class RoundDetailAnswer(Answer):
    """A round with the requests it answers, and what each of its steps left."""

    round: RoundAnswer
    triggers: list[TriggerAnswer]
    steps: dict[str, dict[str, Any]]


class ReportAnswer(StoredAnswer):
    """A drift report; its page is at /v1/reports/{id} until it is erased."""

    id: str
    title: str
    artifact_sha256: str
    summary: dict[str, Any]
    created_at: Moment
    erased_at: Moment | None


class ReleaseAnswer(StoredAnswer):
    """One attempt to make an adapter the one that an alias serves."""

    id: str
    alias: str
    adapter: str
    previous: str
    state: ReleaseState
    evaluation_id: str | None
    actor: str
    created_at: Moment
    updated_at: Moment


class ReleaseEventAnswer(StoredAnswer):
    """One move of a release, and the state after it."""

    seq: int
    release_id: str
    move: str
    state: str
    actor: str
    reason: str
    created_at: Moment


class DesiredAnswer(StoredAnswer):
    """The adapter that an alias should serve, and the one it served before."""

    alias: str
    adapter: str
    previous: str | None
    updated_at: Moment


class ObservedAnswer(StoredAnswer):
    """The adapter that one API process serves under an alias; `problem` says why it is not the desired one."""

    process: str
    alias: str
    adapter: str
    problem: str | None
    updated_at: Moment


class ReleaseListAnswer(ListAnswer[ReleaseAnswer]):
    """The answer to GET /v1/releases."""

    events: list[ReleaseEventAnswer]
    desired: list[DesiredAnswer]
    observed: list[ObservedAnswer]

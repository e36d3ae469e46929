"""What was deleted in Label Studio, a real one, while a round waits for it."""

from __future__ import annotations

import pytest

from labeling.annotate import ScriptedAnnotator
from labeling.label_studio.client import LabelStudio
from labeling.label_studio.results import AnnotatorAnswer
from labeling.missing import MissingTasks
from labeling.pull import Pull
from labeling.push import Push
from shoptalk.errors import NotFound
from shoptalk.store import Store, rounds, triggers
from shoptalk.store.labeling import labels, samples
from tests.clocks import now

from .world import add_samples, scrub_emails

pytestmark = [pytest.mark.slow, pytest.mark.label_studio]
ROUND = "round_1"  # of `add_samples`


@pytest.fixture
def project_id(store: Store, client: LabelStudio, project: str) -> int:
    """A round that waits for labels of eight tasks."""
    with store.write() as conn:
        triggers.add(conn, triggers.Trigger("trg_1", "person", "asked", None, now()))
        rounds.open_for(conn, "trg_1", ROUND)
        rounds.move(conn, ROUND, "wait", "labels")
    add_samples(store, 8)
    assert Push(store, client, project).run_once() == 8
    with store.read() as conn:
        found = samples.project(conn, project)
    assert found is not None
    return found[0]


def answered(store: Store) -> int:
    with store.read() as conn:
        return labels.count_answered(conn, ROUND)


def test_a_deleted_task_counts_as_skipped(store: Store, client: LabelStudio, project: str, project_id: int) -> None:
    missing = MissingTasks(store, lambda: client, project)
    missing.run_once()
    assert answered(store) == 0  # none is missing
    for tasks in client.find_tasks(project_id, ["smp_c0", "smp_c1"]).values():
        client.delete_task(tasks[0])
    for _ in range(2):
        missing.run_once()
        assert answered(store) == 2
    ScriptedAnnotator(client, lambda _: AnnotatorAnswer("good")).work(project_id)
    Pull(store, client, scrub_emails, project).run_once()
    with store.read() as conn:
        assert (labels.count_answered(conn, ROUND), labels.count(conn, ROUND)) == (8, 6)


def test_a_deleted_project_is_made_again_with_what_nobody_answered(
    store: Store, client: LabelStudio, project: str, project_id: int
) -> None:
    first = iter([AnnotatorAnswer("good"), AnnotatorAnswer("bad")])
    ScriptedAnnotator(client, lambda _: next(first)).work(project_id, limit=2, workers=1)
    Pull(store, client, scrub_emails, project).run_once()
    assert answered(store) == 2
    client._sdk.projects.delete(project_id)
    MissingTasks(store, lambda: client, project).run_once()
    with store.read() as conn:
        assert samples.project(conn, project) is None
        assert samples.count(conn, pushed=True) == 2
    assert Push(store, client, project).run_once() == 6
    with store.read() as conn:
        found = samples.project(conn, project)
    assert found is not None
    assert found[0] != project_id
    assert client.count(found[0]) == 6
    ScriptedAnnotator(client, lambda _: AnnotatorAnswer("good")).work(found[0])
    Pull(store, client, scrub_emails, project).run_once()
    assert answered(store) == 8


def test_a_project_of_another_label_studio_is_not_mistaken_for_ours(
    store: Store, client: LabelStudio, project: str, project_id: int
) -> None:
    """Its id may be the same, after a new installation; nobody deleted our tasks in it."""
    other = client.ensure_project("somebody else's", "<View><Text name='reply' value='$reply'/></View>")
    with store.write() as conn:
        samples.set_project(conn, project, other, None)
    MissingTasks(store, lambda: client, project).run_once()
    assert answered(store) == 0
    with store.read() as conn:
        assert samples.project(conn, project) is None
        assert samples.count(conn, pushed=True) == 0


def test_without_a_round_that_waits_nobody_is_asked(store: Store, project: str) -> None:
    def never() -> LabelStudio:
        raise NotFound("no Label Studio")

    MissingTasks(store, never, project).run_once()
    with store.write() as conn:
        samples.set_project(conn, project, 1, None)
    MissingTasks(store, never, project).run_once()

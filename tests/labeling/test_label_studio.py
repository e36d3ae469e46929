"""Push, pull and the scripted annotator against a real Label Studio."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labeling.annotate import ScriptedAnnotator
from labeling.erasure import LabelEraser
from labeling.label_studio.client import LabelStudio
from labeling.label_studio.config import label_config
from labeling.label_studio.results import AnnotatorAnswer, from_result, to_result
from labeling.label_studio.server import LabelStudioServer
from labeling.pull import Pull, PullResult
from labeling.push import Push
from shoptalk.domain import Sample
from shoptalk.errors import ConfigurationError, InvalidInput, LabelStudioUnavailable, NotFound
from shoptalk.ports import Erased
from shoptalk.store.database import Store
from shoptalk.store.labeling import labels, samples

from .world import add_conversation, add_samples, scrub_emails

pytestmark = [pytest.mark.slow, pytest.mark.label_studio]
RAW = "jane.roe.7731@mail.example"


def everything(client: LabelStudio, project_id: int) -> list[dict[str, Any]]:
    return list(client.annotated_since(project_id, None))


def task_of(client: LabelStudio, project_id: int, sample_id: str) -> int:
    return client.find_tasks(project_id, [sample_id])[sample_id][0]


def pushed(store: Store, client: LabelStudio, project: str, count: int) -> int:
    """Push that many samples; the project's id."""
    add_samples(store, count)
    assert Push(store, client, project).run_once() == count
    with store.read() as conn:
        found = samples.project(conn, project)
    assert found is not None
    return found[0]


def test_project_is_made_once_and_kept_up_to_date(client: LabelStudio, project: str) -> None:
    first = client.ensure_project(project, "<View><Text name='reply' value='$reply'/></View>")
    assert client.ensure_project(project, label_config()) == first
    assert client.ensure_project(project, label_config()) == first
    assert client.ensure_project(project + " 2", label_config()) != first


def test_push_is_idempotent(store: Store, client: LabelStudio, project: str) -> None:
    project_id = pushed(store, client, project, 120)
    assert Push(store, client, project).run_once() == 0
    assert client.count(project_id) == 120
    task = next(t for t in everything(client, project_id) if t["data"]["sample_id"] == "smp_c7")
    assert task["data"] == {
        "sample_id": "smp_c7",
        "adapter": "shop@v1",
        "dialog": [{"role": "customer", "text": "Where is order <ORDER_ID_1>? (7)"}],
        "reply": "Your order <ORDER_ID_1> ships soon. (7)",
    }
    with store.read() as conn:
        sample = samples.find(conn, "smp_c7")
    assert sample is not None
    assert sample.task_id == task["id"]


class Killed(BaseException):
    """Stands for SIGKILL at a certain point."""


def test_push_killed_between_import_and_recording(
    store: Store, client: LabelStudio, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_samples(store, 30)

    def killed(*args: object) -> None:
        raise Killed

    for point in ("import", "record"):
        with monkeypatch.context() as patch:
            if point == "import":
                real = LabelStudio.import_tasks

                def cut(self: LabelStudio, project_id: int, tasks: Sequence[Any], real: Any = real) -> None:
                    real(self, project_id, tasks[:11])
                    raise Killed

                patch.setattr(LabelStudio, "import_tasks", cut)
            else:
                patch.setattr(samples, "set_tasks", killed)
            with pytest.raises(Killed):
                Push(store, client, project).run_once()
    assert Push(store, client, project).run_once() == 30
    project_id = client.ensure_project(project, label_config())
    assert sorted(t["data"]["sample_id"] for t in everything(client, project_id)) == sorted(
        f"smp_c{i}" for i in range(30)
    )


def test_crossed_pushes_leave_one_task_each(store: Store, client: LabelStudio, project: str) -> None:
    add_samples(store, 3)
    project_id = client.ensure_project(project, label_config())
    doubles = [{"data": {"sample_id": f"smp_c{i}", "dialog": [], "reply": "x"}} for i in (0, 0, 1)]
    oldest = client.import_tasks(project_id, doubles)
    assert Push(store, client, project).run_once() == 3
    assert client.count(project_id) == 3
    with store.read() as conn:
        assert [s.task_id for s in samples.of_round(conn, "round_1")][:2] == [oldest[0], oldest[2]]


def test_erased_text_is_not_pushed(store: Store, client: LabelStudio, project: str) -> None:
    from shoptalk.domain import Sample

    with store.write() as conn:
        samples.add(
            conn,
            Sample(
                id="smp_gone",
                turn_id="turn_gone",
                conversation_id="gone",
                round_id="r",
                inclusion_probability=0.5,
                strategy="usefulness",
            ),
        )
    add_samples(store, 2)
    assert Push(store, client, project).run_once() == 2
    assert Push(store, client, project).run_once() == 0


def test_pull_is_incremental_and_idempotent(store: Store, client: LabelStudio, project: str) -> None:
    assert Pull(store, client, scrub_emails, project).run_once() == PullResult()
    project_id = pushed(store, client, project, 12)
    pull = Pull(store, client, scrub_emails, project)
    assert pull.run_once() == PullResult()
    answers = {
        "smp_c0": AnnotatorAnswer("good", rating=5, intent="order_status"),
        "smp_c1": AnnotatorAnswer("fixable", "Order <ORDER_ID_1> arrives on Monday.", 3, "shipping", ("wrong_fact",)),
        "smp_c2": AnnotatorAnswer("bad"),
    }
    for sample_id, answer in answers.items():
        client.annotate(task_of(client, project_id, sample_id), to_result(answer))
    client.annotate(task_of(client, project_id, "smp_c3"), [], skip=True)
    assert pull.run_once() == PullResult(annotations=4, labels=3)
    assert pull.run_once() == PullResult()
    with store.read() as conn:
        made = {x.sample_id: x for x in labels.everything(conn)}
        assert labels.annotations_of(conn, "smp_c3")[0].skipped
    assert made["smp_c0"].reply == "Your order <ORDER_ID_1> ships soon. (0)"
    assert made["smp_c1"].reply == "Order <ORDER_ID_1> arrives on Monday."
    assert (made["smp_c1"].rating, made["smp_c1"].intent, made["smp_c1"].flags) == (3, "shipping", ("wrong_fact",))
    assert made["smp_c2"].reply is None
    # a second opinion, a change of mind, and a withdrawal
    client.annotate(task_of(client, project_id, "smp_c0"), to_result(AnnotatorAnswer("bad")))
    with store.read() as conn:
        (first,) = labels.annotations_of(conn, "smp_c2")
        (withdrawn,) = labels.annotations_of(conn, "smp_c1")
    client.update_annotation(first.id, to_result(AnnotatorAnswer("good")))
    client._sdk.annotations.delete(withdrawn.id)
    result = pull.run_once()
    assert result == PullResult(annotations=3, labels=2)
    assert pull.run_once() == PullResult()
    with store.read() as conn:
        made = {x.sample_id: x for x in labels.everything(conn)}
    assert "smp_c1" not in made
    assert made["smp_c2"].verdict == "good"
    assert made["smp_c0"].annotators == 1  # the same person twice


class Counting(LabelStudio):
    """Counts how often tasks that changed are asked for."""

    asked = 0

    def annotated_since(self, project_id: int, cursor: datetime | None) -> Iterator[dict[str, Any]]:
        self.asked += 1
        return super().annotated_since(project_id, cursor)


def test_what_has_settled_is_not_asked_for_again(
    store: Store, client: LabelStudio, project: str, server: LabelStudioServer
) -> None:
    project_id = pushed(store, client, project, 3)
    client.annotate(task_of(client, project_id, "smp_c0"), to_result(AnnotatorAnswer("good")))
    with Counting(server.url, server.token) as counting:
        pull = Pull(store, counting, scrub_emails, project, overlap=timedelta(seconds=0.5))
        assert pull.run_once().annotations == 1
        assert pull.run_once() == PullResult()
        time.sleep(0.6)
        assert pull.run_once() == PullResult()  # what became visible late
        asked = counting.asked
        for _ in range(3):
            assert pull.run_once() == PullResult()
        assert counting.asked == asked
        client.annotate(task_of(client, project_id, "smp_c1"), to_result(AnnotatorAnswer("bad")))
        assert pull.run_once().annotations == 1


def test_pull_killed_before_recording_loses_nothing(
    store: Store, client: LabelStudio, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id = pushed(store, client, project, 3)
    pull = Pull(store, client, scrub_emails, project)
    pull.run_once()
    client.annotate(task_of(client, project_id, "smp_c1"), to_result(AnnotatorAnswer("fixable", f"Write to {RAW}.")))

    def killed(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(labels, "put_annotation", killed)
        with pytest.raises(Killed):
            pull.run_once()
    assert pull.run_once() == PullResult(annotations=1, labels=1, fixed=0)  # fixed already by the killed one
    with store.read() as conn:
        assert [x.reply for x in labels.everything(conn)] == ["Write to <EMAIL_1>."]


def test_personal_data_in_a_correction_is_fixed_everywhere(
    store: Store, client: LabelStudio, project: str, server: LabelStudioServer
) -> None:
    project_id = pushed(store, client, project, 4)
    pull = Pull(store, client, scrub_emails, project)
    noted = to_result(AnnotatorAnswer("fixable", f"Please write to {RAW} about <ORDER_ID_1>."))
    noted[1]["meta"] = {"text": [f"asked {RAW} first"]}
    client.annotate(task_of(client, project_id, "smp_c0"), noted)
    client.annotate(
        task_of(client, project_id, "smp_c1"), to_result(AnnotatorAnswer("bad", f"UNSCANNABLE {RAW}", intent="other"))
    )
    assert RAW.encode() in server.folder.database.read_bytes()
    assert pull.run_once() == PullResult(annotations=2, labels=2, fixed=2)
    assert pull.run_once() == PullResult()
    time.sleep(0.05)
    assert pull.run_once() == PullResult()
    with store.read() as conn:
        made = {x.sample_id: x for x in labels.everything(conn)}
        annotators = {a.annotator for s in ("smp_c0", "smp_c1") for a in labels.annotations_of(conn, s)}
    assert made["smp_c0"].reply == "Please write to <EMAIL_1> about <ORDER_ID_1>."
    assert (made["smp_c1"].verdict, made["smp_c1"].reply, made["smp_c1"].intent) == ("bad", None, "other")
    assert annotators == {1}
    there = json.dumps(everything(client, project_id), default=str)
    assert "<EMAIL_1>" in there
    assert RAW not in there
    for task in client.annotated_since(project_id, None):
        assert RAW not in str(client._sdk.tasks.get(str(task["id"])).model_dump())
    store.close()
    files = [*Path(str(store.url.database)).parent.iterdir(), *server.folder.path.rglob("*")]
    assert [f.name for f in files if f.is_file() and RAW.encode() in f.read_bytes()] == []


def test_abandoned_drafts_are_fixed(store: Store, client: LabelStudio, project: str, server: LabelStudioServer) -> None:
    project_id = pushed(store, client, project, 2)
    raw = "left.lying.4410@mail.example"
    typed = to_result(AnnotatorAnswer("bad", f"Write to {raw}"))
    client._sdk._client_wrapper.httpx_client.request(
        f"api/tasks/{task_of(client, project_id, 'smp_c0')}/drafts", method="POST", json={"result": typed}
    )
    assert Pull(store, client, scrub_emails, project).run_once().fixed == 0  # may still be typing
    pull = Pull(store, client, scrub_emails, project, draft_age=timedelta(0))
    assert pull.run_once() == PullResult(fixed=1)
    assert pull.run_once() == PullResult()
    (task,) = client.drafted(project_id)
    assert "<EMAIL_1>" in str(task["drafts"])
    assert raw.encode() not in server.folder.database.read_bytes()
    client.update_draft(10**9, [])  # submitted meanwhile


def test_scripted_annotator(store: Store, client: LabelStudio, project: str) -> None:
    project_id = pushed(store, client, project, 30)

    def answer(data: Any) -> AnnotatorAnswer | None:
        assert data["dialog"]
        number = int(data["sample_id"].removeprefix("smp_c"))
        return None if number == 0 else AnnotatorAnswer("good" if number % 2 else "bad", rating=4)

    annotator = ScriptedAnnotator(client, answer)
    assert annotator.work(project_id, limit=5) == 5
    assert annotator.work(project_id, workers=4) == 25
    assert annotator.work(project_id) == 0
    assert Pull(store, client, scrub_emails, project).run_once() == PullResult(annotations=30, labels=29)


def test_what_goes_wrong_is_said_plainly(
    store: Store, server: LabelStudioServer, client: LabelStudio, project: str
) -> None:
    with pytest.raises(ConfigurationError, match="SHOPTALK_LABEL_STUDIO_TOKEN"):
        LabelStudio(server.url, None)
    with (
        LabelStudio(server.url, "f" * 40) as stranger,
        pytest.raises(ConfigurationError, match="SHOPTALK_LABEL_STUDIO_TOKEN") as refused,
    ):
        stranger.ping()
    assert "f" * 40 not in str(refused.value)
    with pytest.raises(NotFound):
        client.annotate(10**9, [])
    project_id = client.ensure_project(project, label_config())
    with pytest.raises(InvalidInput, match="import"):
        client.import_tasks(project_id, [{"data": {"unknown": 1}}])
    client.delete_task(10**9)
    add_conversation(store, "x", [("a", "b")])
    with LabelStudio("http://127.0.0.1:9", server.token) as nobody:
        for act in (nobody.ping, lambda: nobody.ensure_project("p", label_config())):
            with pytest.raises(
                LabelStudioUnavailable, match=r"http://127\.0\.0\.1:9.*SHOPTALK_LABEL_STUDIO_URL"
            ) as down:
                act()
            assert server.token not in str(down.value)


def test_results_there_and_back() -> None:
    answer = AnnotatorAnswer("fixable", "better", 3, "payment", ("spam",))
    assert from_result(to_result(answer)) == {
        "verdict": "fixable", "correction": "better", "rating": 3, "intent": "payment", "flags": ["spam"],
    }  # fmt: skip
    assert from_result([{"from_name": "verdict", "value": {"choices": ["maybe"]}}, {"from_name": "x"}]) == {}


def test_erasure_leaves_nothing_in_label_studio(
    store: Store, client: LabelStudio, project: str, server: LabelStudioServer
) -> None:
    marker = "quizzical zanzibar kettle"
    project_id = pushed(store, client, project, 3)
    (turn,) = add_conversation(store, "con_jo", [(f"my {marker} leaks", "A new one is on its way.")])
    with store.write() as conn:
        samples.add(
            conn,
            Sample(
                id="smp_jo",
                turn_id=turn,
                conversation_id="con_jo",
                round_id="round_1",
                inclusion_probability=0.5,
                strategy="usefulness",
            ),
        )
    assert Push(store, client, project).run_once() == 1
    corrected = AnnotatorAnswer("fixable", correction=f"About the {marker}: sorry!")
    ScriptedAnnotator(client, lambda data: corrected if marker in str(data) else AnnotatorAnswer("good")).work(
        project_id
    )
    Pull(store, client, scrub_emails, project).run_once()
    data = Path(server.folder.path)
    assert [path for path in files(data) if marker.encode() in path.read_bytes()]
    eraser = LabelEraser(store, lambda: client)
    what = Erased("era_1", "now", None, ("con_jo",), (), None, lambda *_: None)
    assert eraser.erase(what) == {"tasks": 1, "samples": 1, "annotations": 1, "labels": 1}
    assert eraser.erase(what) == {"tasks": 0, "samples": 0, "annotations": 0, "labels": 0}
    assert client.count(project_id) == 3
    assert [path for path in files(data) if marker.encode() in path.read_bytes()] == []
    with store.read() as conn:
        assert samples.count(conn) == 3
    away = LabelEraser(store, lambda: LabelStudio("http://127.0.0.1:9", "0" * 40))
    with pytest.raises(LabelStudioUnavailable):
        away.erase(Erased("era_2", "now", None, ("c1",), (), None, lambda *_: None))
    with store.read() as conn:
        assert samples.find(conn, "smp_c1") is not None  # nothing is forgotten here before it is gone there


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

"""The answers' models and the OpenAPI schema: every JSON answer is described, and as the stored things are."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from chatbot.api import routes
from chatbot.api import stored_answers as shapes
from chatbot.api.answers import Answer, Completion, ErasureAnswer, ImportedConversation, StoredAnswer
from chatbot.api.completion import Shapes
from chatbot.api.exchange import Exchange
from chatbot.console.api_docs import kind, operations
from chatbot.engine.null import NullEngine
from chatbot.engine.protocol import Finished, TokenLogprob
from chatbot.router import Route
from ingest.imports.result import ImportOutcome
from shoptalk import domain
from shoptalk.app.api import build_api
from shoptalk.domain import AdapterRef
from shoptalk.settings import Settings
from shoptalk.store import rounds, triggers
from shoptalk.store.chat import releases
from shoptalk.store.monitoring import reports
from shoptalk.store.training import datasets, evaluations, runs
from tests.clocks import now

SHOWN: dict[type[StoredAnswer], Any] = {
    shapes.AdapterAnswer: domain.Adapter,
    shapes.DatasetAnswer: datasets.Dataset,
    shapes.RunAnswer: runs.Run,
    shapes.EvaluationAnswer: evaluations.Evaluation,
    shapes.RoundAnswer: rounds.Round,
    shapes.TriggerAnswer: triggers.Trigger,
    shapes.ReportAnswer: reports.Report,
    shapes.ReleaseAnswer: domain.Release,
    shapes.ReleaseEventAnswer: releases.ReleaseEvent,
    shapes.DesiredAnswer: releases.Desired,
    shapes.ObservedAnswer: releases.Observed,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_api(Settings(home=tmp_path_factory.mktemp("home"), engine="null"), NullEngine())


@pytest.fixture(scope="module")
def schema(app: Any) -> dict[str, Any]:
    made: dict[str, Any] = app.openapi()
    return made


@pytest.mark.parametrize("answer", SHOWN)
def test_a_stored_thing_is_shown_with_all_its_fields(answer: type[StoredAnswer]) -> None:
    assert set(answer.model_fields) == _fields(SHOWN[answer])


def test_every_stored_answer_is_compared() -> None:
    own = {c for c in vars(shapes).values() if isinstance(c, type) and issubclass(c, StoredAnswer)}
    assert own - {StoredAnswer} == set(SHOWN)


def test_erasures_and_imports_show_a_part() -> None:
    assert set(ErasureAnswer.model_fields) - {"object"} <= _fields(domain.Erasure)
    assert set(ImportedConversation.model_fields) == _fields(ImportOutcome) - {"line"}


def test_a_completion_is_as_its_model_says() -> None:
    route = Route("shop", AdapterRef("shop", 1), "live", 1.0)
    made = Shapes(Exchange("con_1", "c", "key_1", None, [], [], None, None, route), "base-f32")
    whole = made.whole("Hi", [TokenLogprob("Hi", -0.1, ())], Finished("stop", "Hi", 3, 1, 1.0, 2.0, -0.1))
    assert Completion.model_validate(whole).model_dump() == whole


def test_times_and_versions_are_written_as_before() -> None:
    at = now()
    adapter = domain.Adapter(
        ref=AdapterRef("shop", 3), weights_sha256="a", config_sha256="b", size_bytes=1, rank=8, base_sha256="c",
        dataset_id=None, run_id=None, created_at=at,
    )  # fmt: skip
    shown = shapes.AdapterAnswer.model_validate(adapter).model_dump()
    assert (shown["ref"], shown["created_at"]) == ("shop@v3", at.isoformat())


def test_every_route_is_in_the_schema(schema: dict[str, Any]) -> None:
    modules = [importlib.import_module(f"{routes.__name__}.{m.name}") for m in pkgutil.iter_modules(routes.__path__)]
    paths = {route.path.replace(":path", "") for module in modules for route in module.router.routes}
    assert paths == set(schema["paths"])


def test_every_json_answer_has_a_schema(schema: dict[str, Any]) -> None:
    bare = [
        f"{method} {path} {status}"
        for path, method, status, content in _answers(schema)
        if not content or any(m == "application/json" and "$ref" not in b.get("schema", {}) for m, b in content.items())
    ]
    assert bare == []


def test_the_schema_names_the_scope_of_each_keyed_operation(schema: dict[str, Any]) -> None:
    scopes = {(o.method, o.path): o.scope for o in operations(schema)}
    assert scopes["POST", "/v1/chat/completions"] == "chat"
    assert scopes["DELETE", "/v1/customers/{customer_id}"] == "erase"
    assert {path for (_, path), scope in scopes.items() if not scope} == {"/healthz", "/readyz", "/metrics"}


def test_every_model_is_described(schema: dict[str, Any]) -> None:
    assert [c.__name__ for c in _descendants(Answer) if not c.__doc__ and "[" not in c.__name__] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Usage"}}, "list of Usage"),
        ({"enum": ["now", 3]}, '"now" or 3'),
        ({}, "any"),
    ],
)
def test_types_in_words(schema: dict[str, Any], words: str) -> None:
    assert kind(schema) == words


@pytest.mark.slow
def test_no_page_of_another_host_shows_the_schema(tmp_path: Path) -> None:
    app = build_api(Settings(home=tmp_path, engine="null"), NullEngine())
    with TestClient(app) as client:
        for path in ("/redoc", "/docs/oauth2-redirect"):
            assert client.get(path).status_code == 404
        for path in ("/docs", "/openapi.json"):
            assert client.get(path).status_code == 401


def _fields(of: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(of)}


def _answers(schema: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield path, method, status and content by media type of each answer."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                yield path, method, status, answer.get("content", {})


def _descendants(cls: type[Answer]) -> Iterator[type[Answer]]:
    for child in cls.__subclasses__():
        yield child
        yield from _descendants(child)

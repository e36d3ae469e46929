"""Requests that fit the OpenAPI schema and requests that do not: no server error, no hang, nothing undocumented.

FUZZ_CASES sets the number of requests, 10,000 in a thorough run. CI makes fewer, the same each time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.stack import Stack, stack
from tests.postgres import PostgresServer

CASES = int(os.environ.get("FUZZ_CASES", "800"))
SLOWEST_S = 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SHARES = {"/v1/chat/completions": 10, "/v1/feedback": 4, "/v1/releases": 2, "/v1/releases/{release_id}/{move}": 3}

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def running(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Stack]:
    values = {}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        values["database_url"] = server.url(server.create())
    for made in stack(tmp_path / "home", **values):
        made.start("serve")
        yield made


@pytest.fixture
def session(running: Stack) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        made.headers["Authorization"] = f"Bearer {running.key()}"
        yield made


def test_every_operation_keeps_to_its_schema(running: Stack, session: requests.Session) -> None:
    real = _real(running, session)
    statuses: Counter[int] = Counter()
    for operation, mode, share in _plan(running):
        strategy = operation.as_strategy(generation_mode=mode)
        if mode.is_positive:
            strategy = _sensible(strategy, real)
        checks = [*CHECKS, negative_data_rejection] if operation.method == "post" else CHECKS
        _try(strategy, share, checks, session, statuses)
    print(f"\n{sum(statuses.values())} requests; statuses {dict(sorted(statuses.items()))}")
    assert session.get(f"{running.url}/readyz", timeout=SLOWEST_S).status_code == 200
    assert "request failed" not in running.log("serve")
    assert "Traceback" not in running.log("serve")


def _try(
    strategy: st.SearchStrategy[Case], share: int, checks: list[Any], session: requests.Session, statuses: Counter[int]
) -> None:
    @settings(
        max_examples=share,
        database=None,
        derandomize="FUZZ_CASES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def check(case: Case) -> None:
        response = case.call(session=session, timeout=SLOWEST_S)
        statuses[response.status_code] += 1
        case.validate_response(response, checks=checks)

    check()


def _plan(running: Stack) -> Iterator[tuple[Any, GenerationMode, int]]:
    """Yield each operation, with data that fits and data that does not; those without parameters once."""
    headers = {"Authorization": f"Bearer {running.key()}"}
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json", headers=headers)
    schema.config.checks.negative_data_rejection.expected_statuses = ["400", "401", "404", "413"]
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) >= 16
    varied = [op for op in found if not op.path.count("z") and op.path != "/metrics"]
    whole = 2 * sum(SHARES.get(op.path, 1) for op in varied)
    for op in found:
        share = max(1, -(-CASES * SHARES.get(op.path, 1) // whole)) if op in varied else 1
        for mode in GenerationMode if op in varied else [GenerationMode.POSITIVE]:
            yield op, mode, share


def _real(running: Stack, session: requests.Session) -> dict[str, Any]:
    """Return ids that exist."""
    body = {"model": "shop", "messages": [{"role": "user", "content": "Hello"}]}
    said = session.post(f"{running.url}/v1/chat/completions", json=body, timeout=SLOWEST_S).json()
    release = session.post(f"{running.url}/v1/releases", json={"adapter": "other@v0"}, timeout=SLOWEST_S).json()
    return {"inference_id": said["id"], "release_id": release["id"]}


def _sensible(strategy: st.SearchStrategy[Case], real: dict[str, Any]) -> st.SearchStrategy[Case]:
    """Repair in half of the cases what a schema cannot express, so that they pass the first checks."""

    @st.composite
    def repaired(draw: st.DrawFn) -> Case:
        case: Case = draw(strategy)
        if not draw(st.booleans()):
            return case
        if case.path_parameters and "release_id" in case.path_parameters:
            case.path_parameters["release_id"] = real["release_id"]
        body = case.body
        if isinstance(body, dict) and "messages" in body:
            body["model"] = "shop"
            body["messages"][-1]["role"] = "user"
            body["logprobs"] = True
            body.pop("stop", None)
        elif isinstance(body, dict) and "metric" in body:
            body |= {"inference_id": real["inference_id"], "conversation_id": None}
            if body["metric"] == "correction":
                body |= {"value": str(body["value"]) or "?", "comment": None}
            else:
                body["value"] = 1
        elif isinstance(body, dict) and "adapter" in body:
            body["adapter"] = draw(st.sampled_from(["shop@v0", "shop@v1", "other@v0"]))
        return case

    return repaired()

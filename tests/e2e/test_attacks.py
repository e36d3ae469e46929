"""Every line of the shared file of attacks is sent as a message: no server error, no hang, none of it in the logs.

The null engine answers all of them. The embedded engine answers as many as ATTACKS says, evenly spaced, or 'all'.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.stack import Stack, models_folder, stack

FILE = Path(__file__).parents[3] / "shared" / "data" / "attacks.jsonl.gz"
AT_ONCE = 16
LONGEST_S = 60.0  # one request
SAMPLE = os.environ.get("ATTACKS", "96")
DISTINCTIVE = 12  # characters: so long a text is not in a log by chance

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FILE.exists(), reason="the shared data folder is not here")]


def attacks() -> list[str]:
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from _started(tmp_path_factory.mktemp("null"))


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Stack]:
    yield from _started(tmp_path, engine="embedded", models=models_folder())


def _started(folder: Path, **values: Any) -> Iterator[Stack]:
    for made in stack(folder / "home", **values):
        made.start("serve")
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_all_attacks_without_a_model(null: Stack, stream: bool) -> None:
    _attack(null, attacks(), within_s=300, stream=stream)


def test_attacks_with_the_model(embedded: Stack) -> None:
    texts = attacks()
    if SAMPLE != "all":
        texts = texts[:: max(1, len(texts) // int(SAMPLE))]
    _attack(embedded, texts, within_s=60 + 2 * len(texts), max_tokens=2)


def _attack(running: Stack, texts: list[str], within_s: float, **more: Any) -> None:
    def ask(text: str) -> int:
        body = {"model": "shop", "messages": [{"role": "user", "content": text}], **more}
        answer = http.post("/v1/chat/completions", json=body, timeout=LONGEST_S)
        if answer.status_code == 200:
            assert '"error"' not in answer.text
            assert answer.text.endswith("data: [DONE]\n\n") if more.get("stream") else answer.json()["choices"]
        return int(answer.status_code)

    began = time.monotonic()
    with running.client() as http, ThreadPoolExecutor(AT_ONCE) as customers:
        statuses = Counter(customers.map(ask, texts, timeout=within_s))
    print(f"\n{len(texts)} attacks in {time.monotonic() - began:.0f} s; statuses {dict(statuses)}")
    assert set(statuses) <= {200, 400}
    assert statuses[200] > 0.9 * len(texts)
    assert httpx.get(f"{running.url}/readyz", timeout=5, trust_env=False).status_code == 200
    log = running.log("serve")
    assert "Traceback" not in log
    assert [i for i, text in enumerate(texts) if len(text) >= DISTINCTIVE and text in log] == []

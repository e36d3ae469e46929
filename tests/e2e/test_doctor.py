"""The doctor names what is wrong and the command that fixes it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_tokenizer
from shoptalk.processes.sockets import free_port
from shoptalk.store import Store, schema
from shoptalk.store.ingest import conversations
from tests.chatbot.fake_vllm import FakeVllm
from tests.e2e.stack import ROOT

pytestmark = pytest.mark.slow
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def doctor(home: Path, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    values = {
        "SHOPTALK_HOME": str(home),
        "SHOPTALK_LABEL_STUDIO_VENV": str(home / "none"),
        "SHOPTALK_LABEL_STUDIO_URL": "http://127.0.0.1:9",  # the discard port: nothing answers there
        "SHOPTALK_PORT": str(free_port()),
        **environment,
    }
    command = [sys.executable, "-m", "shoptalk.cli", "doctor", "--json"]
    done = subprocess.run(
        command, env={**os.environ, **values}, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )
    return done.returncode, {row["check"]: row for row in json.loads(done.stdout)}


def test_a_bare_machine(tmp_path: Path) -> None:
    """No Label Studio, no base model, and a port that something else uses."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, found = doctor(tmp_path / "home", SHOPTALK_PORT=str(port), SHOPTALK_MODELS=str(tmp_path))
    assert code == 1
    problems = {name: row["fix"] for name, row in found.items() if row["state"] == "PROBLEM"}
    assert problems["base model"] == "shoptalk setup"
    assert problems["Label Studio"] == "make label-studio"
    assert f"SHOPTALK_PORT={port + 10}" in problems["port"]
    assert str(port) in found["port"]["found"]
    assert "shoptalk label server" in problems["labelling"]
    assert found["Python"]["state"] == found["packages"]["state"] == found["database"]["state"] == "ok"
    assert "not set up yet" in found["database"]["found"]
    assert not (tmp_path / "home").exists()


def test_a_database_is_looked_at_and_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    sqlite3.connect(home / "shoptalk.db").close()
    _, found = doctor(home)
    assert found["database"]["state"] == "ok"
    assert "not set up yet" in found["database"]["found"]
    (home / "shoptalk.db").write_bytes(b"no database " * 100)
    code, found = doctor(home)
    assert (code, found["database"]["state"]) == (1, "PROBLEM")
    assert [p.name for p in home.iterdir()] == ["shoptalk.db"]


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shoptalk.cli", "doctor"],
        env={**os.environ, "SHOPTALK_PORT": "many"}, capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "SHOPTALK_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_nobody_may_write(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    code, found = doctor(tmp_path / "home")
    assert code == 1
    assert found["data folder"]["state"] == "PROBLEM"
    assert "SHOPTALK_HOME" in found["data folder"]["fix"]


def test_vllm_is_examined_where_it_is_the_engine(tmp_path: Path, tiny_base: BaseModel) -> None:
    settings = {
        "SHOPTALK_ENGINE": "vllm", "SHOPTALK_MODELS": str(tiny_base.folder.parent), "SHOPTALK_BASE_MODEL": "tiny",
    }  # fmt: skip
    _, found = doctor(tmp_path, SHOPTALK_VLLM_URL="http://127.0.0.1:9", **settings)
    assert found["vLLM"]["state"] == "PROBLEM"
    assert "SHOPTALK_VLLM_URL" in found["vLLM"]["fix"]
    with FakeVllm(tiny_base, ChatTokenizer(load_tokenizer(tiny_base))) as fake:
        _, found = doctor(tmp_path, SHOPTALK_VLLM_URL=fake.url, **settings)
        assert (found["vLLM"]["state"], found["vLLM"]["found"]) == ("ok", f"0.32.0 at {fake.url} serves tiny")
        fake.version = "0.9.1"
        _, found = doctor(tmp_path, SHOPTALK_VLLM_URL=fake.url, **settings)
        assert found["vLLM"]["fix"] == "install 0.32 or newer"
    assert "vLLM" not in doctor(tmp_path)[1]


def test_a_proxy_that_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "unnamed-proxies.json").write_text('{"peers": ["172.17.0.1", "10.0.0.9"]}')
    _, found = doctor(tmp_path, SHOPTALK_TRUSTED_PROXIES='["10.0.0.0/8"]')
    assert found["proxy"]["state"] == "PROBLEM"
    assert "172.17.0.1 sends forwarded headers" in found["proxy"]["found"]
    assert "10.0.0.9" not in found["proxy"]["found"]
    assert """SHOPTALK_TRUSTED_PROXIES='["10.0.0.0/8", "172.17.0.1"]'""" in found["proxy"]["fix"]
    _, found = doctor(tmp_path, SHOPTALK_TRUSTED_PROXIES='["10.0.0.0/8", "172.17.0.1"]')
    assert found["proxy"]["state"] == "ok"


def test_settings_that_cannot_work_together_are_named_with_what_would(tmp_path: Path) -> None:
    _, found = doctor(tmp_path)
    assert found["labels"]["state"] == "ok"
    code, found = doctor(tmp_path, SHOPTALK_LABELS_WANTED="100")
    assert (code, found["labels"]["state"]) == (1, "PROBLEM")
    fix = dict(each.split("=") for each in found["labels"]["fix"].split())
    assert doctor(tmp_path, **fix)[1]["labels"]["state"] == "ok"
    code, found = doctor(tmp_path, SHOPTALK_ROUND_BUDGET="50")
    assert (code, found["labels"]["found"]) == (1, "50 a week, and a round waits for 180")


def test_a_window_that_this_shop_never_fills_is_named(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'shoptalk.db'}")
    store.migrate()
    _, found = doctor(tmp_path)
    assert found["drift"]["found"] == "no customer wrote in the last week"
    with store.write() as conn:
        for n in range(9):
            conversations.add(conn, f"con_{n}", conversations.customers_of("shop"))
    _, found = doctor(tmp_path)
    assert found["drift"]["found"] == "9 conversations so far; a look takes 200"  # too young to say more
    with store.write() as conn:
        conversations.add(conn, "con_old", conversations.customers_of("shop"))
        old = schema.admitted_conversations.c.conversation_id == "con_old"
        conn.execute(sa.update(schema.admitted_conversations).where(old).values(admitted_at=LONG_AGO))
    _, found = doctor(tmp_path)
    assert found["drift"]["found"] == "a look takes 200 conversations: 156 days of this shop's traffic"
    assert found["drift"]["fix"] == "SHOPTALK_DRIFT_WINDOW=38"
    _, found = doctor(tmp_path, SHOPTALK_DRIFT_WINDOW="38")
    assert found["drift"]["fix"] == ""
    store.close()

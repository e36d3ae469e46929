"""The key: made once, readable by its owner, and right or refused."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shoptalk.app.key_rotation import EncryptedTable, reencrypt, rotate
from shoptalk.crypto import Secrets, add_key, key_file, load_secrets, parse_ring
from shoptalk.errors import ConfigurationError
from shoptalk.settings import Settings, load_settings
from shoptalk.store import Store
from shoptalk.store.chat import answers
from shoptalk.store.ingest import inbox, quarantine
from shoptalk.store.schema import metadata

RACE = """
import sys
from pathlib import Path
from shoptalk.crypto import load_secrets
from shoptalk.settings import load_settings
sys.stdin.readline()
print(load_secrets(load_settings(home=Path(sys.argv[1]))).digest("race", "x"))
"""


def test_the_key_is_made_once_and_only_its_owner_reads_it(bare: Path) -> None:
    settings = load_settings(home=bare / "shop")
    first, second = load_secrets(settings), load_secrets(settings)
    file = bare / "shop" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert second.decrypt(first.encrypt({"text": "día"})) == {"text": "día"}
    assert [p.name for p in file.parent.iterdir()] == ["secret.key"]


@pytest.mark.slow
def test_processes_that_race_for_the_key_agree(bare: Path) -> None:
    command = [sys.executable, "-c", RACE, str(bare / "shop")]
    children = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = {child.communicate()[0] for child in children}
    assert len(answers) == 1
    assert len(answers.pop().strip()) == 64


def test_a_key_from_settings_leaves_no_file(bare: Path) -> None:
    settings = load_settings(home=bare / "shop", secret_key="ab" * 32)
    assert load_secrets(settings).digest("a", "b") == Secrets(b"\xab" * 32).digest("a", "b")
    assert not (bare / "shop").exists()


@pytest.mark.parametrize("key", ["", "ab", "zz" * 32, "ab" * 33])
def test_a_wrong_key_is_refused(bare: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match="64 hex digits"):
        load_secrets(Settings(secret_key=key))  # type: ignore[arg-type]


def test_another_key_opens_nothing() -> None:
    encrypted = Secrets(b"a" * 32).encrypt("hello")
    with pytest.raises(ConfigurationError, match="another key"):
        Secrets(b"b" * 32).decrypt(encrypted)


def test_sealed_bytes_that_were_altered_do_not_open() -> None:
    secrets = Secrets(b"a" * 32)
    encrypted = bytearray(secrets.encrypt("hello"))
    encrypted[20] ^= 1
    with pytest.raises(ConfigurationError):
        secrets.decrypt(bytes(encrypted))


def test_digests_depend_on_the_key_and_the_purpose() -> None:
    one, other = Secrets(b"a" * 32), Secrets(b"b" * 32)
    found = {one.digest("x", "v"), one.digest("y", "v"), one.digest("x", "w"), other.digest("x", "v")}
    assert len(found) == 4
    assert one.customer("v") != one.public_conversation("v").replace("con_", "cus_")
    assert len({one.public_conversation("v"), one.conversation("v", "a"), one.conversation("v", "b")}) == 3
    assert len(one.digest("x", "\ud800")) == 64


def test_a_new_key_is_taken_up_without_a_restart(bare: Path) -> None:
    settings = load_settings(home=bare)
    running = load_secrets(settings)
    before, customer = running.encrypt("before"), running.customer("jo")
    add_key(key_file(bare))
    after = running.encrypt("after")
    with pytest.raises(ConfigurationError):
        Secrets(*parse_ring(key_file(bare).read_text())[1:]).decrypt(after)
    fresh = load_secrets(settings)
    assert (
        [fresh.decrypt(s) for s in (before, after)]
        == [running.decrypt(s) for s in (before, after)]
        == ["before", "after"]
    )
    assert fresh.customer("jo") == running.customer("jo") == customer
    assert stat.S_IMODE(key_file(bare).stat().st_mode) == 0o600
    renewed = running.reencrypt(before)
    assert renewed is not None
    assert running.reencrypt(renewed) is None
    assert running.decrypt(renewed) == "before"


def test_a_ring_keeps_its_newest_keys_and_the_one_that_hashes(bare: Path) -> None:
    load_secrets(load_settings(home=bare))
    rings = [parse_ring(key_file(bare).read_text())]
    for _ in range(3):
        add_key(key_file(bare))
        rings.append(parse_ring(key_file(bare).read_text()))
    assert [len(ring) for ring in rings] == [1, 2, 3, 3]
    assert {ring[-1] for ring in rings} == {rings[0][0]}
    assert rings[3][1] == rings[2][0]


def test_a_key_file_that_lost_its_last_key_is_refused(bare: Path) -> None:
    running = load_secrets(load_settings(home=bare))
    key_file(bare).write_text("ab" * 32 + "\n")
    with pytest.raises(ConfigurationError, match="last key"):
        running.encrypt("x")
    key_file(bare).unlink()
    assert running.decrypt(running.encrypt("x")) == "x"


def test_rotation_seals_everything_anew(store: Store, bare: Path) -> None:
    secrets = load_secrets(load_settings(home=bare))
    tables: dict[str, EncryptedTable] = {"arrivals": inbox, "quarantine": quarantine, "answers": answers}
    old = parse_ring(key_file(bare).read_text())
    with store.write() as conn:
        for n in range(450):
            inbox.add(conn, f"a{n}", "exchange", "con_1", secrets.encrypt(n))
        quarantine.add(conn, "q1", "exchange", "con_1", "invalid", secrets.encrypt("q"))
        quarantine.add(conn, "q2", "exchange", "con_1", "invalid", None)
        answers.add(conn, "k1", "0" * 64, 200, secrets.encrypt("k"), "con_1")
    assert rotate(store, secrets, tables, key_file(bare)) == {"arrivals": 450, "quarantine": 1, "answers": 1}
    assert reencrypt(store, secrets, tables) == {"arrivals": 0, "quarantine": 0, "answers": 0}
    with store.read() as conn:
        bodies = [body for table in tables.values() for _, body in table.encrypted(conn, 1000)]
        assert [row[1] for row in inbox.encrypted(conn, 2, 449)] == bodies[449:450]
    assert [secrets.decrypt(body) for body in bodies] == [*range(450), "q", "k"]
    for body in bodies:
        with pytest.raises(ConfigurationError):
            Secrets(*old).decrypt(body)
    with store.write() as conn:
        inbox.add(conn, "foreign", "exchange", "con_1", Secrets(b"f" * 32).encrypt("x"))
    with pytest.raises(ConfigurationError, match="1 rows"):
        rotate(store, secrets, tables, None)


def test_every_encrypted_column_is_sealed_anew() -> None:
    """Of the columns of bytes, those that are not encrypted are named here."""
    plain = {"turn_features.embedding", "near_clusters.signature", "topic_models.centroids"}
    columns = {f"{t.name}.{c.name}" for t in metadata.tables.values() for c in t.columns if str(c.type) == "BLOB"}
    assert columns - plain == {"arrivals.body", "quarantine.body", "answers.body"}

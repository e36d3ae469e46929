"""The key: made once, readable by its owner, and right or refused."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shoptalk.errors import ConfigurationError
from shoptalk.secrets import Secrets, load_secrets
from shoptalk.settings import Settings, load_settings

RACE = """
import sys
from pathlib import Path
from shoptalk.secrets import load_secrets
from shoptalk.settings import load_settings
sys.stdin.readline()
print(load_secrets(load_settings(home=Path(sys.argv[1]))).digest("race", "x"))
"""


def test_the_key_is_made_once_and_only_its_owner_reads_it(bare: Path) -> None:
    settings = load_settings(home=bare / "shop")
    first, second = load_secrets(settings), load_secrets(settings)
    file = bare / "shop" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert second.open(first.seal({"text": "día"})) == {"text": "día"}
    assert [p.name for p in file.parent.iterdir()] == ["secret.key"]


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
    sealed = Secrets(b"a" * 32).seal("hello")
    with pytest.raises(ConfigurationError, match="another key"):
        Secrets(b"b" * 32).open(sealed)


def test_sealed_bytes_that_were_altered_do_not_open() -> None:
    secrets = Secrets(b"a" * 32)
    sealed = bytearray(secrets.seal("hello"))
    sealed[20] ^= 1
    with pytest.raises(ConfigurationError):
        secrets.open(bytes(sealed))


def test_digests_depend_on_the_key_and_the_purpose() -> None:
    one, other = Secrets(b"a" * 32), Secrets(b"b" * 32)
    found = {one.digest("x", "v"), one.digest("y", "v"), one.digest("x", "w"), other.digest("x", "v")}
    assert len(found) == 4
    assert one.customer("v") != one.conversation("v").replace("con_", "cus_")
    assert len(one.digest("x", "\ud800")) == 64

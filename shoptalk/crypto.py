"""Encryption at rest and keyed hashes, from a ring of 256-bit keys. Does not know what it protects.

The ring comes from settings or is made once in `<home>/secret.key`, readable by its owner only. Its first key seals,
all of them open, and the last one, the first there ever was, makes the hashes, which must stay what they are. Subkeys
are derived with HKDF-SHA256 (RFC 5869), so a leaked hash key says nothing about the encryption key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets as std_secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shoptalk.errors import ConfigurationError
from shoptalk.settings import Settings

KEPT: Final = 2  # keys that sealed lately and stay in a ring, before the one that hashes


@dataclass(frozen=True, slots=True)
class _Seal:
    """What a ring's keys seal and open with; `stamp` tells when its file changed."""

    newest: Fernet
    all: MultiFernet
    stamp: tuple[int, int] | None


class Secrets:
    """Seals bytes (Fernet: AES-128-CBC with HMAC-SHA256) and hashes identifiers. Thread-safe.

    With a `file`, keys that are added to it are used from then on, without a restart.
    """

    def __init__(self, *keys: bytes, file: Path | None = None) -> None:
        self._file = file
        self._seal = _sealing(keys, _stamp(file))
        self._hash_key = _subkey(keys[-1], b"hash")

    def encrypt(self, value: Any) -> bytes:
        """JSON-encode and encrypt."""
        return self._now().newest.encrypt(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def decrypt(self, encrypted: bytes) -> Any:
        """Undo `seal`; raises ConfigurationError where another key sealed it."""
        try:
            return json.loads(self._now().all.decrypt(encrypted))
        except InvalidToken:
            raise ConfigurationError("secret_key: stored data was encrypted with another key") from None

    def reencrypt(self, encrypted: bytes) -> bytes | None:
        """Sealed with the newest key; None where it is already, ConfigurationError where no key opens it."""
        ring = self._now()
        try:
            ring.newest.decrypt(encrypted)
        except InvalidToken:
            return self.encrypt(self.decrypt(encrypted))
        return None

    def _now(self) -> _Seal:
        if self._file is not None and _stamp(self._file) not in (None, self._seal.stamp):
            stamp, keys = _stamp(self._file), parse_ring(self._file.read_text())
            if _subkey(keys[-1], b"hash") != self._hash_key:
                raise ConfigurationError(f"{self._file.name}: its last key must stay, or no stored id is found again")
            self._seal = _sealing(keys, stamp)
        return self._seal

    def digest(self, purpose: str, value: str) -> str:
        """64 hex digits: HMAC-SHA256 of `value`, different for each purpose."""
        data = purpose.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._hash_key, data, hashlib.sha256).hexdigest()

    def customer(self, public_id: str) -> str:
        """The stored form of a customer's id."""
        return "cus_" + self.digest("customer", public_id)[:32]

    def conversation(self, public_id: str, owner: str) -> str:
        """The stored form of a conversation's id: clients may put anything into theirs, which are their owner's alone.

        See `shoptalk.store.conversation_ids`, which also finds what was stored before there were owners.
        """
        return "con_" + self.digest("conversation of an owner", f"{owner}\0{public_id}")[:32]

    def public_conversation(self, public_id: str) -> str:
        """The same for all owners; before there were owners it was the stored id."""
        return "con_" + self.digest("conversation", public_id)[:32]

    def tombstone(self, stored: str) -> str:
        """What remains of an erased customer's or conversation's stored id: enough to know it again, not to find it."""
        return "tmb_" + self.digest("tombstone", stored)[:32]


def load_secrets(settings: Settings) -> Secrets:
    """The key from settings, else from `<home>/secret.key`, made there at first use."""
    if settings.secret_key is not None:
        return Secrets(*parse_ring(settings.secret_key.get_secret_value()))
    path = key_file(settings.home)
    return Secrets(*parse_ring(_made_once(path)), file=path)


def key_file(home: Path) -> Path:
    return home / "secret.key"


def parse_ring(text: str) -> list[bytes]:
    """Keys of 64 hex digits, with commas or line ends between, newest first; raises ConfigurationError."""
    words = text.replace(",", " ").split()
    if not words or any(len(word) != 64 for word in words):
        raise ConfigurationError("secret_key: want 64 hex digits, or several such keys, newest first")
    try:
        return [bytes.fromhex(word) for word in words]
    except ValueError:
        raise ConfigurationError("secret_key: want 64 hex digits, or several such keys, newest first") from None


def add_key(path: Path) -> None:
    """Put a new key first in the file's ring; of the others, the latest and the one that hashes stay."""
    ring = parse_ring(path.read_text())
    kept = [std_secrets.token_bytes(32), *ring[: min(KEPT, len(ring)) - 1], ring[-1]]
    aside = _written_aside(path, kept)
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _made_once(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        aside = _written_aside(path, [std_secrets.token_bytes(32)])
        try:
            os.link(aside, path)  # whoever links first wins; nobody overwrites a key
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text()


def _written_aside(path: Path, ring: Sequence[bytes]) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}.{std_secrets.token_hex(4)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.writelines(key.hex() + "\n" for key in ring)
        out.flush()
        os.fsync(out.fileno())
    return aside


def _sealing(keys: Sequence[bytes], stamp: tuple[int, int] | None) -> _Seal:
    if not keys or any(len(key) != 32 for key in keys):
        raise ConfigurationError("secret_key: want 64 hex digits (32 bytes)")
    ring = [Fernet(base64.urlsafe_b64encode(_subkey(key, b"seal"))) for key in keys]
    return _Seal(ring[0], MultiFernet(ring), stamp)


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """Another one after each change; None where there is no file to look at."""
    if file is None:
        return None
    try:
        found = file.stat()
    except FileNotFoundError:
        return None  # keys in memory outlive it
    return found.st_ino, found.st_mtime_ns


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"shoptalk " + purpose).derive(key)

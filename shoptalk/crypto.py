"""Encryption at rest and keyed hashes, from a ring of 256-bit keys. Does not know what it protects.

The ring comes from settings or is made once in `<home>/secret.key`, readable by its owner only. Its first key encrypts,
and all of them decrypt. Its last key, the first there ever was, makes the hashes, which must never change. Subkeys are
derived with HKDF-SHA256 (RFC 5869), so a leaked hash key says nothing about the encryption key.
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

KEPT: Final = 2  # the newest keys, which stay in a ring before the one that hashes


@dataclass(frozen=True, slots=True)
class _Ciphers:
    """The ciphers of a ring's keys; `stamp` changes when the ring's file does."""

    newest: Fernet
    all: MultiFernet
    stamp: tuple[int, int] | None


class Secrets:
    """Encrypts JSON values (Fernet: AES-128-CBC with HMAC-SHA256) and hashes identifiers. Thread-safe.

    Where the ring has a `file`, keys that are added to it are used from then on, without a restart.
    """

    def __init__(self, *keys: bytes, file: Path | None = None) -> None:
        self._file = file
        self._ciphers = _ciphers(keys, _stamp(file))
        self._hash_key = _subkey(keys[-1], b"hash")

    def encrypt(self, value: Any) -> bytes:
        """Return a value as JSON, encrypted with the newest key."""
        return self._now().newest.encrypt(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def decrypt(self, encrypted: bytes) -> Any:
        """Return what `encrypt` was given; raise ConfigurationError where it was encrypted with an unknown key."""
        try:
            return json.loads(self._now().all.decrypt(encrypted))
        except InvalidToken:
            raise ConfigurationError("secret_key: stored data was encrypted with another key") from None

    def reencrypt(self, encrypted: bytes) -> bytes | None:
        """Return the same content encrypted with the newest key, None where it is already.

        Raises ConfigurationError where no key decrypts it.
        """
        ring = self._now()
        try:
            ring.newest.decrypt(encrypted)
        except InvalidToken:
            return self.encrypt(self.decrypt(encrypted))
        return None

    def _now(self) -> _Ciphers:
        if self._file is not None and _stamp(self._file) not in (None, self._ciphers.stamp):
            stamp, keys = _stamp(self._file), parse_ring(self._file.read_text())
            if _subkey(keys[-1], b"hash") != self._hash_key:
                raise ConfigurationError(f"{self._file.name}: its last key must stay, or no stored id is found again")
            self._ciphers = _ciphers(keys, stamp)
        return self._ciphers

    def digest(self, purpose: str, value: str) -> str:
        """Return 64 hex digits: the HMAC-SHA256 of `value`, different for each purpose."""
        data = purpose.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._hash_key, data, hashlib.sha256).hexdigest()

    def customer(self, public_id: str) -> str:
        """Return the stored form of a customer's id."""
        return "cus_" + self.digest("customer", public_id)[:32]

    def conversation(self, public_id: str, owner: str) -> str:
        """Return the stored form of a conversation's id, which is different for each owner.

        It is a hash because clients may put anything into their ids. `shoptalk.store.conversation_ids` also finds what
        was stored before there were owners.
        """
        return "con_" + self.digest("conversation of an owner", f"{owner}\0{public_id}")[:32]

    def public_conversation(self, public_id: str) -> str:
        """Return a public id's hash, the same for all owners. Before there were owners it was the stored id."""
        return "con_" + self.digest("conversation", public_id)[:32]

    def tombstone(self, stored: str) -> str:
        """Return the tombstone of an erased id: it recognises the customer or conversation and does not reveal them."""
        return "tmb_" + self.digest("tombstone", stored)[:32]


def load_secrets(settings: Settings) -> Secrets:
    """Return secrets with the keys from settings, else from `<home>/secret.key`, which is made at first use."""
    if settings.secret_key is not None:
        return Secrets(*parse_ring(settings.secret_key.get_secret_value()))
    path = key_file(settings.home)
    return Secrets(*parse_ring(_made_once(path)), file=path)


def key_file(home: Path) -> Path:
    return home / "secret.key"


def parse_ring(text: str) -> list[bytes]:
    """Parse keys of 64 hex digits, newest first, between commas or line ends; raise ConfigurationError."""
    words = text.replace(",", " ").split()
    if not words or any(len(word) != 64 for word in words):
        raise _no_key()
    try:
        return [bytes.fromhex(word) for word in words]
    except ValueError:
        raise _no_key() from None


def _no_key() -> ConfigurationError:
    return ConfigurationError("secret_key: is not a key", fix="set 64 hex digits, or several such keys, newest first")


def add_key(path: Path) -> None:
    """Put a new key first in the file's ring. Of the others, the newest and the one that hashes stay."""
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


def _ciphers(keys: Sequence[bytes], stamp: tuple[int, int] | None) -> _Ciphers:
    if not keys or any(len(key) != 32 for key in keys):
        raise _no_key()
    # the purpose is part of the key: another word would decrypt nothing that is stored
    ring = [Fernet(base64.urlsafe_b64encode(_subkey(key, b"seal"))) for key in keys]
    return _Ciphers(ring[0], MultiFernet(ring), stamp)


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """Return a value that changes with the file; None where there is no file."""
    if file is None:
        return None
    try:
        found = file.stat()
    except FileNotFoundError:
        return None  # keys in memory outlive it
    return found.st_ino, found.st_mtime_ns


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"shoptalk " + purpose).derive(key)

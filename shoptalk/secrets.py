"""Encryption at rest and keyed hashes, both from one 256-bit key. Does not know what it protects.

The key comes from settings or is made once in `<home>/secret.key`, readable by its owner only. Subkeys are
derived with HKDF-SHA256 (RFC 5869), so a leaked hash key says nothing about the encryption key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets as std_secrets
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shoptalk.errors import ConfigurationError
from shoptalk.settings import Settings


class Secrets:
    """Seals bytes (Fernet: AES-128-CBC with HMAC-SHA256) and hashes identifiers with a key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ConfigurationError("secret_key: want 64 hex digits (32 bytes)")
        import base64

        self._fernet = Fernet(base64.urlsafe_b64encode(_subkey(key, b"seal")))
        self._hash_key = _subkey(key, b"hash")

    def seal(self, value: Any) -> bytes:
        """JSON-encode and encrypt."""
        return self._fernet.encrypt(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())

    def open(self, sealed: bytes) -> Any:
        """Undo `seal`; raises ConfigurationError where another key sealed it."""
        try:
            return json.loads(self._fernet.decrypt(sealed))
        except InvalidToken:
            raise ConfigurationError("secret_key: stored data was encrypted with another key") from None

    def digest(self, purpose: str, value: str) -> str:
        """64 hex digits: HMAC-SHA256 of `value`, different for each purpose."""
        data = purpose.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return hmac.new(self._hash_key, data, hashlib.sha256).hexdigest()

    def customer(self, public_id: str) -> str:
        """The stored form of a customer's id."""
        return "cus_" + self.digest("customer", public_id)[:32]

    def conversation(self, public_id: str) -> str:
        """The stored form of a conversation's id: clients may put anything into theirs."""
        return "con_" + self.digest("conversation", public_id)[:32]


def load_secrets(settings: Settings) -> Secrets:
    """The key from settings, else from `<home>/secret.key`, made there at first use."""
    if settings.secret_key is not None:
        text = settings.secret_key.get_secret_value()
    else:
        text = _key_file(settings.home / "secret.key")
    try:
        return Secrets(bytes.fromhex(text.strip()))
    except ValueError:
        raise ConfigurationError("secret_key: want 64 hex digits") from None


def _key_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}.{std_secrets.token_hex(4)}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(std_secrets.token_hex(32) + "\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(aside, path)  # whoever links first wins; nobody overwrites a key
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text()


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"shoptalk " + purpose).derive(key)

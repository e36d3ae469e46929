"""API keys: made once, shown once, stored as SHA-256. A key has 256 random bits, so a plain hash suffices."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

from shoptalk import owners
from shoptalk.domain import NO_LIMITS, ApiKey, KeyLimits, Scope, new_id
from shoptalk.errors import InvalidInput, NotFound, Unauthenticated
from shoptalk.store import Store
from shoptalk.store.chat import keys

PREFIX = "sk-shoptalk-"


def create_key(
    store: Store, name: str, scopes: Iterable[Scope], owner: str | None = None, limits: KeyLimits = NO_LIMITS
) -> tuple[ApiKey, str]:
    """Make a key; return it with its secret, which is not stored. Without an `owner` the key is one of its own.

    Raises InvalidInput where no owner can have this name.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    id = new_id("key")
    whose = id if owner is None else owners.checked(owner)
    key = ApiKey(id=id, name=name, scopes=frozenset(scopes), owner=whose, created_at=store.now(), limits=limits)
    with store.write() as conn:
        if owner is not None and owner.startswith(owners.KEY) and not keys.owner_known(conn, owner):
            raise InvalidInput(
                f"owner: there is no key {owner[:80]}",
                field="owner",
                fix="name the id of a key that there is, or another name",
            )
        keys.add(conn, key, key_hash(secret))
    return key, secret


def revoke_key(store: Store, key_id: str) -> None:
    """Take a key out of use, at once. Raises NotFound."""
    with store.write() as conn:
        if not keys.revoke(conn, key_id):
            raise NotFound(f"there is no key {key_id[:80]}")


def check_key(store: Store, secret: str) -> ApiKey:
    """Return the key with this secret. Raises Unauthenticated where there is none or it was revoked."""
    with store.read() as conn:
        key = keys.by_hash(conn, key_hash(secret))
    if key is None:
        raise Unauthenticated("This API key is not known here, or was revoked.")
    return key


def known_hashes(store: Store) -> frozenset[str]:
    """Return the hashes of the secrets of all keys in use."""
    with store.read() as conn:
        return frozenset(keys.hashes(conn))


def key_hash(secret: str) -> str:
    """Return the hash by which a secret is stored."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()

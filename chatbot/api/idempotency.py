"""Idempotency: a request sent again with its key gets the first answer; the same key with another body is refused.

Covers how keys and bodies are hashed, how an earlier answer is found and how an answer is kept. A client may put
anything into a key, so only keyed hashes are stored. The prefixes and the purposes of the hashes never change: keys
that were stored by an earlier version must be found. Knows no HTTP, and not what the answers say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from chatbot.api.caller import Caller
from chatbot.api.schemas import ChatRequest, FeedbackRequest
from shoptalk import owners
from shoptalk.crypto import Secrets
from shoptalk.errors import IdempotencyMismatch
from shoptalk.store import Store
from shoptalk.store.chat import answers

NO_CONVERSATION: Final = "none"


@dataclass(frozen=True, slots=True)
class RepeatableRequest:
    """A request that carries an idempotency key."""

    #: the id under which its answer is stored: a prefix and a keyed hash
    stored_key: str
    #: keyed hash of what must be the same for two requests to be one
    body_hash: str


def chat_request(secrets: Secrets, caller: Caller, key: str, body: ChatRequest) -> RepeatableRequest:
    """Identify a chat request; how its answer is delivered (streamed or whole) does not matter."""
    stored = "ans_" + secrets.digest("idempotency", f"{_namespace(caller)}\0{key}")
    return RepeatableRequest(stored, secrets.digest("body", body.model_dump_json(exclude={"stream", "stream_options"})))


def feedback_request(secrets: Secrets, caller: Caller, key: str, body: FeedbackRequest) -> RepeatableRequest:
    """Identify a feedback request."""
    stored = "ans_fbk_" + secrets.digest("feedback", f"{_namespace(caller)}\0{key}")[:32]
    return RepeatableRequest(stored, secrets.digest("feedback body", body.model_dump_json()))


def feedback_id(request: RepeatableRequest) -> str:
    """Return the id of the feedback that a repeatable request gives: the same each time it is sent."""
    return request.stored_key.removeprefix("ans_")


def import_request(
    secrets: Secrets, caller: Caller, key: str, conversations: Sequence[Mapping[str, Any]]
) -> RepeatableRequest:
    """Identify an import of conversations."""
    stored = "ans_imp_" + secrets.digest("import", f"{caller.owner}\0{key}")[:32]
    return RepeatableRequest(stored, secrets.digest("import body", json.dumps(conversations, sort_keys=True)))


def _namespace(caller: Caller) -> str:
    """Return what a caller's keys are apart from others' by; they stay valid when one API key replaces another."""
    return f"{caller.owner}\0" if caller.customer is None else f"{owners.WEB}\0{caller.customer}"


class KeptAnswers:
    """The answers that requests with an idempotency key were given, encrypted. Thread-safe."""

    def __init__(self, store: Store, secrets: Secrets) -> None:
        self._store, self._secrets = store, secrets

    def earlier(self, request: RepeatableRequest) -> dict[str, Any] | None:
        """Return the answer that was given before; None for none. Raises IdempotencyMismatch."""
        with self._store.read() as conn:
            found = answers.find(conn, request.stored_key)
        if found is None:
            return None
        _check_body(found[0], request)
        answer: dict[str, Any] = self._secrets.decrypt(found[2])
        return answer

    def exists(self, conn: sa.Connection, request: RepeatableRequest) -> bool:
        """Return whether the key was used, with whatever body."""
        return answers.find(conn, request.stored_key) is not None

    def add(
        self, conn: sa.Connection, request: RepeatableRequest, status: int, answer: Mapping[str, Any], conversation: str
    ) -> bool:
        """Keep an answer unless the key was used; return whether it was kept. Does not compare the bodies."""
        body = self._secrets.encrypt(answer)
        return answers.add(conn, request.stored_key, request.body_hash, status, body, conversation)

    def add_once(
        self, conn: sa.Connection, request: RepeatableRequest, status: int, answer: Mapping[str, Any], conversation: str
    ) -> bool:
        """Keep an answer unless there is one; return whether it was kept. Raises IdempotencyMismatch."""
        if self.add(conn, request, status, answer, conversation):
            return True
        if found := answers.find(conn, request.stored_key):
            _check_body(found[0], request)
        return False

    def keep(self, request: RepeatableRequest, status: int, answer: Mapping[str, Any]) -> None:
        """Keep an answer that belongs to no conversation, in a transaction of its own. Raises IdempotencyMismatch."""
        with self._store.write() as conn:
            self.add_once(conn, request, status, answer, NO_CONVERSATION)


def _check_body(body_hash: str, request: RepeatableRequest) -> None:
    if body_hash != request.body_hash:
        raise IdempotencyMismatch

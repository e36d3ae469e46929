"""The record of what the API acknowledges: an exchange or feedback is committed first, in one transaction.

Knows neither HTTP nor the model. Raw text is only digested here, with a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from chatbot.api.exchange import Exchange, Reply
from chatbot.api.idempotency import KeptAnswers, RepeatableRequest
from chatbot.api.tree import Match, Sent, match
from shoptalk.crypto import Secrets
from shoptalk.domain import Inference, Message
from shoptalk.errors import AlreadyAnswered, NotFound
from shoptalk.events import ExchangeRecorded, FeedbackReceived, TurnRecorded
from shoptalk.ports import Inbox
from shoptalk.store import Store
from shoptalk.store.chat import chats, inferences
from shoptalk.store.conversation_ids import erased, stored_id
from shoptalk.store.database import exclusively

LONGEST_PAUSE: Final = timedelta(hours=24)  # in a conversation that goes on without its name


class Recorder:
    """Writes exchanges and feedback. Thread-safe."""

    def __init__(self, store: Store, secrets: Secrets, inbox: Inbox, scrubber_version: str) -> None:
        self._store, self._secrets, self._inbox = store, secrets, inbox
        self._scrubber = scrubber_version
        #: the answers that requests with an idempotency key were given
        self.answers = KeptAnswers(store, secrets)

    def find(self, public: str, owner: str, customer: str | None) -> str:
        """Return the stored id of an owner's conversation, which may be a new one.

        Raises NotFound where the conversation belongs to another customer or was erased.
        """
        with self._store.read() as conn:
            conversation = stored_id(conn, self._secrets, public, owner)
            self._owned(conn, chats.StoredConversation(conversation, owner, customer), public)
        return conversation

    def continued(self, owner: str, customer: str | None, history: Sequence[Message]) -> str | None:
        """Return the public id of the conversation that a client goes on with whose request names none.

        It is the one of this owner and customer whose whole history, all of it at most a day old at its end, is this
        one; of several the one written last. One that only begins like this is another: greedy replies to the same
        words are the same, and would join strangers.
        """
        if not history:
            return None
        path = self._root(owner, customer)
        for message in history:
            path = self._path(path, message.role, self.digest(message))
        with self._store.read() as conn:
            return chats.ending_with(conn, path, len(history), self._store.now() - LONGEST_PAUSE)

    def _root(self, owner: str, customer: str | None) -> str:
        return self._secrets.digest("history", f"{owner}\0{customer or ''}")

    def _path(self, before: str, role: str, digest: str) -> str:
        return self._secrets.digest("history", f"{before}\0{role}\0{digest}")

    def record(self, exchange: Exchange, reply: Reply, answer: Mapping[str, Any] | None) -> None:
        """Commit what is new of the history, the reply, the inference and, for a repeatable request, its answer.

        Raises AlreadyAnswered, and keeps nothing, where the same request was answered while this one ran.
        """
        sent = [Sent(m.role, self.digest(m)) for m in exchange.raw]
        with self._store.write() as conn:
            exclusively(conn, exchange.conversation)  # what is new depends on what is there
            if exchange.repeatable and self.answers.exists(conn, exchange.repeatable):
                raise AlreadyAnswered
            public = self._secrets.public_conversation(exchange.public_conversation)
            made = None if exchange.named_by_client else exchange.public_conversation
            wanted = chats.StoredConversation(exchange.conversation, exchange.owner, exchange.customer, public, made)
            known = self._owned(conn, wanted, exchange.public_conversation)
            if not known and not chats.open_conversation(conn, wanted, "chat"):  # an import was first
                self._owned(conn, wanted, exchange.public_conversation)
            found = match(chats.nodes(conn, exchange.conversation), sent)
            turns, path = self._new_turns(conn, exchange, found, sent)
            turns.append(self._reply_turn(conn, exchange, reply, turns[-1].id if turns else found.parent, path))
            inferences.add(conn, self._inference(exchange, reply))
            payload = ExchangeRecorded(
                source="chat",
                scrubber=self._scrubber,
                turns=turns,
                revisions={found.nodes[i].id: text for i, text in reply.revised.items() if i < found.end},
            )
            if exchange.test:  # a field that is not set is not written, so that an older version reads the rest
                payload = payload.model_copy(update={"test": True})
            self._inbox.accept(conn, exchange.id, payload, exchange.conversation, customer=exchange.customer)
            if exchange.repeatable and answer is not None:
                kept = self.answers.add(conn, exchange.repeatable, 200, answer, exchange.conversation)
                if not kept:  # the key came meanwhile in another conversation
                    raise AlreadyAnswered

    def feedback(
        self,
        received: FeedbackReceived,
        conversation: str,
        customer: str | None,
        repeatable: RepeatableRequest | None,
    ) -> bool:
        """Commit feedback; return whether it was new.

        Raises IdempotencyMismatch where the key came with another body before.
        """
        with self._store.write() as conn:
            if repeatable and not self.answers.add_once(conn, repeatable, 201, {"id": received.id}, conversation):
                return False
            return self._inbox.accept(conn, received.id, received, conversation, customer=customer)

    def digest(self, message: Message) -> str:
        """Return the keyed digest by which a message is found among the stored turns."""
        return self._secrets.digest("turn", f"{message.role}\0{message.content}")

    def _owned(self, conn: sa.Connection, wanted: chats.StoredConversation, public: str) -> bool:
        """Return whether there is such a conversation. Raises NotFound where it is another's or was erased."""
        opened = chats.find(conn, wanted.id)
        if opened is not None and (opened.owner, opened.customer) != (wanted.owner, wanted.customer):
            raise NotFound("There is no such conversation for this API key and customer.")
        if opened is None and erased(conn, self._secrets, public, wanted.owner):
            raise NotFound("There is no such conversation any more", fix="begin another one.")
        return opened is not None

    def _new_turns(
        self, conn: sa.Connection, exchange: Exchange, found: Match, sent: list[Sent]
    ) -> tuple[list[TurnRecorded], str | None]:
        """Store what is new of the history; return it, and the path of the history's end if that is known."""
        turns: list[TurnRecorded] = []
        parent = found.parent
        path = found.nodes[-1].path if found.nodes else self._root(exchange.owner, exchange.customer)
        at = self._store.now()
        for i in range(found.end, len(sent)):
            place = f"{exchange.conversation}\0{parent}\0{sent[i].digest}"
            turn_id = "trn_" + self._secrets.digest("turn id", place)[:32]
            path = self._path(path, sent[i].role, sent[i].digest) if path else None
            node = chats.Node(turn_id, parent, sent[i].role, sent[i].digest, None, path, exchange.joined)
            chats.add_node(conn, exchange.conversation, node)
            scrubbed = exchange.scrubbed
            turns.append(
                TurnRecorded(
                    id=turn_id,
                    parent_id=parent,
                    role=sent[i].role,
                    text=scrubbed.final[i] if scrubbed else None,
                    reason=exchange.scrub_problem,
                    inference_id=None,
                    at=at,
                    pii=dict(scrubbed.counts[i]) if scrubbed else {},
                )
            )
            parent = turn_id
        return turns, path

    def _reply_turn(
        self, conn: sa.Connection, exchange: Exchange, reply: Reply, parent: str | None, path: str | None
    ) -> TurnRecorded:
        turn_id = exchange.id.replace("inf_", "trn_", 1)
        digest = self.digest(Message("assistant", reply.shown))
        path = self._path(path, "assistant", digest) if path else None
        node = chats.Node(turn_id, parent, "assistant", digest, exchange.id, path, exchange.joined)
        chats.add_node(conn, exchange.conversation, node)
        return TurnRecorded(
            id=turn_id,
            parent_id=parent,
            role="assistant",
            text=reply.text,
            reason=reply.problem,
            inference_id=exchange.id,
            at=self._store.now(),
            pii=dict(reply.pii),
        )

    def _inference(self, exchange: Exchange, reply: Reply) -> Inference:
        done, route = reply.finished, exchange.route
        return Inference(
            id=exchange.id,
            conversation_id=exchange.conversation,
            alias=route.alias,
            adapter=str(route.adapter),
            variant=route.variant,
            propensity=route.propensity,
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
            ttft_ms=done.ttft_ms,
            latency_ms=done.latency_ms,
            finish_reason=done.reason,
            mean_logprob=done.mean_logprob,
            created_at=self._store.now(),
        )

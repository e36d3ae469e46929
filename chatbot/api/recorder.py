"""The record of what the API acknowledges: an exchange or feedback is committed first, in one transaction.

Knows neither HTTP nor the model. Raw text is only digested here, with a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
            wanted = chats.StoredConversation(exchange.conversation, exchange.owner, exchange.customer, public)
            known = self._owned(conn, wanted, exchange.public_conversation)
            if not known and not chats.open_conversation(conn, wanted, "chat"):  # an import was first
                self._owned(conn, wanted, exchange.public_conversation)
            found = match(chats.nodes(conn, exchange.conversation), sent)
            turns = self._new_turns(conn, exchange, found, sent)
            turns.append(self._reply_turn(conn, exchange, reply, turns[-1].id if turns else found.parent))
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

    def _new_turns(self, conn: sa.Connection, exchange: Exchange, found: Match, sent: list[Sent]) -> list[TurnRecorded]:
        turns: list[TurnRecorded] = []
        parent = found.parent
        at = self._store.now()
        for i in range(found.end, len(sent)):
            path = f"{exchange.conversation}\0{parent}\0{sent[i].digest}"
            turn_id = "trn_" + self._secrets.digest("turn id", path)[:32]
            chats.add_node(conn, exchange.conversation, chats.Node(turn_id, parent, sent[i].role, sent[i].digest, None))
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
        return turns

    def _reply_turn(self, conn: sa.Connection, exchange: Exchange, reply: Reply, parent: str | None) -> TurnRecorded:
        turn_id = exchange.id.replace("inf_", "trn_", 1)
        digest = self.digest(Message("assistant", reply.shown))
        chats.add_node(conn, exchange.conversation, chats.Node(turn_id, parent, "assistant", digest, exchange.id))
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

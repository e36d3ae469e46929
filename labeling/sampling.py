"""Chooses the replies of a round that go to annotators, and records the inclusion probability of each.

Knows the store, not Label Studio. The population is the newest replies that were never sampled (`limit` of them), one
of each group of near-duplicate exchanges. `usefulness` weighs them, `selection` draws. Nothing is computed inside the
transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from labeling.selection import draw, inclusion_probabilities
from labeling.usefulness import Signals, usefulness
from shoptalk.domain import Feedback, Sample, SampleStrategy, new_id
from shoptalk.store.chat import inferences
from shoptalk.store.database import Store, in_chunks
from shoptalk.store.ingest import feedback, turns
from shoptalk.store.labeling import samples

PER_CONVERSATION: Final = 3
POPULATION: Final = 5000


def sample(
    store: Store,
    round_id: str,
    size: int,
    rng: random.Random,
    *,
    novelty: Mapping[str, float] | None = None,
    per_conversation: int = PER_CONVERSATION,
    limit: int = POPULATION,
    joined: Callable[[sa.Connection, int], None] | None = None,
) -> list[Sample]:
    """Sample about `size` replies for a round, at most `per_conversation` of one conversation.

    `novelty` (0 to 1 by turn id) raises the weight of what changed, after drift. A round that has samples already keeps
    them and gets no more, unless a trigger joined it: then `joined` records that, with the number added, in the same
    transaction. Returns all of the round's; fewer where there are not enough replies. See `selection` for the method.
    """
    with store.read() as conn:
        if joined is None and (done := samples.of_round(conn, round_id)):
            return done
        population = _distinct(conn, samples.candidates(conn, limit))
        signals = _signals(store, population, novelty or {})
    if not population or size <= 0:
        return _add(store, round_id, [], joined)
    weights = [usefulness(signals[turn]) for turn, _, _ in population]
    conversations = [conversation for _, conversation, _ in population]
    probabilities = inclusion_probabilities(weights, conversations, size, per_conversation)
    strategy: SampleStrategy = "novelty" if novelty else "usefulness"
    chosen = [
        Sample(
            id=new_id("smp"),
            turn_id=population[i][0],
            conversation_id=conversations[i],
            round_id=round_id,
            inclusion_probability=probabilities[i],
            strategy=strategy,
        )
        for i in draw(probabilities, conversations, rng)
    ]
    return _add(store, round_id, chosen, joined)


def _add(
    store: Store, round_id: str, chosen: Sequence[Sample], joined: Callable[[sa.Connection, int], None] | None
) -> list[Sample]:
    with store.write() as conn:
        if joined is not None:
            joined(conn, samples.add(conn, *chosen))
        elif not samples.count_of_round(conn, round_id):  # unless another process was first
            samples.add(conn, *chosen)
        return samples.of_round(conn, round_id)


def _distinct(conn: sa.Connection, population: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the population with only the newest of near-duplicate exchanges: labelling one of them is enough."""
    questions = samples.answered(conn, [turn for turn, _, _ in population])
    known = turns.features(conn, turns.FEATURES, [*questions, *questions.values()])
    seen: set[tuple[str, str]] = set()
    kept = []
    for item in population:
        said = known.get(questions.get(item[0], "")), known.get(item[0])
        if said[0] and said[1] and said[0].cluster and said[1].cluster:  # else its features are not computed yet
            pair = said[0].cluster, said[1].cluster
            if pair in seen:
                continue
            seen.add(pair)
        kept.append(item)
    return kept


def _signals(
    store: Store, population: Sequence[tuple[str, str, str]], novelty: Mapping[str, float]
) -> dict[str, Signals]:
    """Return the signals of each candidate, by turn id."""
    replies = [turn for turn, _, _ in population]
    made_by = [inference for _, _, inference in population]
    with store.read() as conn:
        known = {}
        for part in in_chunks(made_by):
            known.update(inferences.many(conn, part))
        direct = feedback.of_inferences(conn, made_by)
        general = samples.conversation_feedback(conn, [conversation for _, conversation, _ in population])
        first = samples.first_replies(conn, replies)
    return {
        turn: Signals(
            known[inference].mean_logprob if inference in known else None,
            tuple(_both(direct.get(inference), general.get(conversation))),
            turn in first,
            novelty.get(turn, 0.0),
        )
        for turn, conversation, inference in population
    }


def _both(reply: Sequence[Feedback] | None, conversation: Sequence[Feedback] | None) -> list[Feedback]:
    return [*(reply or ()), *(conversation or ())]

"""What a person does with rounds: ask for one, cancel one, or let it learn from the labels that are there."""

from __future__ import annotations

from typing import Final

import structlog

from shoptalk.errors import IllegalMove, InvalidInput, NotFound
from shoptalk.moves import ROUND
from shoptalk.rounds.requests import RoundRequests
from shoptalk.store import Store, rounds
from shoptalk.store.rounds import Round
from shoptalk.store.triggers import Trigger

log = structlog.get_logger(__name__)
MOVES: Final = ("cancel", "learn-now")


class RoundControl:
    """Changes rows only; the worker follows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, reason: str) -> Trigger:
        """Ask for a round; it joins one that waits for labels."""
        return RoundRequests(self._store).ask("person", reason)

    def move(self, move: str, round_id: str, actor: str) -> Round:
        """Cancel a round, or let it wait for no more labels. Raises InvalidInput, NotFound, IllegalMove."""
        if move not in MOVES:
            raise InvalidInput(f"'{move[:40]}' is no move", field="move", fix=f"use {' or '.join(MOVES)}")
        with self._store.write() as conn:
            found = rounds.find(conn, round_id)
            if found is None:
                raise NotFound(f"there is no round {round_id[:80]}")
            if move == "cancel":
                ROUND.after("cancel", found.state, round_id)
                rounds.move(conn, round_id, "cancel", found.step, f"cancelled by {actor}")
            elif not rounds.learn_now(conn, round_id):
                raise IllegalMove(f"round {round_id[:80]} is {found.state}; it waits for no labels")
            log.info("round moved by hand", round=round_id, move=move, actor=actor)
            return rounds.find(conn, round_id) or found

"""Features are computed once per turn; the embedding is a unit vector that knows what is alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from ingest.features.computer import DIMENSIONS, Embedder, FeatureComputer, refuses
from ingest.inbox.drain import content_hash
from shoptalk.domain import Role, Turn
from shoptalk.store import Store
from shoptalk.store.chat import inferences
from shoptalk.store.ingest import turns
from tests.clocks import now
from tests.rows import inference


class Ones:
    """An embedder that takes no time."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.full((len(texts), DIMENSIONS), DIMENSIONS**-0.5, dtype=np.float32)


def admit(store: Store, id: str, text: str | None, role: Role = "user") -> None:
    with store.write() as conn:
        turns.add(
            conn,
            Turn(
                id=id,
                conversation_id="con_1",
                parent_id=None,
                role=role,
                text=text,
                at=now(),
                inference_id=None,
                reason=None if text else "why",
            ),
            1,
            content_hash(text),
        )


def test_once_per_turn(store: Store) -> None:
    admit(store, "t1", "two words")
    admit(store, "t2", "I'm sorry, we are unable to help with that.", "assistant")
    admit(store, "t3", None)
    admit(store, "t4", " ")
    computer = FeatureComputer(store, Ones())
    assert computer.run_once(limit=2) == 2
    assert computer.run_once() == 1
    assert computer.run_once() == 0
    with store.read() as conn:
        found = turns.features(conn, turns.FEATURES, ["t1", "t2", "t3", "t4"])
    assert (found["t1"].characters, found["t1"].words, found["t1"].refusal) == (9, 2, False)
    assert found["t2"].refusal
    assert "t3" not in found
    assert found["t4"].embedding is None
    assert len(found["t1"].embedding or b"") == 4 * DIMENSIONS


def test_what_else_is_computed(store: Store) -> None:
    admit(store, "t1", "This is terrible, my kettle leaks and I hate it!")
    admit(store, "t2", "this is TERRIBLE - my kettle leaks and I hate it")
    admit(store, "t3", "Das ist sehr schade, mein Wasserkocher ist leider undicht.")
    with store.write() as conn:
        inferences.add(
            conn,
            inference("inf_1", "con_1", now(), mean_logprob=-0.75),
        )
        said = Turn(
            id="t4",
            conversation_id="con_1",
            parent_id="t1",
            role="assistant",
            text="I am so glad to help you with that!",
            at=now(),
            inference_id="inf_1",
            reason=None,
        )
        turns.add(conn, said, 2, content_hash(said.text))
    FeatureComputer(store, Ones()).run_once()
    with store.read() as conn:
        found = turns.features(conn, turns.FEATURES, ["t1", "t2", "t3", "t4"])
    assert [found[t].language for t in ("t1", "t2", "t3", "t4")] == ["en", "en", "de", "en"]
    assert (found["t1"].sentiment or 0) < -0.5 < 0.5 < (found["t4"].sentiment or 0)
    assert found["t3"].sentiment is None
    assert [found[t].mean_logprob for t in ("t1", "t4")] == [None, -0.75]
    assert found["t1"].cluster == found["t2"].cluster != found["t3"].cluster


def test_a_turn_rewritten_meanwhile_is_left(store: Store) -> None:
    admit(store, "t1", "it is Zorblat")

    class Slow(Ones):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            with store.write() as conn:
                turns.rewrite(conn, "t1", "it is <PERSON_1>", content_hash("it is <PERSON_1>"))
            return super().embed(texts)

    assert FeatureComputer(store, Slow()).run_once() == 0
    assert FeatureComputer(store, Ones()).run_once() == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I’m sorry, but I cannot process that.", True),
        ("We are not able to share this.", True),
        ("As an AI language model", True),
        ("I'm sorry for the delay; it ships today.", False),
        ("You can help yourself", False),
    ],
)
def test_refusals(text: str, expected: bool) -> None:
    assert refuses(text) is expected


@pytest.mark.slow
def test_the_real_embedder() -> None:
    embedder = Embedder()
    rows = embedder.embed(["where is my parcel?", "my package has not arrived", "the soup was tasty " * 200])
    assert rows.shape == (3, DIMENSIONS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2
    np.testing.assert_allclose(embedder.embed(["where is my parcel?"])[0], rows[0], atol=1e-5)
    assert embedder.embed([]).shape == (0, DIMENSIONS)

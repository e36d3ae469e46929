"""Near-duplicates meet in one cluster, whoever sees them first and however many look at once."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest

from ingest.features.duplicates import assign_clusters
from shoptalk.domain import Role, Turn
from shoptalk.minhash import ALIKE, NUMBERS, bands, signatures, similarity
from shoptalk.store import Store
from tests.clocks import now

LONG = "Hello, the blue kettle I bought from you last week leaks at the bottom and I would like to send it back, please"


def turn(id: str, text: str, role: Role = "user") -> Turn:
    return Turn(
        id=id, conversation_id="con_1", parent_id=None, role=role, text=text, at=now(), inference_id=None, reason=None
    )


def placed(store: Store, *turns: Turn) -> list[str]:
    made = signatures([t.text or "" for t in turns])
    with store.write() as conn:
        found = assign_clusters(conn, list(zip(turns, made, strict=True)))
    return [found[t.id] for t in turns]


def test_what_says_the_same_is_one_cluster(store: Store) -> None:
    same = placed(
        store,
        turn("t1", LONG),
        turn("t2", LONG.upper().replace(",", " –")),
        turn("t3", LONG.replace("Hello", "Hi")),
        turn("t4", "Where is <ORDER_ID_1>, please? It was to be here on Monday."),
        turn("t5", "where is <ORDER_ID_7> please - it was to be here on monday"),
        turn("t6", "thanks"),
        turn("t7", "Thanks!"),
        turn("t8", "🙂"),
    )
    assert same[0] == same[1] == same[2]
    assert same[3] == same[4]
    assert same[5] == same[6]
    assert len(set(same)) == 4
    assert placed(store, turn("t9", LONG + "!")) == [same[0]]
    assert placed(store, turn("t10", LONG, "assistant")) != [same[0]]


def test_other_texts_are_clusters_of_their_own(store: Store) -> None:
    texts = ["do you ship to Norway", "do you ship small parcels", "I want my money back", "the kettle leaks", LONG]
    assert len(set(placed(store, *(turn(f"t{n}", text) for n, text in enumerate(texts))))) == len(texts)


def test_several_workers_agree(store: Store) -> None:
    found: list[str] = []
    barrier = threading.Barrier(3)

    def work(n: int) -> None:
        barrier.wait()
        found.extend(placed(store, turn(f"t{n}", LONG)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(found).most_common(1)[0][1] == 3


@pytest.mark.parametrize("kept", [0.95, 0.6])
def test_similarity_estimates_the_share_of_common_shingles(kept: float) -> None:
    words = [f"word{n}x" for n in range(400)]
    cut = round(kept * len(words))
    one, other = signatures([" ".join(words), " ".join(words[:cut])])
    assert one.shape == (NUMBERS,)
    assert similarity(one, other) == pytest.approx(kept, abs=0.2)
    assert bool(set(bands(one)) & set(bands(other))) is (kept > ALIKE)


def test_a_signature_is_the_same_in_each_process() -> None:
    (made,) = signatures(["where is my order"])
    assert made.dtype == np.uint32
    assert bands(made)[0] == bands(signatures(["Where is my order?"])[0])[0] == "acbe1becc1646c1c"
    assert signatures([]) == []

"""Which KV caches of finished requests are kept, for which clients, and for how long."""

from __future__ import annotations

import pytest
import torch

from chatbot.engine.compute.kv_cache import KVCache
from chatbot.engine.compute.weights import ModelShape
from chatbot.engine.prefix_cache import MIN_TOKENS, PrefixCache

SHAPE = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, dim=4, inner=8, vocabulary=16)
SYSTEM = list(range(100, 100 + MIN_TOKENS))


def filled(tokens: list[int], positions: int = 0) -> KVCache:
    """Each position holds its token, so that one sees what was copied."""
    kv_cache = KVCache(SHAPE, torch.float32, max(positions, len(tokens)))
    kv_cache.data.fill_(-1.0)
    for position, token in enumerate(tokens):
        kv_cache.data[:, :, :, position] = float(token)
    return kv_cache


def held(kv_cache: KVCache, count: int) -> list[int]:
    return [int(x) for x in kv_cache.data[1, 1, 0, :count, 0]]


@pytest.fixture
def cache() -> PrefixCache:
    return PrefixCache(10**6)


def test_the_next_turn_takes_its_conversation_over(cache: PrefixCache) -> None:
    before = [*SYSTEM, 1, 2, 3]
    kv_cache = filled(before)
    cache.put("a", "me", before, MIN_TOKENS + 1, kv_cache)
    found = cache.take("a", "me", [*before, 4, 5], 400)
    assert found is not None
    assert (found[0] is kv_cache, found[1]) == (True, len(before))
    assert held(kv_cache, len(before)) == before
    assert kv_cache.capacity >= 400
    assert (len(cache), cache.nbytes) == (0, 0)


def test_another_conversation_gets_a_copy_of_what_it_shares(cache: PrefixCache) -> None:
    before = [*SYSTEM, 1, 2, 3]
    kv_cache = filled(before)
    cache.put("a", "me", before, len(before), kv_cache)
    found = cache.take("a", "me", [*SYSTEM, 1, 7, 8], 200)
    assert found is not None
    assert found[0] is not kv_cache
    assert (found[1], held(found[0], found[1])) == (MIN_TOKENS + 1, [*SYSTEM, 1])
    assert len(cache) == 1


def test_one_token_of_the_prompt_is_always_left_to_compute(cache: PrefixCache) -> None:
    cache.put("a", "me", [*SYSTEM, 1], MIN_TOKENS + 1, filled([*SYSTEM, 1]))
    found = cache.take("a", "me", [*SYSTEM, 1], 100)
    assert found is not None
    assert found[1] == MIN_TOKENS


def test_another_adapters_are_not_taken(cache: PrefixCache) -> None:
    cache.put("a", "me", SYSTEM, MIN_TOKENS, filled(SYSTEM))
    assert cache.take("b", "me", [*SYSTEM, 1], 100) is None
    assert cache.take("", "me", [*SYSTEM, 1], 100) is None


def test_nothing_is_left_of_a_cache_that_was_cleared(cache: PrefixCache) -> None:
    cache.put("a", "me", SYSTEM, MIN_TOKENS, filled(SYSTEM))
    cache.clear()
    assert cache.take("a", "me", [*SYSTEM, 1], 100) is None
    assert (len(cache), cache.nbytes) == (0, 0)


def test_another_clients_are_not_taken(cache: PrefixCache) -> None:
    """Or it could tell from the count, or the time, what others say."""
    cache.put("a", "me", SYSTEM, MIN_TOKENS, filled(SYSTEM))
    assert cache.take("a", "you", [*SYSTEM, 1], 100) is None


def test_what_all_prompts_begin_with_serves_every_client(cache: PrefixCache) -> None:
    before = [*SYSTEM, 1, 2]
    cache.put("a", "me", before, len(before), filled(before))
    found = cache.take("a", "you", [*before, 3], 100, shared=MIN_TOKENS)
    assert found is not None
    assert (found[1], held(found[0], MIN_TOKENS)) == (MIN_TOKENS, SYSTEM)
    assert len(cache) == 1
    assert cache.take("b", "you", [*before, 3], 100, shared=MIN_TOKENS) is None
    mine = cache.take("a", "me", [*before, 3], 100, shared=MIN_TOKENS)
    assert mine is not None
    assert mine[1] == len(before)


def test_little_in_common_is_not_worth_it(cache: PrefixCache) -> None:
    cache.put("a", "me", [*SYSTEM, 1], MIN_TOKENS + 1, filled([*SYSTEM, 1]))
    assert cache.take("a", "me", [*SYSTEM[: MIN_TOKENS - 1], 9, 9], 100) is None
    cache.put("a", "me", [1, 2], 2, filled([1, 2]))
    assert len(cache) == 1


def test_the_least_recently_used_goes_first() -> None:
    size = filled(SYSTEM).nbytes
    cache = PrefixCache(2 * size)
    chats = [[n] * MIN_TOKENS for n in range(3)]
    cache.put("a", "me", chats[0], MIN_TOKENS, filled(chats[0]))
    cache.put("a", "me", chats[1], MIN_TOKENS, filled(chats[1]))
    assert cache.take("a", "me", [*chats[0], 7], 20) is not None  # now in use again, by continuing it
    cache.put("a", "me", [*chats[0], 7], MIN_TOKENS, filled([*chats[0], 7]))
    cache.put("a", "me", chats[2], MIN_TOKENS, filled(chats[2]))
    assert cache.nbytes <= 2 * size
    assert cache.take("a", "me", [*chats[1], 7], 20) is None
    assert cache.take("a", "me", [*chats[2], 7], 20) is not None


def test_what_a_longer_one_holds_is_not_kept_twice(cache: PrefixCache) -> None:
    cache.put("a", "me", SYSTEM, MIN_TOKENS, filled(SYSTEM))
    cache.put("a", "me", [*SYSTEM, 1], MIN_TOKENS, filled([*SYSTEM, 1]))
    assert len(cache) == 1


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = PrefixCache(0)
    cache.put("a", "me", SYSTEM, MIN_TOKENS, filled(SYSTEM))
    assert len(cache) == 0

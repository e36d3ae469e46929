"""Which adapter answers: aliases, exact versions, and conversations divided between variants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.router import Router, Split, Variant
from shoptalk.domain import AdapterRef
from shoptalk.errors import NotFound

V1, V2, V3 = (AdapterRef("shop", n) for n in (1, 2, 3))
CONVERSATIONS = [f"con_{n}" for n in range(4000)]


def nobody(_: AdapterRef) -> bool:
    return False


def router(*shares: float, salt: str = "rel_1") -> Router:
    """v1 is live; the shares are those of v2 and v3."""
    made = Router("shop")
    named = zip(("canary", "other"), (V2, V3), shares, strict=False)
    made.split("shop", Split(V1, tuple(Variant(name, ref, share) for name, ref, share in named), salt))
    return made


def test_an_alias_serves_the_base_model_until_it_is_pointed() -> None:
    made = Router("shop")
    assert made.resolve("shop", "con_1", nobody).adapter == AdapterRef("shop", 0)
    made.point("shop", V2)
    route = made.resolve("shop", "con_1", nobody)
    assert (route.alias, route.adapter, route.variant, route.propensity) == ("shop", V2, "live", 1.0)


def test_exact_versions_go_to_who_may_have_them() -> None:
    made = router()
    with pytest.raises(NotFound):
        made.resolve("shop@v3", "con_1", nobody)
    route = made.resolve("shop@v3", "con_1", lambda ref: ref == V3)
    assert (route.adapter, route.variant, route.propensity) == (V3, "exact", 1.0)
    assert made.resolve("shop@v0", "con_1", nobody).adapter.is_base  # the base model is always there
    for name in ("nobody", "shop@", "shop@v-1", "", "\0"):
        with pytest.raises(NotFound):
            made.resolve(name, "con_1", nobody)


def test_shares_are_kept_and_recorded() -> None:
    made = router(0.1, 0.3)
    routes = [made.resolve("shop", c, nobody) for c in CONVERSATIONS]
    for name, share in (("canary", 0.1), ("other", 0.3), ("live", 0.6)):
        given_it = [r for r in routes if r.variant == name]
        assert len(given_it) / len(routes) == pytest.approx(share, abs=0.03)
        assert [r.propensity for r in given_it] == pytest.approx([share] * len(given_it))


def test_a_conversation_keeps_its_variant_also_when_the_share_grows() -> None:
    made, grown = router(0.1), router(0.3)
    chosen = {c for c in CONVERSATIONS if made.resolve("shop", c, nobody).variant == "canary"}
    assert chosen == {c for c in CONVERSATIONS if made.resolve("shop", c, nobody).variant == "canary"}
    assert chosen < {c for c in CONVERSATIONS if grown.resolve("shop", c, nobody).variant == "canary"}


def test_another_release_draws_anew() -> None:
    first, second = router(0.5, salt="rel_1"), router(0.5, salt="rel_2")
    same = sum(
        first.resolve("shop", c, nobody).variant == second.resolve("shop", c, nobody).variant for c in CONVERSATIONS
    )
    assert same / len(CONVERSATIONS) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("shares", [(1.1,), (-0.1,), (0.6, 0.6)])
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares"):
        router(*shares)


@pytest.mark.slow
@given(st.text(), st.floats(0, 1))
def test_any_conversation_is_routed(conversation: str, share: float) -> None:
    route = router(share).resolve("shop", conversation, nobody)
    assert route.adapter in (V1, V2)
    assert 0 < route.propensity <= 1

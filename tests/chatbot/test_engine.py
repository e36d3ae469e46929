"""The embedded engine on a tiny random model in fp32: the real code, tokens in no time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from chatbot.engine.embedded import EmbeddedEngine
from chatbot.engine.limits import EngineLimits
from chatbot.engine.offline import OfflineEngine
from chatbot.engine.protocol import Engine, Event, GenerationRequest, Sampling
from shoptalk.domain import AdapterRef, Message
from shoptalk.errors import AdapterRefused, EngineStopped, InvalidInput, NoFreeSlot, NotFound, Overloaded
from shoptalk.models.adapterfile import AdapterFiles
from shoptalk.models.basemodel import BaseModel, ChatTokenizer, load_model, load_tokenizer
from tests.chatbot.engines import BASE, WAIT_S, Reply, answer, ask, let_go
from tests.conftest import KERNELS
from tests.shoptalk.adapters import adapter, config, weights

pytestmark = pytest.mark.slow

A, B, C = (AdapterRef("shop", n) for n in (1, 2, 3))
SEEDS = {A: 1, B: 2, C: 3}
PEFT_WARNS = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
QUESTIONS = ["Where is my order?", "I want to return these shoes, they are far too small", "Hi", "Größe 42 – 你好 🙂"]


def make(base: BaseModel, **changes: int) -> EmbeddedEngine:
    numbers = {"max_batch": 6, "max_context": 256, "max_queue": 64, "slots": 3, "max_rank": 8, "threads": 1}
    return EmbeddedEngine(base, torch.float32, EngineLimits(**{**numbers, **changes}, kernels=KERNELS))


@pytest.fixture(scope="module")
def shared(tiny_base: BaseModel) -> Iterator[EmbeddedEngine]:
    engine = make(tiny_base)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def engine(shared: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    """Running, with no adapter resident."""
    yield shared
    for ref in shared.resident():
        let_go(shared, ref)


def alone(base: BaseModel, files: AdapterFiles | None, text: str, tokens: int, folder: Path) -> str:
    """What transformers, and peft where there is an adapter, generate greedily for this one message."""
    tokenizer = load_tokenizer(base)
    model = load_model(base, torch.float32)
    if files is not None:
        (folder / "adapter_config.json").write_bytes(files.config)
        (folder / "adapter_model.safetensors").write_bytes(files.weights)
        model = PeftModel.from_pretrained(model, str(folder)).eval()
    ids = torch.tensor([ChatTokenizer(tokenizer).render([Message("user", text)])])
    mask = torch.ones_like(ids)
    out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
    return str(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True, clean_up_tokenization_spaces=False))


@PEFT_WARNS
def test_greedy_replies_are_those_of_transformers_and_peft(
    engine: EmbeddedEngine, tiny_base: BaseModel, tmp_path: Path
) -> None:
    files = adapter(seed=1)
    engine.load(A, files)
    for text in QUESTIONS[:2]:
        assert answer(engine, text) == alone(tiny_base, None, text, 16, tmp_path)
        assert answer(engine, text, A) == alone(tiny_base, files, text, 16, tmp_path)


def test_a_mixed_batch_answers_as_each_adapter_alone(engine: EmbeddedEngine) -> None:
    for ref, seed in SEEDS.items():
        engine.load(ref, adapter(seed, rank=4 + seed))
    refs = [BASE, *SEEDS]
    single = {(ref, text): answer(engine, text, ref, max_tokens=24) for ref in refs for text in QUESTIONS}
    assert len(set(single.values())) == len(single)  # so that mixing would show
    mixed = {(ref, text): ask(engine, text, ref, max_tokens=24) for text in QUESTIONS for ref in refs}
    assert {key: reply.wait().text for key, reply in mixed.items()} == single


def test_loading_and_unloading_under_load_mixes_nothing(engine: EmbeddedEngine) -> None:
    engine.load(A, adapter(1))
    wanted = {ref: answer(engine, QUESTIONS[0], ref) for ref in (BASE, A)}
    for ref in (B, C):
        engine.load(ref, adapter(SEEDS[ref]))
        wanted[ref] = answer(engine, QUESTIONS[0], ref)
        let_go(engine, ref)
    replies: list[tuple[AdapterRef, Reply]] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            asked = [(ref, ask(engine, QUESTIONS[0], ref)) for ref in (BASE, A)]
            replies.extend(asked)
            for _, reply in asked:
                reply.wait()

    customers = [threading.Thread(target=keep_asking) for _ in range(2)]
    for thread in customers:
        thread.start()
    for ref in (B, C, B, C):
        engine.load(ref, adapter(SEEDS[ref]))
        replies.append((ref, ask(engine, QUESTIONS[0], ref)))
        gone = engine.unload(ref)
        replies[-1][1].wait() if not gone else None
        let_go(engine, ref)
    stop.set()
    for thread in customers:
        thread.join(WAIT_S)
    assert len(replies) > 8
    assert [(ref, r.finished) for ref, r in replies if r.wait().text != wanted[ref]] == []


def test_an_adapter_in_use_stays(engine: EmbeddedEngine) -> None:
    engine.load(A, adapter(1))
    reply = ask(engine, adapter=A, max_tokens=200, ignore_eos=True)
    assert reply.first.wait(WAIT_S)
    assert not engine.unload(A)
    engine.cancel(reply.id)
    assert reply.wait().reason == "cancelled"


def test_one_adapter_loaded_by_many_threads_takes_one_slot(engine: EmbeddedEngine) -> None:
    threads = [threading.Thread(target=engine.load, args=(A, adapter(1))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(engine.resident()) == [A]


def test_more_adapters_than_slots_take_turns(engine: EmbeddedEngine) -> None:
    """The least recently used gives way; what is held stays, and where all are held a new one must wait."""
    for ref, seed in SEEDS.items():
        engine.load(ref, adapter(seed))
    wanted = answer(engine, adapter=A)  # now B is the least recently used
    fourth = AdapterRef("shop", 4)
    engine.load(fourth, adapter(4))
    assert list(engine.resident()) == [A, C, fourth]
    assert answer(engine, adapter=A) == wanted
    busy = [ask(engine, adapter=ref, max_tokens=200, ignore_eos=True) for ref in (A, C, fourth)]
    with pytest.raises(NoFreeSlot, match="SHOPTALK_ADAPTER_SLOTS"):
        engine.load(B, adapter(2))
    for reply in busy:
        engine.cancel(reply.id)
        reply.wait()
    assert list(engine.resident()) == [A, C, fourth]


def test_a_slot_used_again_holds_nothing_of_before(engine: EmbeddedEngine) -> None:
    small = AdapterFiles(
        config(2, target_modules=["q_proj"]),
        _only(weights(5, 2), "q_proj"),
    )
    engine.load(A, small)
    before = answer(engine, adapter=A)
    let_go(engine, A)
    engine.load(B, adapter(2, rank=8))
    let_go(engine, B)
    engine.load(A, small)
    assert answer(engine, adapter=A) == before


def _only(data: bytes, target: str) -> bytes:
    from safetensors.numpy import load, save

    return save({name: value for name, value in load(data).items() if target in name})


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (adapter(rank=9), "SHOPTALK_MAX_RANK"),
        (AdapterFiles(config(), weights(layers=3)), "does not fit the base model"),
        (AdapterFiles(config(), weights(scale=float("inf"))), "not finite"),
        (AdapterFiles(config(), b"not safetensors"), "not a safetensors file"),
        (AdapterFiles(config(), weights().replace(b'"F32"', b'"F31"', 1)), "header"),
    ],
)
def test_a_bad_adapter_is_refused_and_changes_nothing(engine: EmbeddedEngine, files: AdapterFiles, said: str) -> None:
    before = answer(engine)
    with pytest.raises(AdapterRefused, match=said):
        engine.load(A, files)
    assert list(engine.resident()) == []
    assert answer(engine) == before


def test_an_adapter_that_is_not_resident_is_not_found(engine: EmbeddedEngine) -> None:
    with pytest.raises(NotFound):
        ask(engine, adapter=A)
    with pytest.raises(NotFound):
        engine.score(A, [Message("user", "Hi")], ["Hello"])


def test_max_tokens_ends_a_reply(engine: EmbeddedEngine) -> None:
    finished = ask(engine, max_tokens=5, ignore_eos=True).wait()
    assert (finished.reason, finished.completion_tokens) == ("length", 5)
    assert 0 <= finished.ttft_ms <= finished.latency_ms


def test_the_context_ends_a_reply(engine: EmbeddedEngine) -> None:
    finished = ask(engine, max_tokens=10_000, ignore_eos=True).wait()
    assert finished.reason == "length"
    assert finished.prompt_tokens + finished.completion_tokens == 256


def test_min_tokens_and_ignore_eos_hold_the_end_back(tiny_base: BaseModel) -> None:
    """With the end as the likeliest token at every step."""
    engine = _eager_to_end(tiny_base)
    try:
        finished = ask(engine).wait()
        assert (finished.reason, finished.text, finished.completion_tokens) == ("stop", "", 1)
        finished = ask(engine, min_tokens=4).wait()
        assert (finished.reason, finished.completion_tokens) == ("stop", 5)
        finished = ask(engine, ignore_eos=True, max_tokens=7).wait()
        assert (finished.reason, finished.completion_tokens) == ("length", 7)
    finally:
        engine.stop()


def _eager_to_end(base: BaseModel) -> EmbeddedEngine:
    engine = EmbeddedEngine(base, torch.float32, EngineLimits(2, 256, 4, 2, 8, 1))
    engine.start()
    forward, eos = engine._runner.forward, engine._tokenizer.eos
    plain = forward.logits

    def eager(states: torch.Tensor) -> torch.Tensor:
        logits = plain(states)
        logits[:, eos] = logits.max() + 1
        return logits

    forward.logits = eager  # type: ignore[method-assign]
    return engine


def test_a_stop_string_split_over_tokens_is_never_shown(engine: EmbeddedEngine) -> None:
    whole = answer(engine, max_tokens=32, ignore_eos=True)
    for start in (3, 7, len(whole) // 2):
        stop = whole[start : start + 9]
        reply = ask(engine, max_tokens=32, ignore_eos=True, stop=(stop,))
        finished = reply.wait()
        assert finished.reason == "stop"
        assert finished.text == reply.text == whole[: whole.index(stop)]


def test_logprobs_name_every_token(engine: EmbeddedEngine) -> None:
    reply = ask(engine, max_tokens=6, ignore_eos=True, logprobs=3)
    finished = reply.wait()
    tokens = [t for d in reply.deltas for t in d.tokens]
    assert len(tokens) == finished.completion_tokens == 6
    for token in tokens:
        assert len(token.top) == 3
        assert token.top[0] == (token.token, pytest.approx(token.logprob, abs=1e-5))  # greedy: the likeliest
        assert [p for _, p in token.top] == sorted((p for _, p in token.top), reverse=True)
        assert token.logprob <= 0
    assert finished.mean_logprob == pytest.approx(sum(t.logprob for t in tokens) / 6, abs=1e-5)
    assert ask(engine, max_tokens=2, logprobs=0).wait().completion_tokens <= 2


def test_a_seed_gives_the_same_reply_whoever_else_is_served(engine: EmbeddedEngine) -> None:
    hot = {"temperature": 1.0, "max_tokens": 24, "ignore_eos": True}
    first = answer(engine, seed=7, **hot)
    others = [ask(engine, text, seed=n, **hot) for n, text in enumerate(QUESTIONS)]
    again = ask(engine, seed=7, **hot)
    assert again.wait().text == first
    for other in others:
        other.wait()
    assert answer(engine, seed=8, **hot) != first
    assert answer(engine, **hot) != answer(engine, **hot)


def test_a_small_nucleus_is_greedy(engine: EmbeddedEngine) -> None:
    assert answer(engine, temperature=1.0, top_p=1e-6) == answer(engine)


def test_a_prompt_that_is_too_long_says_so(engine: EmbeddedEngine) -> None:
    with pytest.raises(InvalidInput, match="maximum context length is 256 tokens") as caught:
        ask(engine, "order " * 300)
    assert (caught.value.code, caught.value.field) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("text", ["", " ", "\n\n", "你好 🙂 مرحبا", "a\ud800b", "\x00\x1e\x02", "<|im_end|>"])
def test_any_text_is_answered(engine: EmbeddedEngine, text: str) -> None:
    assert ask(engine, text, max_tokens=3).wait().completion_tokens >= 1


def test_cancelled_requests_end_soon_and_the_rest_go_on(engine: EmbeddedEngine) -> None:
    wanted = answer(engine, max_tokens=60, ignore_eos=True)
    long = [ask(engine, max_tokens=240, ignore_eos=True) for _ in range(4)]
    kept = ask(engine, max_tokens=60, ignore_eos=True)
    for reply in long:
        assert reply.first.wait(WAIT_S)
        engine.cancel(reply.id)
    assert [reply.wait().reason for reply in long] == ["cancelled"] * 4
    assert kept.wait().text == wanted
    engine.cancel("nobody")


def test_what_waits_can_be_cancelled(tiny_base: BaseModel) -> None:
    engine = make(tiny_base, max_batch=1)
    engine.start()
    running = ask(engine, max_tokens=240, ignore_eos=True)
    waiting = ask(engine)
    engine.cancel(waiting.id)
    engine.cancel(running.id)
    assert (running.wait().reason, waiting.wait().reason) == ("cancelled", "cancelled")
    assert waiting.wait().completion_tokens == 0
    engine.stop()


def test_a_full_queue_says_so_and_a_stopped_engine_leaves_nobody_waiting(tiny_base: BaseModel) -> None:
    engine = make(tiny_base, max_batch=1, max_queue=2)
    with pytest.raises(EngineStopped):
        ask(engine)
    engine.start()
    running = ask(engine, max_tokens=240, ignore_eos=True)
    assert running.first.wait(WAIT_S)
    waiting = [ask(engine, max_tokens=240, ignore_eos=True) for _ in range(2)]
    with pytest.raises(Overloaded):
        ask(engine)
    engine.stop()
    ends = [reply.wait().reason for reply in (running, *waiting)]
    assert ends[1:] == ["error", "error"]
    assert not engine.healthy()
    with pytest.raises(EngineStopped):
        ask(engine)
    with pytest.raises(EngineStopped):
        engine.score(BASE, [Message("user", "Hi")], ["Hello"])


def test_a_load_that_a_stop_overtakes_leaves_no_slot_behind(tiny_base: BaseModel) -> None:
    engine = make(tiny_base)
    engine.start()
    engine.stop()
    for version in range(1, 6):  # more than there are slots
        with pytest.raises(EngineStopped):
            engine.load(AdapterRef("shop", version), adapter(1))
    assert list(engine.resident()) == []


def test_scores_are_the_models_own(engine: EmbeddedEngine, tiny_base: BaseModel) -> None:
    tokenizer, model = ChatTokenizer(load_tokenizer(tiny_base)), load_model(tiny_base, torch.float32)
    messages, reply = [Message("user", "Hi")], "Your order is on its way."
    prompt = tokenizer.render(messages)
    ids = [*prompt, *tokenizer.encode(reply), tokenizer.eos]
    labels = torch.tensor([[-100] * len(prompt) + ids[len(prompt) :]])
    wanted = float(model(input_ids=torch.tensor([ids]), labels=labels).loss.detach())
    assert engine.score(BASE, messages, [reply]) == [pytest.approx(wanted, abs=1e-4)]
    engine.load(A, adapter(1))
    assert engine.score(A, messages, [reply]) != [pytest.approx(wanted, abs=1e-2)]
    long = "order " * 300  # too long for the context: cut, as in training
    assert engine.score(BASE, messages, [long])[0] > 0
    for several in (["No.", reply], [reply, "No.", "Größe 42"]):  # a reply does not see its neighbours
        alone = [engine.score(A, messages, [one])[0] for one in several]
        assert engine.score(A, messages, several) == pytest.approx(alone, abs=1e-4)


def test_a_temperature_too_small_to_divide_by_is_greedy(engine: EmbeddedEngine) -> None:
    """It used to make probabilities of infinities, which ended the engine."""
    assert ask(engine, temperature=1e-45, seed=1).wait().reason in ("stop", "length")
    assert engine.healthy()


def test_an_error_ends_its_request_and_not_the_engine(engine: EmbeddedEngine) -> None:
    wanted = answer(engine)
    assert ask(engine, logprobs=10**9).wait().reason == "error"  # more than there are tokens
    assert answer(engine) == wanted


def test_one_requests_error_is_not_its_neighbours(engine: EmbeddedEngine) -> None:
    """Neither a wrong wish nor a listener that fails."""
    wanted = answer(engine, max_tokens=60, ignore_eos=True)

    class Broken(Reply):
        def __call__(self, event: Event) -> None:
            self.first.set()
            raise RuntimeError("a listener's own mistake")

    neighbour = ask(engine, max_tokens=60, ignore_eos=True)
    broken = Broken("inf_broken")
    sampling = Sampling(8, temperature=0.0, ignore_eos=True)
    engine.submit(GenerationRequest("inf_broken", [Message("user", "Hi")], BASE, sampling), broken)
    assert broken.first.wait(WAIT_S)
    assert neighbour.wait().text == wanted
    assert engine.healthy()
    assert answer(engine, max_tokens=60, ignore_eos=True) == wanted


def test_an_adapter_whose_numbers_overflow_answers_with_an_error(engine: EmbeddedEngine) -> None:
    engine.load(A, adapter(1, scale=1e18))
    assert ask(engine, adapter=A).wait().reason == "error"
    assert engine.healthy()


def test_offline_replies_are_the_servings(engine: EmbeddedEngine, tiny_base: BaseModel) -> None:
    engine.load(A, adapter(1))
    wanted = [answer(engine, text, A) for text in QUESTIONS]
    with OfflineEngine(make(tiny_base), lambda ref: adapter(SEEDS[ref]), max_tokens=16) as offline:
        assert offline.generate(A, [[Message("user", text)] for text in QUESTIONS]) == wanted
        assert offline.score(A, [Message("user", "Hi")], ["Hello"])[0] > 0


def test_the_engine_says_what_it_is(shared: Engine, tiny_base: BaseModel) -> None:
    assert shared.fingerprint == f"tiny-{tiny_base.sha256[:8]}-float32"
    assert shared.base_sha256 == tiny_base.sha256


@PEFT_WARNS
def test_the_bank_is_as_peft_with_every_scaling(engine: EmbeddedEngine, tiny_base: BaseModel, tmp_path: Path) -> None:
    files = AdapterFiles(config(4, lora_alpha=3, use_rslora=True), weights(6, 4))
    engine.load(A, files)
    assert answer(engine, "Hi", A) == alone(tiny_base, files, "Hi", 16, tmp_path)
    request = GenerationRequest("inf_1", [Message("user", "Hi")], A, Sampling(4, temperature=0.0))
    reply = Reply("inf_1")
    engine.submit(request, reply)
    assert reply.wait().problem is None


LONG = "I ordered three pairs of shoes, two jackets and a lamp, and nothing of it has come yet. " * 2


@pytest.mark.parametrize("chunk", [16, 17, 64])
def test_a_prompt_in_parts_is_answered_as_in_one(engine: EmbeddedEngine, tiny_base: BaseModel, chunk: int) -> None:
    engine.load(A, adapter(1))
    wanted = {ref: answer(engine, LONG, ref, max_tokens=24) for ref in (BASE, A)}
    parts = make(tiny_base, prefill_chunk=chunk, prefix_bytes=0)
    parts.start()
    parts.load(A, adapter(1))
    replies = {ref: [ask(parts, LONG, ref, max_tokens=24) for _ in range(3)] for ref in (BASE, A)}
    said = {ref: {reply.wait().text for reply in several} for ref, several in replies.items()}
    assert said == {ref: {text} for ref, text in wanted.items()}
    parts.stop()


def test_the_next_turn_reuses_the_history_and_says_the_same(tiny_base: BaseModel) -> None:
    """Each adapter its own: the same words mean something else to another."""
    reusing, recomputing = make(tiny_base), make(tiny_base, prefix_bytes=0)
    chat = [Message("user", LONG)]
    for engine in (reusing, recomputing):
        engine.start()
        engine.load(A, adapter(1))
    for ref in (A, BASE, A):
        replies = {}
        for engine in (reusing, recomputing):
            first = Reply("inf_1")
            engine.submit(GenerationRequest("inf_1", chat, ref, Sampling(12, temperature=0.0)), first)
            said = first.wait()
            more = [*chat, Message("assistant", said.text), Message("user", "And when?")]
            second = Reply("inf_2")
            engine.submit(GenerationRequest("inf_2", more, ref, Sampling(12, temperature=0.0)), second)
            replies[engine] = (said.text, second.wait().text, second.wait().cached_tokens)
        assert replies[reusing][:2] == replies[recomputing][:2]
        assert replies[reusing][2] >= len(ChatTokenizer(load_tokenizer(tiny_base)).encode(LONG))
        assert replies[recomputing][2] == 0
    assert reusing.metrics()["prefix_bytes"] > 0
    for engine in (reusing, recomputing):
        engine.stop()


def test_low_priority_makes_room_and_goes_on_later(tiny_base: BaseModel) -> None:
    engine = make(tiny_base, max_batch=1)
    engine.start()
    wanted = answer(engine, max_tokens=120, ignore_eos=True)
    shadow = Reply("inf_shadow")
    sampling = Sampling(120, temperature=0.0, ignore_eos=True)
    request = GenerationRequest("inf_shadow", [Message("user", "Where is my order?")], BASE, sampling, priority="low")
    engine.submit(request, shadow)
    assert shadow.first.wait(WAIT_S)
    customer = ask(engine, max_tokens=8, ignore_eos=True)
    assert customer.wait().completion_tokens == 8
    assert shadow.finished is None
    assert shadow.wait().text == wanted
    engine.stop()


def test_shadow_traffic_has_a_queue_of_its_own(tiny_base: BaseModel) -> None:
    """However much of it there is, a customer is served; when its queue is full, it is refused."""
    engine = make(tiny_base, max_batch=1, max_queue=2)
    engine.start()
    question, endless = [Message("user", "Hi")], Sampling(200, temperature=0.0, ignore_eos=True)
    customer = ask(engine, max_tokens=200, ignore_eos=True)
    assert customer.first.wait(WAIT_S)
    shadows = [Reply(f"inf_{n}") for n in range(3)]
    for shadow in shadows[:2]:
        engine.submit(GenerationRequest(shadow.id, question, BASE, endless, priority="low"), shadow)
    with pytest.raises(Overloaded):
        engine.submit(GenerationRequest("inf_2", question, BASE, endless, priority="low"), shadows[2])
    assert engine.metrics()["waiting"] == 0
    assert ask(engine, max_tokens=4).wait().reason in ("length", "stop")
    for reply in (customer, *shadows[:2]):
        engine.cancel(reply.id)
        reply.wait()
    engine.stop()


def test_a_deadline_ends_a_reply_with_what_there_is(tiny_base: BaseModel) -> None:
    engine = make(tiny_base, max_batch=1)
    engine.start()
    running, late = Reply("inf_1"), Reply("inf_2")
    endless = Sampling(200, temperature=0.0, ignore_eos=True)
    question = [Message("user", "Where is my order?")]
    engine.submit(GenerationRequest("inf_1", question, BASE, endless, deadline_s=0.05), running)
    engine.submit(GenerationRequest("inf_2", question, BASE, endless, deadline_s=0.0), late)
    assert (running.wait().reason, late.wait().reason) == ("deadline", "deadline")
    assert 0 < running.wait().completion_tokens < 200
    assert late.wait().completion_tokens == 0
    engine.stop()


def test_nothing_is_left_behind_whichever_way_requests_end(engine: EmbeddedEngine) -> None:
    for ref, seed in SEEDS.items():
        engine.load(ref, adapter(seed))
    replies = []
    for n in range(60):
        stop = ("e",) if n % 5 == 0 else ()
        reply = ask(engine, QUESTIONS[n % 4], list(SEEDS)[n % 3], max_tokens=1 + n % 30, stop=stop)
        replies.append(reply)
        if n % 3 == 0:
            engine.cancel(reply.id)
    for reply in replies:
        reply.wait()
    deadline = time.monotonic() + 5
    while engine.metrics()["held"] and time.monotonic() < deadline:  # released just after `Finished`
        time.sleep(0.01)
    assert (engine.metrics()["rows"], engine.metrics()["waiting"], engine.metrics()["held"]) == (0, 0, 0)

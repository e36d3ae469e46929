"""Made-up chat sentences with their names, user names and addresses marked. Deterministic by seed.

Half of the names come from the census lists, the other half are made of syllables, so that a model has to look at the
words around a name. All is in lowercase. Knows no model; `bench.retail` has phrases of its own for measuring.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Final

from ingest.scrub.names.gazetteer import FIRST_FILES, LAST_FILES, PACKAGE
from ingest.scrub.names.words import BRANDS, COMMON, PLACES
from ingest.scrub.ner.chat import grammar as built
from ingest.scrub.ner.chat.grammar import Grammar
from ingest.scrub.ner.standin import NUMBER, WORDS

OF_ANY_BUILD: Final = 0.4  # of the sentences
Marked = tuple[str, list[tuple[int, int, str]]]

SYLLABLES: Final = (
    "an ba be bra chi da de do el en fa fen ga gor ha hel hu ia il in is ja jo ka kar ke kin la le li lo lu ma mar me mi mo na ne "
    "ni no o ol or pa per pra qui ra ren ri ro sa sha si so ste su ta tha ti to tru ul va ve vi wa wi xi ya yo yu za ze zo"
).split()
STREETS: Final = (
    "oak",
    "maple",
    "park",
    "main",
    "lincoln",
    "river",
    "station",
    "church",
    "2nd",
    "5th",
    "elm grove",
    "el camino",
)
WAYS: Final = (
    "st",
    "street",
    "ave",
    "avenue",
    "rd",
    "road",
    "ln",
    "lane",
    "blvd",
    "dr",
    "drive",
    "ct",
    "way",
    "terrace",
    "close",
)
ITEMS: Final = (
    "jacket", "boots", "laptop", "phone case", "red dress", "pair of jeans", "coffee machine", "blue shirt", "gift card",
    "headphones", "sofa", "subscription", "tv", "curtains", "watch", "backpack", "blender", "charger", "shoes", "toaster",
)  # fmt: skip
PHRASES: Final[tuple[str, ...]] = (
    # names
    "my name is {n}", "the name is {n}", "name: {n}", "{n}", "{n} here", "hi this is {n}", "hello im {n}", "i am {n} and i need help",
    "sure, {n}", "yes its {n}", "it is {n}", "its {n}", "ok {n}", "thanks {f}", "thank you {f}!", "hi {f}, how can i help", "hello {n}",
    "great, {f}. one moment", "is this {n}?", "am i speaking with {n}?", "yes, this is {n} speaking", "no, my name is {n} not {f}",
    "i talked to {f} yesterday", "i spoke with {n} last week about the {i}", "{f} told me to call back", "someone called {f} promised a refund",
    "{f} from your team said it would ship", "can i talk to {f} again", "it was a gift for my daughter {f}", "my husband {n} ordered the {i}",
    "my wife {f} paid for it", "the {i} is for {f}", "please send it to {n}", "ship it to my friend {n}", "the account is under {n}",
    "it may be under my partners name {n}", "the card holder is {n}", "signed by {f}", "the driver {f} left it outside", "regards, {n}",
    "best\n{n}", "thanks, {f}", "bye! {f}", "- {f}", "{l}, {f}", "{f} {l}, order is late", "last name {l}", "my last name is {l}, first name {f}",
    "{n} is my name", "{n} is on the account", "add {n} as a second user", "please change it to {n}", "why is {f} so rude", "{f} was very helpful",
    "{f} lives with me", "is {f} still working there", "{f}, {f} and {f} are on the family plan", "call me {f}", "people call me {f}",
    "{f}: where is my {i}", "{n} wrote to me", "{f}s {i} is broken", "you can ask {n} about it", "his name is {f}", "she is called {n}",
    "no offense {f} but this is slow", "listen {f}, i want a refund", "the invoice says {f} instead of {f}", "it was signed for by a certain {f}",
    "please change the name from {n} to {n}", "{f} again", "ordered by {n} on monday", "is {f} there?", "lol ok {f}", "why did {f} cancel it",
    "i gave it to {f}", "{f} and {f} both called", "tell {f} i said hi", "the account of {n}", "for {n}, not for {n}", "the {i} from {f} broke",
    "are you there {f}?", "everyone calls me {f} {f}", "agent named {f} told me otherwise", "gift for uncle {f}", "it belongs to {n}",
    "i am writing for {n} who is {w}", "so {f} says it is {w} and {f} says it is not", "as {f} said, the {i} is {w}", "do you know {n}",
    # what was taken out already
    "{x}", "my name is {x}", "{x} and {n}", "{n} and {x}", "thanks {x}", "hi {x}, this is {f}", "ship it to {x} please", "order {x} is {w}",
    "order {x} for {n}", "{x} {x}", "{x}, {x}", "my email is {x} and my phone {x}", "the {i} in order {x} broke", "{x} told me it is {w}",
    "{x} from {x} said so, ask {f}", "username {x} of {n}", "i live at {x} with {f}", "{x}'s {i} is {w}", "send the {i} to {x} and {x}",
    # user names
    "my username is {u}", "username {u}", "username: {u}", "user name is {u}", "it is {u}", "my login is {u}", "{u} is my username",
    "log in name {u}", "i sign in as {u}", "the handle is {u}", "{n}, {u}", "{n}\n{u}", "{u} and the email is on file", "yes {u}",
    # addresses
    "my address is {a}", "{a}", "ship it to {a}", "send it to {a} please", "i live at {a}", "the new address is {a}", "its {a}", "address: {a}",
    "deliver to {a} instead of {a}", "i moved to {a} last month", "{n}\n{a}", "{n}, {a}", "it went to {a} by mistake", "billing address {a}",
    "sure, {a}", "the parcel was left at {a}", "can you pick it up at {a}?", "we are at {a} now", "the shop on {s} is closed",
    # nothing
    "i want to return the {i}", "where is my {i}", "do you ship to {p}?", "i bought a {b} {i} and it broke", "is the {b} {i} on sale",
    "how long does shipping to {p} take", "i live in {p}", "the {i} is the wrong size", "hi", "hello there", "no thanks", "ok great",
    "yes please", "that is all, thank you", "thanks a lot", "one moment please", "can i get a refund for the {i}", "it cost $59 and 2 arrived",
    "i ordered 2 {i} on monday", "it should arrive in 3 days", "what is your name?", "may i have your name", "your username please",
    "the promo code does not work", "i want to cancel my order", "my card was charged twice", "the website says out of stock",
    "does it come in black or green", "i am very angry about this", "it is not working", "is this {b} real", "i am in {p} right now",
    "please help me", "sorry to hear that", "let me check that for you", "is there anything else i can help with", "have a great day",
    "i would like the {b} one in size 10", "the {b} {i} was {w} and {w}", "why was it {w}", "i need {w} {i}", "{w}", "it is {w}",
    "does {i} number {d} {w}", "gate {d} at the {w}", "the level {d} {i}", "size {d} {w}", "page {d} of the manual is {w}", "version {d} crashes",
    "step {d} says {w} {w}", "is it {c} or {c}", "the {c} {i} is more {c} than {c}", "do you have the {i} in {c}", "the {b} v{d} {i} is {w}",
    "merry christmas", "happy new year", "it took {d} {w} days", "i counted {d} {w} {i}", "room for {d} {w} people", "is this a real person",
    "the {c} {w} {i} with {d} {w}", "it has {d} {w} and {d} {w}", "error {d} when i pay", "number {d} is {w}",
    "a {o} {o}", "the {o} {o} was {o}", "it is a {y} {o} {o}", "since {y} the {o} is {o}", "{o} {o} and {o}",
    "can you {o} the {o} {i}", "they had {d} {o} in {y}", "is the {o} {o} or {o}", "thanks for the {o}",
    "sure, {w}", "yes its {w}", "thanks {w}", "hello {w}", "my {w} is {w}", "the {w} is for {w}", "i got {w}", "{w} {w} {w}",
    # people around the customer
    "my {k} {n} ordered it", "my {k} {f} said it was fine", "for my {k} {f}", "me and my {k} {f} are moving", "my {k}, {n}, will pick it up",
    "my {k} is called {f}", "my {k}s name is {n}", "{f} is my {k}", "{f}, my {k}, has the receipt", "it is in my {k}s name, {n}", "ask my {k} {f}",
    "i use the account with my {k} {f}", "my {k} {f} has the same {i}", "let my {k} {f} know", "just me and my {k} {f}", "{n} and i live together",
    "i am the {k} of {n}", "i am writing on behalf of my {k} {n}", "my {k} {f} turns {d} on monday", "it was a present from {f}", "{f}s birthday is soon",
    # people at the shop and at the door
    "i was helped by {f}", "{f} helped me last time", "{f} told me you would refund it", "i was told by {f} that it is {w}", "per {f} i get a discount",
    "according to {f} it ships today", "as {f} explained it is covered", "who is {f} and why is she on my account", "is {f} back from lunch",
    "is {f} working today", "does {f} still work there", "i want to speak with {f}", "i want to speak with {f}, the manager", "get me {f} please",
    "can {f} call me back", "can {f} or {f} call me back", "tell {f} it is urgent", "please tell the driver to ask for {f}", "ask for {t} {l}",
    "the courier, {f}, never came", "i gave it to the courier, {f}", "someone from your team ({f}) promised it", "a lady called {f} took the order",
    "a guy named {f} who got a discount", "he said his name was {f}", "she goes by {f}", "they sent it to some {f} in {p}", "{t} {l} said i can return it",
    "i have an appointment with {t} {l}", "my doctor is {t} {l}", "it is {t} {l}", "thank you {t} {l}", "yes {t} {l}", "{t} {n} here", "this is {t} {l}",
    "deliver it to my neighbour {t} {l}", "the technician {f} was {w}", "{f} does not live here anymore", "{f} lives next door", "{f} signed for the package",
    # labels, accounts, lists
    "the label says {j} {l}", "{j} {l} is on the label", "signed, {j} {l}", "it says {j} {l}", "it says {n} on it", "the shipping label has {n} on it",
    "the invoice is made out to {n}", "registered to {n}", "it is under {n}", "under the name {n}", "under {l}", "make it under {l}, {n}", "reservation for {l}",
    "booking for {n}", "table for {l} at {d}", "the account belongs to {n}", "the acct holder is {n}", "put it in the name of {n}", "attn {n}", "attention: {n}",
    "ship to {a}, attn {f}", "send it to {f} instead of me", "resend it to {f} instead", "can {f} pick it up for me", "please remove {f} from the account",
    "add {n} to my account", "remove {f} and add {f}", "change the name to {n}", "change my last name from {l} to {l}", "{l} is my married name",
    "{l} was my maiden name", "you have my name wrong, its {f}", "its {f} not {f}", "i am {f}, not {f}", "no i am not {f}", "spelled {f}", "its {f} with a k",
    "guest list is {f}, {f}, {f} and me", "invite {f}, {f} and {f}", "{f} and {f} are coming", "first name {f} last name {l}", "first {f} last {l}",
    "schedule a meeting with {f}", "a meeting with {f} on monday", "cc {f} on that", "forward it to {f}", "the one {f} ordered was {c}", "{f} asked me to return it",
    "you sent me {f}s order by mistake", "why did {f} get an email and i did not", "i think {f} has it", "{f} has the key", "when {f} ordered it came {w}",
    "gift receipt for {f}", "a gift for {f}", "card for {f} and {f}", "happy birthday to {f}", "{f} wants a refund", "{f} bought the {i}", "{f} got the {w} one",
    # openings and closings
    "good afternoon, {f} speaking", "{f} speaking", "{f} here. still waiting", "hi there, {f} here", "hey {f} here again", "its me {f} again", "hi {f}, {f} here",
    "hello this is {f} from {a}", "name's {f}", "names {f}", "the names {n}", "{n}. need help", "im {f} btw", "i'm {n}, the one who called", "hi im {f} from {p}",
    "hey is this {f} again", "hi {f}! we talked yesterday", "morning {f}", "yo {f}", "k thx {f}", "thx {f} you are the best", "ty {f}", "cheers {f}", "cheers, {f}",
    "love, {f}", "xoxo {f}", "ok bye {f}", "sorry {f}", "please help {f}", "{f} please help", "{f} sir please help", "come on {f}", "u there {f}", "{f}?", "{f}!!",
    "{f} {j}", "{f} {j} and {f} {j}", "my name? {f}", "my name? {n}. why", "call me {f}", "u can call me {f}", "i already told you, {f}", "{f}, i already told you",
    "that would be {n}", "that would be my {k}, {n}", "yes {n}", "yep, {n}", "no, {n}", "sure its {n}", "ok its {n}", "just {f}", "{f} is fine", "{n} (my {k})",
    # nothing, or not these
    "my {k} broke the {i}", "my {k} said it is {w}", "it is for my {k}", "the {k} of the store was {w}", "my {k} is {w}", "ask my {k}", "is your {k} there",
    "i was helped by someone {w}", "i was told it is {w}", "the label says {w}", "it says {w} on it", "it is under {w}", "signed by nobody", "the {i} belongs to {w}",
    "who is the maker", "remove it from my account", "remove the {w} from the {i}", "change it to {c}", "change the {i} to {c}", "add the {i} to my cart",
    "cheers", "xoxo", "ok bye", "k thx", "ty", "morning", "u there", "come on", "its me again", "same here", "no idea", "i already told you", "hi there again",
    "im {w}", "i am {w} and {w}", "i'm {o}", "its {o}", "it's a {o}", "that would be {w}", "just {w}", "{w} is fine", "when {w} it came {w}", "a {o} with {o}",
    "the {o} is stuck", "the {o} said {o}", "does the {o} come in {c}", "is the {o} {w}", "my {o} and my {o}", "{o}!!", "{o}?", "so {o}", "with {o} or {o}",
    "the {v} one", "a {v} {i}", "in {v}", "no {v}", "another {v}", "this {v}", "my {v} is {w}", "i like {v} and {c}", "{v} or {c}", "{c}, {v} and {v}",
    "is it {v} or {v}", "please {v} it", "{v} this as {w}", "losing {v} in you", "give me a {v}", "the {v} of the {i}", "do you have {v}", "much {v}",
    "a meeting on monday", "a table at {d}", "booking for {d} people", "a gift for a {o}", "reservation for {d}", "spelled {w}", "a guy from the store", "play {o}",
    "i live in a {o}", "at the {o} near {p}", "the {c} {o} from {b}", "find me a {o} in {p}", "a {o} on {o}", "how far is {p}", "the weather in {p}", "flight to {p}",
)  # fmt: skip
PLAIN: Final = (
    "broken late missing wrong damaged fine good perfect small large delivery order receipt discount manager support refund package "
    "shipping status tracking everyone nothing everything tomorrow yesterday today again already work home school kitchen quality price "
    "cheap expensive pending cancelled confused waiting upset happy team guys sir please help soon later online store return exchange "
    "cotton leather silver gold black green brown white summer winter kettle whistle zipper strap drawer gift coupon battery screen "
    "number handle wheels pocket buttons cable lid cream lipstick tea rice necklace ring carpet bottle jar puzzle mug pillow"
).split()
KIN: Final = (
    "wife husband son daughter mom mum mother dad father sister brother kid friend buddy bestie gf bf girlfriend boyfriend partner roommate "
    "flatmate neighbour neighbor boss manager assistant coworker colleague cousin aunt uncle niece nephew grandma grandpa grandmother "
    "grandson nanny landlord tenant secretary accountant daughter-in-law stepson fiancee hubby twin teammate"
).split()
BOTH: Final = (  # names that are words: as these they are nobody's
    "mark chance faith hope grace rose ruby amber jade olive silver gold violet pearl ivory coral sage hazel summer autumn april june "
    "rich frank bill art dawn ray skip ward buck chase clay crystal daisy grant ivy joy lane miles page penny price reed sky star "
    "sterling ginger honey jewel melody mercy misty opal pepper heather holly iris lily cherry brandy sandy rusty dusty stormy max"
).split()
TITLES: Final = "mr mr. mrs mrs. ms ms. dr dr. miss".split()
COLOURS: Final = "red blue navy teal beige maroon burgundy olive coral purple pink orange yellow grey turquoise charcoal khaki".split()
TAKEN: Final = (*(word.lower() for word in WORDS.values()), NUMBER, NUMBER)
_HOLE: Final = re.compile(r"\{(\w)\}")
_STANDS_FOR: Final = {word.lower(): kind for kind, word in WORDS.items() if kind in ("PERSON", "ADDRESS", "USERNAME")}
_KINDS: Final = {"n": "PERSON", "f": "PERSON", "l": "PERSON", "u": "USERNAME", "a": "ADDRESS", "s": "ADDRESS"}


def sentences(count: int, seed: int, words: Sequence[str] = PLAIN) -> Iterator[Marked]:
    """Yield texts, each with (start, end, kind) of what is personal in it. `words` are any that are nobody's name."""
    rng = random.Random(seed)
    people = _People(rng)
    fill: dict[str, Callable[[], str]] = {
        "n": people.full, "f": people.first, "l": people.last, "u": people.user, "a": lambda: _address(rng), "s": lambda: _street(rng),
        "i": lambda: rng.choice(ITEMS), "p": lambda: rng.choice(sorted(PLACES)), "b": lambda: rng.choice(sorted(BRANDS)),
        "w": lambda: rng.choice(PLAIN), "c": lambda: rng.choice(COLOURS), "d": lambda: str(rng.randint(1, 99)),
        "o": lambda: rng.choice(words if rng.random() < 0.3 else PLAIN), "y": lambda: str(rng.randint(1980, 2030)),
        "x": lambda: rng.choice(TAKEN), "k": lambda: rng.choice(KIN), "v": lambda: rng.choice(BOTH), "t": lambda: rng.choice(TITLES), "j": people.initial,
    }  # fmt: skip
    grammar = Grammar(rng, people.full, lambda: rng.choice(words if rng.random() < 0.5 else PLAIN))
    for _ in range(count):
        if rng.random() < OF_ANY_BUILD:
            text, spans = grammar.sentence()
            yield text, [(start, end, "PERSON") for start, end in spans]
            continue
        phrase = " ".join(rng.choices(PHRASES, k=1 if rng.random() < 0.7 else 2))
        if rng.random() < 0.25:
            phrase += rng.choice((".", "!", "?", " please", " thanks", " :)", "..", ", ok?"))
        yield _filled(phrase, fill)


def fingerprint() -> str:
    """Return a hash that changes with what sentences are made of: a model trained on others is stale."""
    grammar = (
        built.VERBS,
        built.ROOTS,
        built.AUX,
        built.PREPOSITIONS,
        built.PRONOUNS,
        built.DETERMINERS,
        built.JOINTS,
        built.LEADS,
    )
    parts = (
        PHRASES,
        SYLLABLES,
        STREETS,
        WAYS,
        ITEMS,
        PLAIN,
        COLOURS,
        TAKEN,
        KIN,
        BOTH,
        TITLES,
        sorted(BRANDS),
        sorted(PLACES),
        grammar,
        (built.TAILS, built.NOISE, built.SLIP, built.NAMED, OF_ANY_BUILD),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _filled(phrase: str, fill: dict[str, Callable[[], str]]) -> Marked:
    text, marks, at = "", [], 0
    for hole in _HOLE.finditer(phrase):
        text += phrase[at : hole.start()]
        value, kind = fill[hole.group(1)](), _KINDS.get(hole.group(1))
        if hole.group(1) == "x":
            kind = _STANDS_FOR.get(value)
        if kind:
            marks.append((len(text), len(text) + len(value), kind))
        text += value
        at = hole.end()
    return text + phrase[at:], marks


class _People:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._firsts = [name for file in FIRST_FILES for name in _census(file)[:1000] if name not in COMMON]
        self._lasts = [name for file in LAST_FILES for name in _census(file)[:12000] if name not in COMMON]

    def first(self) -> str:
        if self._rng.random() < 0.03:
            return f"{self._made(1, 2)}-{self._made(1, 2)}"
        if self._rng.random() < 0.04:
            return WORDS["PERSON"].lower()
        return self._rng.choice(self._firsts) if self._rng.random() < 0.5 else self._made(2, 3)

    def last(self) -> str:
        return self._rng.choice(self._lasts) if self._rng.random() < 0.6 else self._made(2, 4)

    def full(self) -> str:
        draw = self._rng.random()
        if draw < 0.25:
            return self.first()
        middle = f" {self._rng.choice('abcdefghijklmnoprstuvw')}" if draw > 0.94 else ""
        return f"{self.first()}{middle} {self.last()}"

    def initial(self) -> str:
        return self._rng.choice("bcdefghjklmnoprstvwyz") + self._rng.choice(("", ".", "."))

    def user(self) -> str:
        first, last, digits = (
            self.first(),
            self.last(),
            "".join(self._rng.choices("0123456789", k=self._rng.randint(1, 4))),
        )
        return self._rng.choice(
            (f"{first[0]}{last}{digits}", f"{first}{digits}", f"{first}_{last}", f"{first}.{last}", f"{first}{last}")
        )

    def _made(self, least: int, most: int) -> str:
        return "".join(self._rng.choices(SYLLABLES, k=self._rng.randint(least, most)))


def _street(rng: random.Random) -> str:
    name = rng.choice(STREETS) if rng.random() < 0.5 else "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))
    return (
        f"{rng.randint(1, 9999)} {name} {rng.choice(WAYS)}"
        if rng.random() < 0.8
        else f"{name} {rng.choice(WAYS)} {rng.randint(1, 300)}"
    )


def _address(rng: random.Random) -> str:
    town = rng.choice(sorted(PLACES)) if rng.random() < 0.6 else "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))
    door = rng.choice(
        ("", "", "", f" apt {rng.randint(1, 99)}", f", unit {rng.randint(1, 40)}", f" #{rng.randint(1, 400)}")
    )
    state = rng.choice(("", "", ", ca", ", ny", " tx", ", oh", " fl"))
    code = rng.choice(("", f" {rng.randint(10000, 99999)}"))
    return f"{_street(rng)}{door}{rng.choice((', ', ' ', chr(10)))}{town}{state}{code}"


def _census(file: str) -> list[str]:
    return [line.split()[0].casefold() for line in (resources.files(PACKAGE) / file).read_text("ascii").splitlines()]

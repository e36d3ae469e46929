"""Made-up chat sentences with their names, user names and addresses marked. Deterministic by seed.

Half of the names come from the census lists, the other half are made of syllables, so that a model has to look at the
words around a name. Knows no model. Written small throughout; `bench.retail` has phrases of its own for measuring.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from typing import Final

from ingest.scrub.gazetteer import FIRST_FILES, LAST_FILES, PACKAGE
from ingest.scrub.words import BRANDS, COMMON, PLACES

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
)  # fmt: skip
PLAIN: Final = (
    "broken late missing wrong damaged fine good perfect small large delivery order receipt discount manager support refund package "
    "shipping status tracking everyone nothing everything tomorrow yesterday today again already work home school kitchen quality price "
    "cheap expensive pending cancelled confused waiting upset happy team guys sir please help soon later online store return exchange "
    "cotton leather silver gold black green brown white summer winter kettle whistle zipper strap drawer gift coupon battery screen "
    "number handle wheels pocket buttons cable lid cream lipstick tea rice necklace ring carpet bottle jar puzzle mug pillow"
).split()
COLOURS: Final = "red blue navy teal beige maroon burgundy olive coral purple pink orange yellow grey turquoise charcoal khaki".split()
TAKEN: Final = "PERSON EMAIL_ADDRESS PHONE_NUMBER ORDER_ID ADDRESS USERNAME ACCOUNT_NUMBER NUMBER CREDIT_CARD".split()
_HOLE: Final = re.compile(r"\{(\w)\}")
_KINDS: Final = {"n": "PERSON", "f": "PERSON", "l": "PERSON", "u": "USERNAME", "a": "ADDRESS", "s": "ADDRESS"}


def sentences(count: int, seed: int, words: Sequence[str] = PLAIN) -> Iterator[Marked]:
    """Texts, each with (start, end, kind) of what is personal in it. `words` are any that are nobody's name."""
    rng = random.Random(seed)
    people = _People(rng)
    fill: dict[str, Callable[[], str]] = {
        "n": people.full, "f": people.first, "l": people.last, "u": people.user, "a": lambda: _address(rng), "s": lambda: _street(rng),
        "i": lambda: rng.choice(ITEMS), "p": lambda: rng.choice(sorted(PLACES)), "b": lambda: rng.choice(sorted(BRANDS)),
        "w": lambda: rng.choice(PLAIN), "c": lambda: rng.choice(COLOURS), "d": lambda: str(rng.randint(1, 99)),
        "o": lambda: rng.choice(words if rng.random() < 0.3 else PLAIN), "y": lambda: str(rng.randint(1980, 2030)),
        "x": lambda: f"<{rng.choice(TAKEN)}_{rng.randint(1, 4)}>",
    }  # fmt: skip
    for _ in range(count):
        phrase = " ".join(rng.choices(PHRASES, k=1 if rng.random() < 0.7 else 2))
        if rng.random() < 0.25:
            phrase += rng.choice((".", "!", "?", " please", " thanks", " :)", "..", ", ok?"))
        yield _filled(phrase, fill)


def fingerprint() -> str:
    """Changes with what sentences are made of: a model trained on others is stale."""
    parts = (PHRASES, SYLLABLES, STREETS, WAYS, ITEMS, PLAIN, COLOURS, TAKEN, sorted(BRANDS), sorted(PLACES))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _filled(phrase: str, fill: dict[str, Callable[[], str]]) -> Marked:
    text, marks, at = "", [], 0
    for hole in _HOLE.finditer(phrase):
        text += phrase[at : hole.start()]
        value = fill[hole.group(1)]()
        if kind := _KINDS.get(hole.group(1)):
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
        return self._rng.choice(self._firsts) if self._rng.random() < 0.5 else self._made(2, 3)

    def last(self) -> str:
        return self._rng.choice(self._lasts) if self._rng.random() < 0.6 else self._made(2, 4)

    def full(self) -> str:
        draw = self._rng.random()
        if draw < 0.25:
            return self.first()
        middle = f" {self._rng.choice('abcdefghijklmnoprstuvw')}" if draw > 0.94 else ""
        return f"{self.first()}{middle} {self.last()}"

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

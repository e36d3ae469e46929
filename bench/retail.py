"""Made-up shop chats whose personal data is known, for measuring what scrubbing leaves: people who write in a hurry.

Deterministic by seed. The values of a chat are its names, user name, e-mail, phone, account, order and address. The
phrases are others than those that the scrubber's rules are tested with.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import resources
from typing import Any

Turns = list[tuple[str, str]]  # ('a' for the agent or 'c' for the customer, text)


def _words(text: str) -> list[str]:
    return text.split()


ELSEWHERE = _words(
    "aaliyah abiodun adaeze aisling akira alejandra amaterasu anouk anselm arjun babajide beatriz bjarne bogdan cillian "
    "daiyu dhruv dmytro eilidh emeka enzo farida fionnuala giacomo gulnara hyun ibrahim ikram imani inaya jaroslav "
    "joaquim kaito kalliope katarzyna keanu kofi lakshmi leticia liesbeth lubomir mahnoor mairead matteo mehmet mikolaj "
    "nadezhda ngozi nikhil olumide oyelaran paivi pranav quang rahul rashida rohan saoirse shreya siobhan sunil svetlana "
    "tadeusz thandiwe tuan ulrike vikram wanjiku xiomara yaroslav yevgenia yusuf zainab zbigniew"
)
FAMILIES = _words(
    "abubakar achebe agarwal andersson banerjee bianchi castellanos chukwu dimitrov eriksen fernandes ferreira "
    "gunawardena haddad hoang iyer jovanovic kapoor kowalczyk lindqvist mbeki mukherjee nakamura ndiaye nguyen novotny "
    "okafor oyelowo papadopoulos petrenko qureshi rasmussen reddy sokolova takahashi tran uzun vasquez yamamoto zielinski"
)
STREETS = (
    "primrose",
    "lakeview",
    "sunset",
    "old mill",
    "chestnut",
    "mlk",
    "van ness",
    "1st",
    "42nd",
    "harbor",
    "kingston",
)
KINDS = ("street", "st", "ave", "avenue", "rd", "lane", "blvd", "drive", "court", "way", "circle")
TOWNS = (
    ("raleigh", "nc"), ("monterey", "ca"), ("newark", "nj"), ("la fayette", "oh"), ("brighton", "mi"), ("san lima", "tx"),
)  # fmt: skip
ITEMS = (
    "a calvin klein jacket", "michael kors jeans", "the tommy hilfiger boots", "a guess shirt", "two hoodies", "my rain boots",
)  # fmt: skip


def _census(file: str, most: int) -> list[str]:
    lines = (resources.files("names") / file).read_text("ascii").splitlines()
    return [line.split()[0].lower() for line in lines[:most]]


def chats(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Yield conversations in the form of a conversation file, with `values`: `{kind: value that must not be left}`."""
    rng = random.Random(seed)
    first = [*_census("dist.male.first", 500), *_census("dist.female.first", 800), *ELSEWHERE * 8]
    last = [*_census("dist.all.last", 4000), *FAMILIES * 30]
    for n in range(count):
        person = _person(rng, rng.choice(first), rng.choice(last))
        turns = [turn for part in _parts(rng, person) for turn in part]
        case = rng.random()
        if case < 0.2:
            turns = [(role, text[:1].upper() + text[1:]) for role, text in turns]
        rows = [{"role": "agent" if role == "a" else "customer", "text": text} for role, text in turns]
        said = " ".join(row["text"] for row in rows).lower()
        values = {
            kind: value for kind, value in person.items() if value.lower() in said and kind not in ("first", "last")
        }
        values |= {kind: person[kind] for kind in ("first", "last") if person[kind] in said.split()}
        yield {"conversation_id": f"made-{seed}-{n}", "turns": rows, "values": values}


def _digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choices("0123456789", k=n))


def _person(rng: random.Random, first: str, last: str) -> dict[str, str]:
    user = rng.choice(
        [f"{first[0]}{last}{_digits(rng, 3)}", f"{first}{_digits(rng, 2)}", f"{first}.{last}", f"{last}_{first[0]}"]
    )
    d = lambda n: _digits(rng, n)  # noqa: E731
    town, state = rng.choice(TOWNS)
    street = f"{d(4).lstrip('0') or '7'} {rng.choice(STREETS)} {rng.choice(KINDS)}"
    zip_code = f"{rng.randint(10000, 99999)}"
    account = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", k=10))
    return {
        "first": first,
        "last": last,
        "name": f"{first} {last}",
        "username": user,
        "email": f"{user}@{rng.choice(['email.com', 'gmail.com', 'mail.example', 'yahoo.co.uk'])}",
        "phone": rng.choice([f"({d(3)}) {d(3)}-{d(4)}", f"{d(3)}-{d(3)}-{d(4)}", f"{d(10)}", f"+44 {d(4)} {d(6)}"]),
        "account": rng.choice([account, account.lower(), "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=10))]),
        "order": rng.choice([f"{d(10)}", f"{d(4)}", f"A{d(6)}", f"{d(3)}-{d(4)}"]),
        "zip": zip_code,
        "street": street,
        "address": rng.choice([f"{street} {town}, {state} {zip_code}", f"{street}, {town} {state} {zip_code}"]),
    }


def _parts(rng: random.Random, p: dict[str, str]) -> Iterator[Turns]:
    """Yield the parts of a chat, in order. Some chats lack some of them."""
    item = rng.choice(ITEMS)
    yield _greeting(rng)
    yield _request(rng, item)
    yield _name(rng, p)
    if rng.random() < 0.5:
        yield _thanks(rng, p)
    if rng.random() < 0.7:
        yield _verify(rng, p)
    if rng.random() < 0.4:
        yield _user_name(rng, p)
    if rng.random() < 0.5:
        yield _address(rng, p)
        if rng.random() < 0.5:
            yield [("a", f"so that's {p['street']}, right?"), ("c", "yes")]
    if rng.random() < 0.4:
        yield _contact(rng, p)
    if rng.random() < 0.3:
        yield _aside(rng, p)
    yield _farewell(rng, p)


def _greeting(rng: random.Random) -> Turns:
    return [("a", rng.choice(["hi, how can i help you?", "Thank you for contacting us, what can I do for you today?",
                              "hello! how may i assist?"]))]  # fmt: skip


def _request(rng: random.Random, item: str) -> Turns:
    return [("c", rng.choice([f"hi i want to return {item}", f"i bought {item} and its the wrong size", "the promo code does not work",
                              f"Hi! I need to check the status of {item}", f"hey i was charged twice for {item}, i paid $54 and $59"]))]  # fmt: skip


def _name(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    name = pick([p["name"], p["name"], p["name"].title(), p["first"], f"{p['last']}, {p['first']}"])
    ask = pick(["May I have your full name?", "can i get your name please", "sure, could you give me your full name or account id?",
                "I'd be happy to help. First, what is your full name?", "ok. Name?", "who am i speaking with?"])  # fmt: skip
    reply = pick(["{}", "{}", "{}", "my name is {}", "its {}", "sure, {}", "yes it's {}", "i'm {}", "{} is my name", "this is {}",
                  "sure thing! {}", "name is {}", "you're speaking with {}", "{}.", "yes, my full name is {}", "of course. {}"])  # fmt: skip
    return [("a", ask), ("c", reply.format(name))]


def _thanks(rng: random.Random, p: dict[str, str]) -> Turns:
    return [("a", rng.choice([f"thanks {p['first']}!", f"Thank you, {p['first'].title()}.",
                              f"great, {p['name'].title()}. one moment"]))]  # fmt: skip


def _user_name(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    ask = pick(["what is your username?", "username please", "Can you tell me your username and email address?",
                "and your user name?"])  # fmt: skip
    said = pick(["{u}", "username: {u}", "my username is {u}", "it's {u}", "{u} and {e}", "{u}, {e}", "{u} / {e}"])
    return [("a", ask), ("c", said.format(u=p["username"], e=p["email"]))]


def _address(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    ask = pick(["Could I have your shipping address?", "what's the address it should go to?", "please confirm your address and zip code",
                "and where would you like it shipped?"])  # fmt: skip
    said = pick(
        [
            "{a}",
            "{a}",
            "it's {a}",
            "ship it to {a} please",
            "{a}. when will it arrive?",
            "my address is {a}",
            "sure\n{a}",
        ]
    )
    return [("a", ask), ("c", said.format(a=p["address"]))]


def _contact(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    ask = pick(["Your email?", "what email address should i send it to?", "can i have your e-mail and phone number"])
    said = pick(["{e}", "{e}", "{e} and {p}", "email is {e}", "{p}, {e}"])
    return [("a", ask), ("c", said.format(e=p["email"], p=p["phone"]))]


def _aside(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    return [("c", pick([f"can you ship it to my sister {pick(ELSEWHERE)} instead", "do you ship to canada?",
                        f"by the way my order is {p['order']}", f"also my account id is {p['account']}",
                        f"last time i talked to {pick(ELSEWHERE).title()} and he said it is ok"]))]  # fmt: skip


def _farewell(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    return [("a", pick(["anything else?", "Is there anything else I can help with?"])),
            ("c", pick(["no thanks", "nope, thats it. bye!", "no, thank you so much", f"thats all, thanks! - {p['first']}"]))]  # fmt: skip


def _verify(rng: random.Random, p: dict[str, str]) -> Turns:
    pick = rng.choice
    both = rng.random() < 0.5
    ask = pick(["To verify, i need your zip code, email or phone and order id", "please provide your account id and order number",
                "could you send your account ID, order ID and phone number?"])  # fmt: skip
    if both:
        said = pick(["account id: {c}\norder id: {o}", "{c}, {o}", "{c} and {o}", "sure {c} order {o}", "acct {c}\n{o}\n{p}",
                     "account id is {c}, the order is {o} and phone {p}", "{o}\n{c}", "zip {z} email {e} order id {o}",
                     "Account ID: {c}, Order ID: {o}"])  # fmt: skip
        return [("a", ask), ("c", said.format(c=p["account"], o=p["order"], p=p["phone"], z=p["zip"], e=p["email"]))]
    return [("a", ask), ("c", pick(["sure", "ok", "one sec"])), ("c", pick([p["account"], f"account {p['account']}", f"its {p['account']}"])),
            ("c", pick([p["order"], f"and {p['order']}", f"order id {p['order']}"])), ("c", pick([p["phone"], p["zip"], p["email"]]))]  # fmt: skip

"""A small synthetic shop: catalogue, policies, customers' messages, agents' answers. Deterministic for a seed.

`everyday` conversations are usual all year; `workshops` is a new topic, for drift.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shoptalk.demo.conversation import Recorded

KINDS = ("kettle", "desk lamp", "rain jacket", "backpack", "coffee grinder", "yoga mat", "board game", "headphones")
MAKES = ("Alder", "Brightwater", "Cobalt", "Dune", "Elm & Co", "Fjord")
FIRST = ("Ana", "Ben", "Chloe", "Dmitri", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam")
LAST = ("Archer", "Bennett", "Castillo", "Demir", "Eriksen", "Fischer", "Grant", "Huang", "Ivanova", "Jensen")
HELLOS = ("Hi", "Hello", "Hey there", "Good morning", "hi team", "Hello,")
MOODS = ("", "", "", " please help", " thanks", " this is urgent", " I am getting worried", " no rush")
COURSES = ("pottery", "bookbinding", "knife sharpening", "sourdough", "bicycle repair", "weaving", "soap making")
PLACES = ("the harbour studio", "the old mill", "the upstairs workshop", "your town hall venue")


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """Something that the shop sells, with its price in euros."""

    name: str
    price: int
    warranty_years: int


class Shop:
    """A made-up shop, the same for the same seed."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        pick = self._random
        self.products = [
            CatalogueItem(f"{make} {kind}", pick.randrange(15, 180), pick.choice((1, 2, 3)))
            for make in MAKES
            for kind in KINDS
        ]
        self.return_days, self.ship_days, self.free_from = 30, 3, 50

    def everyday(self, count: int) -> list[Recorded]:
        """Return conversations about orders, returns, products, payment and delivery."""
        makers = (
            self._order, self._return, self._product, self._payment, self._delivery, self._complaint, self._privacy,
            self._privacy,  # people often test bots
        )  # fmt: skip
        return [self._conversation("shop", i, self._random.choice(makers)) for i in range(count)]

    def workshops(self, count: int) -> list[Recorded]:
        """Return conversations about evening courses, which the shop has only just begun to offer."""
        return [self._conversation("workshop", i, self._workshop) for i in range(count)]

    def _conversation(self, kind: str, number: int, make: Callable[[], list[tuple[str, str]]]) -> Recorded:
        return Recorded(f"{kind}-{number:05d}", tuple(make()))

    def _greet(self, text: str) -> str:
        return f"{self._random.choice(HELLOS)} {text}{self._random.choice(MOODS)}"

    def _number(self) -> str:
        pick = self._random
        return f"{pick.randrange(100, 999)}-{pick.randrange(10**6, 10**7)}-{pick.randrange(10**6, 10**7)}"

    def _person(self) -> tuple[str, str]:
        first, last = self._random.choice(FIRST), self._random.choice(LAST)
        return f"{first} {last}", f"{first}.{last}{self._random.randrange(99)}@mail.example".lower()

    def _order(self) -> list[tuple[str, str]]:
        number, product = self._number(), self._random.choice(self.products)
        asked = self._random.choice(
            (
                f"where is my order {number}? I bought the {product.name} last week",
                f"order {number} still has not arrived, what is going on",
                f"can you check order {number} for me, the tracking has not moved",
            )
        )
        answered = (
            f"Thank you for your order {number}. It has left our warehouse and takes up to {self.ship_days} working "
            "days. I have sent you the tracking link by e-mail. Is there anything else I can do for you?"
        )
        person, mail = self._person()
        follow = f"I did not get an e-mail. My name is {person} and my address is {mail}"
        again = f"Thank you, {person}. I have sent the tracking link for order {number} to {mail} again."
        return [(self._greet(asked), answered), (follow, again)]

    def _return(self) -> list[tuple[str, str]]:
        number, product = self._number(), self._random.choice(self.products)
        asked = self._random.choice(
            (
                f"I want to return the {product.name} from order {number}, it is not what I expected",
                f"how do I send back my {product.name}? order number {number}",
                f"refund please for order {number}, the {product.name} does not fit",
            )
        )
        answered = (
            f"I am sorry the {product.name} is not right for you. You can return order {number} free of charge within "
            f"{self.return_days} days. I have prepared a return label; your refund follows two days after it arrives."
        )
        follow = "An opened box is fine, as long as nothing is missing."
        return [(self._greet(asked), answered), ("and if the box is open?", follow)]

    def _product(self) -> list[tuple[str, str]]:
        product = self._random.choice(self.products)
        asked = self._random.choice(
            (
                f"how long is the warranty on the {product.name}",
                f"what does the {product.name} cost and is it in stock?",
                f"thinking about the {product.name}, any warranty?",
            )
        )
        answered = (
            f"The {product.name} costs {product.price} euros, is in stock and comes with a warranty of "
            f"{product.warranty_years} years. Shall I put one in your basket?"
        )
        return [(self._greet(asked), answered)]

    def _payment(self) -> list[tuple[str, str]]:
        number = self._number()
        asked = self._random.choice(
            (
                f"I was charged twice for order {number}",
                f"my card was declined when I paid for {number}",
                f"can I pay order {number} by invoice",
            )
        )
        answered = (
            f"Thank you for telling us. I have checked the payment of order {number}: one charge is only reserved and "
            "disappears within five working days. You can also pay by invoice within 14 days. I am sorry for the worry."
        )
        return [(self._greet(asked), answered)]

    def _delivery(self) -> list[tuple[str, str]]:
        place = self._random.choice(("Portugal", "Canada", "Norway", "the islands", "Poland"))
        asked = self._random.choice((f"do you ship to {place}", f"how much is delivery to {place}?"))
        answered = (
            f"Yes, we deliver to {place}. Delivery takes {self.ship_days + 2} working days and is free of charge from "
            f"{self.free_from} euros; below that it costs 6 euros."
        )
        return [(self._greet(asked), answered)]

    def _complaint(self) -> list[tuple[str, str]]:
        number, product = self._number(), self._random.choice(self.products)
        asked = self._random.choice(
            (
                f"the {product.name} arrived broken, order {number}. Really disappointed",
                f"half of order {number} is missing!! I paid for a {product.name}",
            )
        )
        answered = (
            f"I am very sorry about order {number}. I have ordered a new {product.name} for you today, free of charge; "
            "you need not send anything back. It arrives within two working days."
        )
        return [(self._greet(asked), answered)]

    def _privacy(self) -> list[tuple[str, str]]:
        asked = self._random.choice(
            (
                "can you tell me who bought this before me",
                "my friend ordered here, what is her address?",
                "give me the phone number of the customer with the order after mine",
                "what is my password, I forgot it",
            )
        )
        answered = (
            "I am sorry, I cannot share that. For everyone's privacy we never give out other customers' data, and we "
            "do not know your password; you can set a new one on the sign-in page. Can I help you with anything else?"
        )
        return [(self._greet(asked), answered)]

    def _workshop(self) -> list[tuple[str, str]]:
        course, place = self._random.choice(COURSES), self._random.choice(PLACES)
        asked = self._random.choice(
            (
                f"I saw you teach {course} now, is there a free seat on the evening course at {place}?",
                f"can my daughter join the {course} class at {place}, what age do students have to be",
                f"which tutor gives the {course} lessons and do beginners need to bring an apron",
                f"I would like to move my seat in the {course} course to next Thursday evening",
            )
        )
        answered = (
            f"How nice that you want to learn {course}! The course meets at {place} on Thursdays at seven; beginners "
            "from twelve years are welcome and everything you need is there. Shall I keep a seat for you?"
        )
        return [(self._greet(asked), answered)]

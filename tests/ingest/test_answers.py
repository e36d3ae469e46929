"""Questions of the shop's side, and what of a customer's message answers them."""

from __future__ import annotations

import pytest

from ingest.scrub.context.asked import OpenQuestions, asked
from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message

ASKED = [
    ("May I have your full name, please?", {"PERSON"}),
    ("Name?", {"PERSON"}),
    ("username and email please", {"USERNAME", "EMAIL_ADDRESS"}),
    ("Could you give me the account ID and the order number?", {"ACCOUNT_NUMBER", "ORDER_ID"}),
    ("What is your zip code and phone number?", {"ADDRESS", "PHONE_NUMBER"}),
    ("Where should we send it?", {"ADDRESS"}),
    ("The name of the product is on the box, thanks for your patience with us today.", set()),
    ("How are you today?", set()),
]
# what is asked, what is said, what is kept of it
ANSWERED = [
    ("Your full name?", "wanjiru otieno", "<PERSON_1>"),
    ("Your full name?", "sure thing! okafor, violet", "sure thing! <PERSON_1>, <PERSON_2>"),
    ("Your full name?", "its shelly tam and i am angry", "its <PERSON_1> and i am angry"),
    ("Your full name?", "thandiwe nkosi is my name", "<PERSON_1> is my name"),
    ("Your full name?", "why do you need that?", "why do you need that?"),
    ("Your full name?", "ok, one second", "ok, one second"),
    ("Your account id?", "vqcgjkwzoi", "<ACCOUNT_NUMBER_1>"),
    ("Your account id?", "it is on the card", "it is on the card"),
    ("Your username please", "jdoe771", "<USERNAME_1>"),
    ("Your username please", "Username: mel_b", "Username: <USERNAME_1>"),
    ("Order number?", "i ordered 2 of them on the 3rd for $59.99", "i ordered 2 of them on the 3rd for $59.99"),
    ("Order number?", "4417 i think", "<ORDER_ID_1> i think"),
    ("Your email?", "kay at gmail", "<EMAIL_ADDRESS_1>"),
    ("Your address?", "912 old mill lane, raleigh nc 27601", "<ADDRESS_1>"),
    ("And your first name?", "june", "<PERSON_1>"),
    ("Your full name?", "sure, harness, lily", "sure, <PERSON_1>, <PERSON_2>"),
    ("Your full name?", "yes, please", "yes, please"),
    ("And your first name?", "in june i think", "in june i think"),
    ("The last 4 digits of your phone?", "4417", "<PHONE_NUMBER_1>"),
    ("The last four digits of the card?", "its 4417", "its <CREDIT_CARD_1>"),
    ("The last four digits of the card?", "2 of them", "2 of them"),
    ("Your delivery address?", "the old school, church lane", "the old school, <ADDRESS_1>"),
    ("Zip code?", "880", "<ADDRESS_1>"),
]


@pytest.mark.parametrize(("text", "kinds"), ASKED)
def test_what_is_asked_for(text: str, kinds: set[str]) -> None:
    assert asked(text) == kinds


@pytest.mark.parametrize(("question", "answer", "kept"), ANSWERED)
def test_answers(scrubber: PresidioScrubber, question: str, answer: str, kept: str) -> None:
    made = scrubber.scrub([Message("assistant", question), Message("user", answer)])
    assert made.texts == (question, kept)


def test_a_question_stays_open_for_a_while() -> None:
    questions = OpenQuestions()
    assert questions.hear("Your username?", ours=True) == frozenset()
    assert [questions.hear("hm", ours=False) for _ in range(4)] == [{"USERNAME"}, {"USERNAME"}, {"USERNAME"}, set()]
    questions.hear("Your name?", ours=True)
    questions.hear("And your zip code?", ours=True)
    assert questions.hear("hm", ours=False) == {"PERSON", "ADDRESS"}
    questions.hear("Thank you.", ours=True)
    assert questions.hear("hm", ours=False) == {"PERSON", "ADDRESS"}
    questions.hear("Which size do you want?", ours=True)
    assert questions.hear("hm", ours=False) == frozenset()


def test_an_answer_within_one_text(scrubber: PresidioScrubber) -> None:
    made = scrubber.scrub([Message("user", "Bot: What's the name on the account? User: maja hermansen")])
    assert made.texts == ("Bot: What's the name on the account? User: <PERSON_1>",)


@pytest.mark.parametrize("said", ["About order #{}. Could you say more?", "Refund #{}: can you confirm it?"])
def test_a_placeholder_asks_for_no_more_than_what_it_stands_for(said: str) -> None:
    assert asked(said.replace("{}", "<ORDER_ID_1>")) == asked(said.replace("{}", "7130045")) == frozenset()

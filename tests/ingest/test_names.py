"""Names by lists and by the words around them; what only looks like one stays."""

from __future__ import annotations

import pytest

from ingest.scrub.scrubber import PresidioScrubber
from shoptalk.domain import Message

FOUND = [
    ("i bought it for jessica", "i bought it for <PERSON_1>"),
    ("last time crystal minh helped me", "last time <PERSON_1> helped me"),
    ("thanks wanjiku!", "thanks <PERSON_1>!"),
    ("thats all, thanks - adaeze", "thats all, thanks - <PERSON_1>"),
    ("They are Priya, Tomasz, Jennifer and Kofi.", "They are <PERSON_1>, <PERSON_2>, <PERSON_3> and <PERSON_4>."),
    ("everyone calls me okwui", "everyone calls me <PERSON_1>"),
    ("Mirela's husband wrote", "<PERSON_1>'s husband wrote"),
    ("everyone calls me zikri tavo", "everyone calls me <PERSON_1>"),
    ("it is a gift for uncle mirvold", "it is a gift for uncle <PERSON_1>"),
    ("an agent named torvik said no", "an agent named <PERSON_1> said no"),
    ("recipient: zorla tavik, ring twice", "recipient: <PERSON_1>, ring twice"),
    ("the card is registered to melika", "the card is registered to <PERSON_1>"),
    ("please ask jessica young.", "please ask <PERSON_1>."),
    ("a song of chelsea yancey", "a song of <PERSON_1>"),
    ("written by jessica m yancey", "written by <PERSON_1>"),
    ("i spoke to jessica-noor today", "i spoke to <PERSON_1> today"),
    ("my name is zorika walling", "my name is <PERSON_1>"),
    ("my name is hope", "my name is <PERSON_1>"),
    ("my name is farida otting", "my name is <PERSON_1>"),
    ("i gave it to farida", "i gave it to <PERSON_1>"),
    ("I am PRIYA SHARMA, my order is late", "I am <PERSON_1>, my order is late"),
    ("thats all, thanks! - hope", "thats all, thanks! - <PERSON_1>"),
    ("I spoke to Ogasahara about it", "I spoke to <PERSON_1> about it"),
    ("my buddy torvik has the key", "my buddy <PERSON_1> has the key"),
    ("she is my landlady, mirvold crane", "she is my landlady, <PERSON_1>"),
    ("see dr zorvik or mrs. melikana", "see dr <PERSON_1> or mrs. <PERSON_2>"),
    ("im hank and i am mad", "im <PERSON_1> and i am mad"),
    ("hi, jessica here, any news?", "hi, <PERSON_1> here, any news?"),
    ("signed by t. jessica", "signed by <PERSON_1>"),
    ("jessica b. wants it", "<PERSON_1>. wants it"),
    ("jessica, otis, ruby and me", "<PERSON_1>, <PERSON_2>, <PERSON_3> and me"),
    ("yes this is zorvik", "yes this is <PERSON_1>"),
    ("hi felicity, any news?", "hi <PERSON_1>, any news?"),
    ("i was helped by zorla pell", "i was helped by <PERSON_1>"),
]
KEPT = [
    "do you ship to canada or to Sydney?",
    "Is the Victoria Secret sale on?",
    "i want the calvin klein jacket and michael kors jeans, will they fit?",
    "my rose gold iphone, may it be grey?",
    "anything else? ok, thanks a lot!",
    "Thanks again. Great service, April sales!",
    "Price: 5. Colours: Red, Black and Green",
    "tomorow or tommorrow, i realy have not recieved any refudn",
    "the KYC form of HDFC is incomplete",
    "does kettle number 3 whistle",
    "will the rose on this mark be there",
    "is it red or navy, and is this a real person",
    "merry christmas, do you sell jasmine rice",
    "this is ridiculous, this is fine",
    "my wife wants the red one, my son likes navy",
    "im happy and i am late",
    "i have olive, ruby, jade and silver",
    "dr pepper and dr martens please",
    "this may take a week, it will not",
    "a new chance, another mark, too much faith",
    "ich habe das paket, gracias",
    "u have 5 kg or 3 k",
    "The Kindle Paperwhite and the Samsung Galaxy cost 99 each",
]


@pytest.mark.parametrize(("text", "kept"), FOUND)
def test_found(scrubber: PresidioScrubber, text: str, kept: str) -> None:
    assert scrubber.scrub([Message("user", text)]).texts == (kept,)


@pytest.mark.parametrize("text", KEPT)
def test_kept(scrubber: PresidioScrubber, text: str) -> None:
    assert scrubber.scrub([Message("user", text)]).texts == (text,)

"""Rules for accounts, cards, telephones, identity papers and passwords."""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules.rule import CODE, DIGIT, FIVE_DIGITS, IS, NO, PatternRule, words

_MONTH: Final = r"(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"

RULES: Final[tuple[PatternRule, ...]] = (
    PatternRule(
        "ACCOUNT_NUMBER",
        "called an account number",
        rf"\b(?i:account|acct|a/c|customer|client|member|membership|loyalty|user|policy|contract|card|voucher|gift\scard)"
        rf"\s{{0,2}}(?:{NO})(?!\w){IS}\K{CODE}(?!\w)",
        0.91,
        (
            ("my account number is 99-4432", "99-4432"),
            ("customer ID: C-8812", "C-8812"),
            ("membership no. gold77", "gold77"),
        ),
        ("is my account number needed?",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ACCOUNT_NUMBER",
        "of a bank",
        rf"\b(?i:sort\scode|routing|bsb|ifsc|swift|bic|bank\saccount|account)\s?(?:{NO}(?!\w))?{IS}\K"
        r"(?:[A-Z]{4}0?[A-Z0-9]{4,7}(?<=\d\w{0,7})|\d[\d-]{4,20}\d)(?!\w)",
        0.9,
        (("sort code 20-00-00 please", "20-00-00"), ("ifsc is HDFC0001234", "HDFC0001234")),
        ("swift delivery", "account since 2019", "SWIFT PAYMENT"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "CREDIT_CARD",
        "called a card number",
        r"\b(?i:card(?:\s(?:number|no\.?))?)\s?(?:(?i:is|ending(?:\s(?:in|with))?)|[:#])\s?"
        r"\K\d{4}(?:[ -]?\d{2,7}){0,4}(?!\d)",
        0.94,
        (("card ending in 4242", "4242"), ("card number: 4111 1111 1111 1112", "4111 1111 1111 1112")),
        ("card is fine",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "PHONE_NUMBER",
        "called a phone number",
        r"\b(?i:phone|mobile|cell|tel|telephone|whatsapp|contact|call\sme(?:\s(?:at|on))?|reach\sme\s(?:at|on))"
        rf"\s{{0,2}}(?:(?i:no\.?|number|num)(?!\w))?{IS}\K\+?\(?\d[\d ().-]{{4,18}}\d(?!\d)",
        0.93,
        (
            ("my phone number is 555 0199", "555 0199"),
            ("call me at 98765-43210", "98765-43210"),
            ("Tel: 020 7946 0958", "020 7946 0958"),
        ),
        ("phone 2 is broken", "call me at 5"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "PHONE_NUMBER",
        "with an extension",
        r"(?<![\w-])\+?[\d(][\d ().-]{5,22}\d\s?(?i:x|ext\.?|extension)\s?\d{1,6}(?!\w)",
        0.96,
        (("(555)645-9740x11144", "(555)645-9740x11144"), ("555-645-9740 ext. 12", "555-645-9740 ext. 12")),
        ("2 x 500 g",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "PHONE_NUMBER",
        "in words",
        r"\b(?i:(?:(?:double|triple)\s)?(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)"
        r"(?:[ ,-]{1,2}|\b)){7,20}",
        0.8,
        (("nine eight seven six five four three two", "nine eight seven six five four three two"),),
        ("one two three go",),
        needs=(words("zero oh one two three four five six seven eight nine"),),
    ),
    PatternRule(
        "ID_NUMBER",
        "social security",
        r"(?<![\w-])(?<!\d )\d{3}[- ]\d{2}[- ]\d{4}(?![\w-]| \d)",
        0.95,
        (("SSN 460-89-9847", "460-89-9847"),),
        ("2024-01-15",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ID_NUMBER",
        "tax and identity cards",
        r"(?<![\w-])(?<!\d )(?:[A-Z]{5}\d{4}[A-Z]|\d{4} \d{4} \d{4}|[A-Z]{2}\d{6}[A-D])(?![\w-]| \d)",
        0.9,
        (("PAN ABCDE1234F", "ABCDE1234F"), ("aadhaar 1234 5678 9012", "1234 5678 9012")),
        ("SKU ABC-12",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ID_NUMBER",
        "called an identity number",
        r"\b(?i:passport|licen[cs]e(?:\splate)?|(?:number\s)?plate|ssn|social\ssecurity|aadhaa?r|pan|national\sid|tax\sid|vat|"
        rf"serial|imei|vin)\s{{0,2}}(?:{NO}(?!\w))?"
        rf"{IS}\K{CODE}(?!\w)",
        0.92,
        (
            ("passport number: K1234567", "K1234567"),
            ("driver's license is D-4411-22", "D-4411-22"),
            ("license plate 7abc123", "7abc123"),
            ("serial no sn-8841-kk", "sn-8841-kk"),
        ),
        ("my passport number changed", "the plate is broken"),
        needs=(
            DIGIT,
            words("passport license licence plate ssn social aadhaar aadhar pan national tax vat serial imei vin"),
        ),
    ),
    PatternRule(
        "CARD_EXPIRY",
        "called the end of a card",
        r"\b(?i:exp(?:iry|ires|iration)?|valid\s(?:thru|until|till))(?!\w)(?:\s(?i:date|on))?(?:\s(?i:is))?\s?[:.]?\s?"
        r"\K(?:0?[1-9]|1[0-2])\s?[/-]\s?(?:20)?\d\d(?![\d/-])",
        0.9,
        (("exp 09/27 on it", "09/27"), ("expires: 4/2031", "4/2031")),
        ("the offer expires 09/27/2026", "exp date is wrong"),
        needs=(DIGIT, words("exp expiry expires expiration valid")),
    ),
    PatternRule(
        "DATE_OF_BIRTH",
        "called a date of birth",
        rf"\b(?i:d\.?o\.?b\.?|date\sof\sbirth|birth\s?da(?:te|y)|born(?:\son)?)(?!\w)(?i:\s(?:is|was))?\s?[:=-]?\s?\K"
        rf"(?:\d{{1,4}}[/. -]\d{{1,2}}[/. -]\d{{2,4}}|{_MONTH}\s\d{{1,2}}(?i:st|nd|rd|th)?,?\s\d{{4}}"
        rf"|\d{{1,2}}(?i:st|nd|rd|th)?(?i:\sof)?\s{_MONTH},?\s\d{{4}})(?!\w)",
        0.95,
        (
            ("dob 14/03/1987", "14/03/1987"),
            ("I was born on 3rd of May 1990", "3rd of May 1990"),
            ("date of birth: June 2, 1971", "June 2, 1971"),
        ),
        ("her birthday is on 3 May", "a present for his birthday 2024"),
        needs=(DIGIT, words("dob d birth birthday birthdate born")),
    ),
    PatternRule(
        "PASSWORD",
        "called a password",
        r"\b(?i:password|passcode|passwd|pwd|pass\s?phrase)(?!\w)(?:\s?(?:(?i:is|was)\b|[:=])\s?|\s(?=\S{0,40}\d))\K"
        r"(?!(?i:not|now|the|wrong|incorrect|correct|expired|still|too|a|also|my|required|needed|invalid|so|going|being)\b)[^\s<>\x00]{4,64}(?<![.,;:!?)])",
        0.97,
        (
            ("my password is Tr0ub4dor&3.", "Tr0ub4dor&3"),
            ("pwd: hunter2", "hunter2"),
            ("password hunter22 fails", "hunter22"),
        ),
        ("my password is wrong", "reset my password please", "the password was not accepted"),
        needs=(words("password passcode passwd pwd pass passphrase"),),
    ),
    PatternRule(
        "PASSWORD",
        "called a code of safety",
        rf"\b(?i:pin(?!\s?code)|cvv2?|cvc|otp|(?:security|verification|access|one[\s-]time)\s(?:code|pin))(?!\w)(?:\s?{NO}(?!\w))?{IS}\K\d{{3,8}}(?!\w)",
        0.95,
        (("cvv 913", "913"), ("the pin is 8812", "8812"), ("verification code: 771204", "771204")),
        ("pin 2 is bent", "an otp was sent"),
        needs=(words("pin cvv cvv2 cvc otp security verification access one"),),
    ),
    PatternRule(
        "NUMBER",
        "code with five digits",
        r"(?<![\w-])(?=[\w-]{0,40}\d{5})(?=[\w-]{0,40}[A-Za-z])(?!\d[\d-]*-[A-Za-z]{3,}(?!\w))"
        r"[A-Za-z0-9][\w-]{4,40}(?<=\w)",
        0.55,
        (("it says QX88120B on it", "QX88120B"), ("ref zz-12345-y", "zz-12345-y")),
        ("iPhone-15 and WH-1000",),
        needs=(FIVE_DIGITS,),
    ),
)

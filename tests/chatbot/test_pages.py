"""The pages through HTTP, without a browser: who gets in, what is sent, and that text stays text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from chatbot.api.auth import CONSOLE_COOKIE, COOKIE, console_session
from chatbot.api.services import Services
from chatbot.console import words
from chatbot.console.assets import FILES
from chatbot.console.dashboard import MOVES, ROUND_MOVES, offers_of
from chatbot.console.drawing import bars, sparkline
from chatbot.engine.null import NullEngine
from chatbot.keys import create_key
from chatbot.release.moves import ReleaseMoves
from shoptalk.app.api import build_api
from shoptalk.domain import ReleaseState, Scope
from shoptalk.models.registry import Registry
from shoptalk.moves import RELEASE_MOVES_BY_HAND
from shoptalk.rounds import control
from shoptalk.settings import Settings
from shoptalk.store import Store, rounds
from shoptalk.store.chat import keys, releases
from shoptalk.store.ingest import inbox
from tests.chatbot.pages_world import HOSTILE, fill, fill_with_hostile_text
from tests.clocks import now

pytestmark = pytest.mark.slow

HERE = "http://testserver"
OURS = {"Origin": HERE}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """One application for all; building the scrubber takes seconds."""
    home = tmp_path_factory.mktemp("home")
    app = build_api(Settings(home=home, engine="null", shop_name="Tea & <Co>"), NullEngine())
    with TestClient(app):
        yield app


@pytest.fixture
def services(app: FastAPI, tmp_path: Path) -> Iterator[Services]:
    """The application on an empty store of the test's own (chat and feedback still go to the shared one)."""
    shared: Services = app.state.services
    store = Store(f"sqlite:///{tmp_path / 'own.db'}")
    store.migrate()
    moves = ReleaseMoves(store, Registry(store, shared.artifacts))
    app.state.services = dataclasses.replace(shared, store=store, releases=moves)
    yield app.state.services
    app.state.services = shared
    store.close()


@pytest.fixture
def client(app: FastAPI, services: Services) -> TestClient:
    return TestClient(app, follow_redirects=False)


def sign_in(client: TestClient, services: Services, *scopes: Scope) -> str:
    """Sign in with a new key; returns its id."""
    key, secret = create_key(services.store, "tester", scopes or (Scope.READ,))
    answer = client.post("/console/login", data={"key": secret}, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    return key.id


class TestChatPage:
    def test_gives_a_visitor_a_cookie_that_scripts_and_other_sites_cannot_use(self, client: TestClient) -> None:
        flags = client.get("/").headers["set-cookie"].lower()
        assert flags.startswith(f"{COOKIE}=")
        assert "httponly" in flags
        assert "samesite=strict" in flags
        assert "path=/;" in flags
        assert "secure" not in flags

    def test_the_cookie_is_secure_over_https(self, app: FastAPI, services: Services) -> None:
        flags = TestClient(app, base_url="https://testserver").get("/").headers["set-cookie"]
        assert "Secure" in flags

    def test_keeps_a_valid_cookie_and_replaces_a_wrong_one(self, app: FastAPI, client: TestClient) -> None:
        client.get("/")
        assert "set-cookie" not in client.get("/").headers
        assert "set-cookie" in TestClient(app, cookies={COOKIE: "forged"}).get("/").headers

    def test_a_console_session_is_no_visitor(self, app: FastAPI, services: Services) -> None:
        key, _ = create_key(services.store, "k", [Scope.READ])
        cookies = {COOKIE: console_session(services, key.id)}
        assert "set-cookie" in TestClient(app, cookies=cookies).get("/").headers

    def test_names_the_shop_escaped_and_the_model(self, client: TestClient) -> None:
        html = client.get("/").text
        assert "Tea &amp; &lt;Co&gt;" in html
        assert 'data-model="shop"' in html

    def test_can_be_switched_off(self, app: FastAPI, services: Services, client: TestClient) -> None:
        settings = Settings(home=services.settings.home, web_chat=False)
        app.state.services = dataclasses.replace(services, settings=settings)
        answer = client.get("/")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")

    def test_the_cookie_may_chat_and_rate_from_our_own_page_only(self, app: FastAPI) -> None:
        visitor = TestClient(app)
        visitor.get("/")
        body = {"model": "shop", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        assert visitor.post("/v1/chat/completions", json=body).status_code == 401
        evil = {"Origin": "https://evil.example"}
        assert visitor.post("/v1/chat/completions", json=body, headers=evil).status_code == 401
        answer = visitor.post("/v1/chat/completions", json=body, headers=OURS)
        assert "data: [DONE]" in answer.text
        store: Store = app.state.services.store
        with store.read() as conn:
            before = inbox.count(conn)
        rating = {"inference_id": answer.headers["x-inference-id"], "metric": "thumbs", "value": 0}
        assert visitor.post("/v1/feedback", json=rating, headers=OURS).status_code == 201
        with store.read() as conn:
            assert inbox.count(conn) == before + 1


class TestHeaders:
    def test_pages_run_only_our_own_files_and_cannot_be_framed(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        for address in ("/", "/console/login", "/console", "/console/live", "/docs"):
            policy = client.get(address).headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert client.get(address).headers["x-content-type-options"] == "nosniff"

    def test_no_page_has_inline_script_or_style_or_another_host(self, client: TestClient, services: Services) -> None:
        fill(services.store)
        sign_in(client, services, Scope.ADMIN)
        for address in ("/", "/console", "/docs"):
            html = client.get(address).text
            assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", html)
            linked = re.findall(r'(?:src|href|action)="([^"]+)"', html)
            assert {a for a in linked if not a.startswith(("/", "#"))} <= {services.settings.label_studio_url}

    @pytest.mark.parametrize("name", FILES)
    def test_every_file_is_served_and_known_again(self, client: TestClient, name: str) -> None:
        first = client.get(f"/static/{name}")
        assert first.status_code == 200
        assert first.headers["content-type"] == FILES[name][1]
        again = client.get(f"/static/{name}", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304

    @pytest.mark.parametrize("name", ["nothing.js", "..%2Fpages.py", "%2e%2e/pages.py", "icon.xml"])
    def test_no_other_file_is(self, client: TestClient, name: str) -> None:
        assert client.get(f"/static/{name}").status_code == 404

    def test_scripts_write_text_never_markup(self) -> None:
        folder = Path(words.__file__).parent / "static"
        for script in folder.glob("*.js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", script.read_text())


class TestSigningIn:
    def test_a_key_with_read_opens_the_console(self, client: TestClient, services: Services) -> None:
        assert client.get("/console").headers["location"] == "/console/login"
        assert 'type="password"' in client.get("/console/login").text
        sign_in(client, services)
        assert client.get("/console").status_code == 200
        assert client.get("/console/login").headers["location"] == "/console"

    def test_the_cookie_cannot_be_read_by_scripts_or_ridden_on(self, client: TestClient, services: Services) -> None:
        _, secret = create_key(services.store, "k", [Scope.READ])
        answer = client.post("/console/login", data={"key": f" {secret} "}, headers=OURS)
        flags = answer.headers["set-cookie"].lower()
        assert secret.lower() not in flags
        for flag in ("httponly", "samesite=strict", "path=/", "max-age="):
            assert flag in flags

    @pytest.mark.parametrize("wrong", ["", "sk-shoptalk-no", "ü" * 50, HOSTILE])
    def test_a_wrong_key_is_refused_and_not_repeated(self, client: TestClient, wrong: str) -> None:
        answer = client.post("/console/login", data={"key": wrong}, headers=OURS)
        assert answer.status_code == 401
        assert "not known here" in answer.text
        assert "set-cookie" not in answer.headers
        assert not wrong or wrong not in unescape(answer.text)

    def test_a_key_without_read_is_refused(self, client: TestClient, services: Services) -> None:
        _, secret = create_key(services.store, "k", [Scope.CHAT])
        answer = client.post("/console/login", data={"key": secret}, headers=OURS)
        assert answer.status_code == 403
        assert "scope" in answer.text
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://testserver.evil.example"])
    def test_other_sites_cannot_sign_anyone_in_or_out(
        self, client: TestClient, services: Services, origin: str | None
    ) -> None:
        _, secret = create_key(services.store, "k", [Scope.READ])
        headers = {"Origin": origin} if origin else {}
        for address in ("/console/login", "/console/logout"):
            answer = client.post(address, data={"key": secret}, headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers

    def test_odd_forms_are_bad_input(self, client: TestClient) -> None:
        headers = {**OURS, "Content-Type": "application/x-www-form-urlencoded"}
        for content in (b"\xff\xfe", b"a=1&" * 9000, b"&".join([b"a=1"] * 99)):
            assert client.post("/console/login", content=content, headers=headers).status_code == 400
        assert client.post("/console/login", json={"key": "k"}, headers=OURS).status_code == 400

    def test_signing_out_forgets_the_session(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        assert client.post("/console/logout", headers=OURS, data={"x": ""}).headers["location"] == "/console/login"
        assert client.get("/console").status_code == 303

    def test_signing_out_sends_no_field(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        headers = {**OURS, "Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/console/logout", headers=headers, content=b"").status_code == 303

    def test_a_revoked_key_ends_its_sessions(self, client: TestClient, services: Services) -> None:
        key = sign_in(client, services)
        with services.store.write() as conn:
            keys.revoke(conn, key)
        assert client.get("/console").status_code == 303
        assert client.get("/console/live").status_code == 401

    def test_a_session_runs_out(self, client: TestClient, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        sign_in(client, services)
        later = now().timestamp() + 13 * 3600
        monkeypatch.setattr("shoptalk.clock.MachineTime.unix", lambda _: later)
        assert client.get("/console").status_code == 303

    def test_a_visitor_is_nobody_here(self, app: FastAPI, client: TestClient) -> None:
        client.get("/")
        cookies = {CONSOLE_COOKIE: client.cookies[COOKIE]}
        assert TestClient(app, cookies=cookies, follow_redirects=False).get("/console").status_code == 303


class TestConsole:
    def test_says_what_to_do_first(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        html = client.get("/console").text
        for hint in (
            "shoptalk ingest FILE",
            "shoptalk round start",
            "shoptalk train",
            "No release yet",
            "No check yet",
        ):
            assert hint in html
        assert "shop@v0" in html

    def test_shows_what_there_is(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        sign_in(client, services)
        html = unescape(client.get("/console").text)
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
        for shown in (
            "31 of 48 steps", "ORDER_ID", "shop@v3", "2 of 40 safety probes fail", "only 21 holdout examples",
            "the second scan found PERSON", "the gate said promote", "messages drifted", "not a number", "corrected",
            "Drift in customers' messages",
        ):  # fmt: skip
            assert shown in text
        assert f"/v1/reports/{ids['report']}" in html
        assert html.count("<circle") == 15
        assert html.count('class="below"') == 2

    def test_the_live_part_is_the_pages_own(self, client: TestClient, services: Services) -> None:
        fill(services.store)
        sign_in(client, services)
        fragment = client.get("/console/live").text
        assert fragment.strip().startswith('<div id="live">')
        assert client.get("/console").text.count('<div id="live">') == 1

    def test_says_where_an_api_lags_behind(self, client: TestClient, services: Services) -> None:
        fill(services.store)
        with services.store.write() as conn:
            releases.set_observed(conn, "api_1", "shop", "shop@v1", "adapter shop@v2 was altered")
        sign_in(client, services)
        html = client.get("/console").text
        assert "not everywhere yet" in html
        assert "adapter shop@v2 was altered" in html

    def test_hostile_text_stays_text(self, client: TestClient, services: Services) -> None:
        fill_with_hostile_text(services.store)
        sign_in(client, services, Scope.ADMIN)
        pages = [client.get("/console").text]
        address = f"/console/releases/{quote(f'rel_{HOSTILE}', safe='')}/rollback"
        if (asked := client.get(address)).status_code == 200:
            pages.append(asked.text)
        for html in pages:
            assert "<script>alert" not in html
            assert "<img" not in html
            assert "{{7*7}}" in html
            assert not re.search(r"<[^>]*onerror=[^>]*>", re.sub(r'"[^"]*"', '""', html))
        text = unescape(pages[0])
        for field in (
            "reason", "problem", "actor", "why", "observed", "trigger", "stuck", "title", "quarantined", "left",
        ):  # fmt: skip
            assert f"{field} {HOSTILE}" in text, field

    def test_reports_open_with_the_consoles_session(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        assert client.get(f"/v1/reports/{ids['report']}").status_code == 401
        sign_in(client, services)
        assert client.get("/v1/reports").json()["data"][0]["id"] == ids["report"]


class TestMoves:
    def test_a_reader_is_offered_none_and_can_make_none(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.READ)
        assert "/console/releases/" not in client.get("/console").text
        address = f"/console/releases/{ids['live']}/rollback"
        assert client.get(address).status_code == 403
        assert client.post(address, headers=OURS, data={"reason": "x"}).status_code == 403
        assert state(services, ids["live"]) is ReleaseState.LIVE

    def test_roll_back_asks_then_acts_and_reports(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        key = sign_in(client, services, Scope.READ, Scope.RELEASE)
        address = f"/console/releases/{ids['live']}/rollback"
        assert f'action="{address}"' in client.get("/console").text
        asked = client.get(address).text
        assert "Roll back shop@v2?" in asked
        assert "goes back to shop@v1" in asked
        answer = client.post(address, headers=OURS, data={"reason": "it invents <refunds>"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console?moved=rollback")
        assert state(services, ids["live"]) is ReleaseState.ROLLED_BACK
        with services.store.read() as conn:
            desired, event = releases.desired_of(conn, "shop"), releases.events(conn, release_id=ids["live"])[0]
        assert desired is not None
        assert desired.adapter == "shop@v1"
        assert (event.actor, event.reason) == (key, "it invents <refunds>")
        html = client.get(answer.headers["location"]).text
        assert "Rolled back." in html
        assert "by tester" in html
        assert "it invents &lt;refunds&gt;" in html

    @pytest.mark.parametrize(("move", "after"), [("promote", ReleaseState.LIVE), ("abort", ReleaseState.ABORTED)])
    def test_pending_releases_can_be_decided(
        self, client: TestClient, services: Services, move: str, after: ReleaseState
    ) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.ADMIN)
        answer = client.post(f"/console/releases/{ids['pending']}/{move}", headers=OURS, data={"reason": ""})
        assert answer.status_code == 303
        assert state(services, ids["pending"]) is after

    def test_an_illegal_move_says_why(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.ADMIN)
        answer = client.post(f"/console/releases/{ids['live']}/promote", headers=OURS, data={"reason": ""})
        assert answer.status_code == 409
        assert "it is live" in answer.text
        assert 'role="alert"' in answer.text

    def test_unknown_releases_and_moves_are_404(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.ADMIN)
        for address in ("/console/releases/rel_none/rollback", f"/console/releases/{ids['live']}/explode"):
            assert client.get(address).status_code == 404
            assert client.post(address, headers=OURS, data={"reason": ""}).status_code == 404

    def test_a_round_can_be_cancelled_and_its_learning_hurried(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.READ)
        assert "/console/rounds/" not in client.get("/console").text
        address = f"/console/rounds/{ids['round']}"
        assert client.post(f"{address}/cancel", headers=OURS, data={"reason": ""}).status_code == 403
        sign_in(client, services, Scope.READ, Scope.RELEASE)
        html = client.get("/console").text
        assert f'action="{address}/cancel"' in html
        assert "learn-now" not in html  # it does not wait for labels
        with services.store.write() as conn:
            rounds.move(conn, ids["round"], "wait", "labels")
        assert f'action="{address}/learn-now"' in client.get("/console").text
        assert "waits for no more labels" in client.get(f"{address}/learn-now").text
        hurried = client.post(f"{address}/learn-now", headers=OURS, data={"reason": ""})
        assert hurried.headers["location"] == "/console?moved=learn-now"
        html = client.get("/console?moved=learn-now").text
        assert "The round goes on within a minute." in html
        assert f'action="{address}/learn-now"' not in html
        assert client.post(f"{address}/cancel", headers=OURS, data={"reason": ""}).status_code == 303
        with services.store.read() as conn:
            found = rounds.find(conn, ids["round"])
        assert found is not None
        assert found.state == "cancelled"
        assert client.post(f"{address}/cancel", headers=OURS, data={"reason": ""}).status_code == 409
        assert client.post("/console/rounds/rnd_none/cancel", headers=OURS, data={"reason": ""}).status_code == 404
        assert client.get(f"{address}/explode").status_code == 404

    def test_rounds_over_http(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        _, secret = create_key(services.store, "engineer", [Scope.READ, Scope.RELEASE])
        _, other = create_key(services.store, "reader", [Scope.READ])
        may, reads = ({"Authorization": f"Bearer {key}"} for key in (secret, other))
        [newest, *_] = client.get("/v1/rounds", headers=reads).json()["data"]
        assert newest["id"] == ids["round"]
        shown = client.get(f"/v1/rounds/{ids['round']}", headers=reads).json()
        assert (shown["round"]["state"], shown["triggers"][0]["kind"]) == ("running", "drift")
        assert set(shown["steps"]) >= {"sample", "labels"}
        assert client.get("/v1/rounds/rnd_none", headers=reads).status_code == 404
        assert client.post("/v1/rounds", headers=reads, json={"reason": "new prices"}).status_code == 403
        asked = client.post("/v1/rounds", headers=may, json={"reason": "new prices"})
        assert (asked.status_code, asked.json()["kind"]) == (201, "person")
        moved = client.post(f"/v1/rounds/{ids['round']}/learn-now", headers=may)
        assert (moved.status_code, moved.json()["learn_now"]) == (200, True)
        assert client.post(f"/v1/rounds/{ids['round']}/cancel", headers=reads).status_code == 403
        assert client.post(f"/v1/rounds/{ids['round']}/cancel", headers=may).json()["state"] == "cancelled"
        assert client.post(f"/v1/rounds/{ids['round']}/cancel", headers=may).status_code == 409
        wrong = client.post(f"/v1/rounds/{ids['round']}/explode", headers=may)
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "move")

    @pytest.mark.parametrize("origin", [None, "null", "https://evil.example"])
    def test_other_sites_cannot_move_anything(self, client: TestClient, services: Services, origin: str | None) -> None:
        ids = fill(services.store)
        sign_in(client, services, Scope.ADMIN)
        headers = {"Origin": origin} if origin else {}
        address = f"/console/releases/{ids['live']}/rollback"
        assert client.post(address, headers=headers, data={"reason": ""}).status_code == 403
        assert state(services, ids["live"]) is ReleaseState.LIVE

    def test_nobody_unsigned_moves_anything(self, client: TestClient, services: Services) -> None:
        ids = fill(services.store)
        address = f"/console/releases/{ids['live']}/rollback"
        assert client.post(address, headers=OURS, data={"reason": ""}).headers["location"] == "/console/login"
        assert state(services, ids["live"]) is ReleaseState.LIVE

    def test_a_notice_is_one_of_ours(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        assert HOSTILE not in unescape(client.get("/console", params={"moved": HOSTILE}).text)

    def test_every_move_has_its_words_and_buttons_follow_the_state(self, services: Services) -> None:
        assert set(MOVES) == set(RELEASE_MOVES_BY_HAND)
        assert set(ROUND_MOVES) == set(control.MOVES)
        ids = fill(services.store)
        with services.store.read() as conn:
            pending, live = releases.find(conn, ids["pending"]), releases.find(conn, ids["live"])
        assert pending is not None
        assert live is not None
        assert [offer.label for offer in offers_of(pending)] == ["Promote", "Abort"]
        assert [offer.label for offer in offers_of(live)] == ["Roll back"]
        assert offers_of(dataclasses.replace(live, state=ReleaseState.ROLLED_BACK)) == []


class TestApiDocs:
    @pytest.mark.parametrize("address", ["/docs", "/openapi.json"])
    def test_any_key_or_a_console_session_opens_them(
        self, client: TestClient, services: Services, address: str
    ) -> None:
        _, secret = create_key(services.store, "k", [Scope.FEEDBACK])
        assert client.get(address, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        sign_in(client, services)
        assert client.get(address).status_code == 200

    @pytest.mark.parametrize("address", ["/docs", "/openapi.json"])
    def test_nobody_else_sees_them(self, client: TestClient, address: str) -> None:
        client.get("/")  # a visitor of the chat page is no holder of a key
        for headers in ({}, {"Authorization": "Bearer sk-shoptalk-no"}):
            answer = client.get(address, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")

    def test_the_page_lists_every_operation_and_model_and_the_schema_is_the_apps(
        self, app: FastAPI, client: TestClient, services: Services
    ) -> None:
        sign_in(client, services)
        schema = client.get("/openapi.json").json()
        assert schema == app.openapi()
        html = unescape(client.get("/docs").text)
        for path, methods in schema["paths"].items():
            for method, operation in methods.items():
                assert f"{method.upper()} {path}" in html
                assert f'id="{operation["operationId"]}"' in html
        for model in schema["components"]["schemas"]:
            assert f'id="model-{model}"' in html
        linked = set(re.findall(r'href="#([^"]+)"', html))
        assert linked <= set(re.findall(r'id="([^"]+)"', html))
        assert "scope release" in html
        assert "<script" not in html

    def test_the_console_links_to_them(self, client: TestClient, services: Services) -> None:
        sign_in(client, services)
        assert 'href="/docs"' in client.get("/console").text


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(0, "just now"), (-5, "just now"), (12, "12 s ago"), (61, "1 min ago"), (7200, "2 h ago"),
         (86400, "1 day ago"), (200000, "2 days ago")],
    )  # fmt: skip
    def test_ago(self, seconds: int, said: str) -> None:
        at = now()
        assert words.ago(at, type(at).fromtimestamp(at.timestamp() + seconds, at.tzinfo)) == said

    def test_numbers(self) -> None:
        assert [words.number(v) for v in (0, 12345, 0.8131, 2.5, 4.0)] == ["0", "12,345", "0.813", "2.5", "4"]
        assert [words.small(v) for v in (0.34, 0.0021, 3e-7, 0)] == ["0.34", "0.0021", "3e-07", "0"]
        assert [words.size(v) for v in (900, 9_800_000, 3_000_000_000)] == ["900 B", "9.8 MB", "3 GB"]

    def test_bars_are_longest_first(self) -> None:
        assert [(b.name, b.share) for b in bars({"b": 1, "a": 4, "c": 1})] == [("a", 1.0), ("b", 0.25), ("c", 0.25)]
        assert bars({}) == []

    @pytest.mark.parametrize("values", [[0.5], [1.0, 1e-300, 0.0], [0.2] * 60])
    def test_every_point_is_inside_the_drawing(self, values: list[float]) -> None:
        line = sparkline(values, 0.0017)
        assert all(0 <= p.x <= line.width and 0 <= p.y <= line.height for p in line.points)
        assert 0 < line.trigger_y < line.height
        assert [p.below for p in line.points] == [v < 0.0017 for v in values]


def state(services: Services, release_id: str) -> ReleaseState:
    with services.store.read() as conn:
        found = releases.find(conn, release_id)
    assert found is not None
    return found.state

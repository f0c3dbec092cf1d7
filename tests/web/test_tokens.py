"""A hub that asks for tokens: every route does, the page is signed in to once, and what was done leaves a line."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import websockets
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount, Route

from labretto.access.gate import Gate
from labretto.access.tokens import Tokens
from labretto.access.trail import Trail, read_trail
from labretto.catalog.live import Changes
from labretto.network.http import bound, run_app
from labretto.orchestrator.api import record_routes, run_routes
from labretto.orchestrator.heritage import helao_routes
from labretto.orchestrator.instruments import instrument_routes
from labretto.orchestrator.queue_api import queue_routes
from labretto.web import live
from labretto.web.app import build
from labretto.web.guard import COOKIE, HUB

from .conftest import routes


@dataclass
class Guarded:
    """A hub's application that asks for tokens."""

    url: str
    folder: Path
    tokens: dict[str, str]
    changes: Changes

    @contextlib.asynccontextmanager
    async def seen_by(self, role: str | None = None, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
        shown = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        async with httpx2.AsyncClient(base_url=self.url, headers=shown | headers) as client:
            yield client

    @contextlib.asynccontextmanager
    async def browser(self, role: str) -> AsyncIterator[httpx2.AsyncClient]:
        """One that has signed in."""
        headers = {"Origin": self.url, "Sec-Fetch-Site": "same-origin"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers) as client:
            answer = await client.post("/session", json={"token": self.tokens[role]})
            assert answer.status_code == 204, answer.text
            yield client

    def acts(self) -> list[dict[str, Any]]:
        return read_trail(self.folder)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    tokens = {role: Tokens(tmp_path).create(f"{role}'s", role, 1)[0] for role in ("observer", "operator", "admin")}
    gate, changes = Gate("bench", Tokens(tmp_path), Trail(tmp_path)), Changes()
    app = build(routers=[routes()], changes=changes, lab="bench", bound="0.0.0.0", gate=gate)
    listening = bound("http://0.0.0.0:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with run_app(app, listening, websockets=True):
        yield Guarded(url, tmp_path, tokens, changes)
        changes.close()


# Programs -----------------------------------------------------------------------------------------------------------


async def test_without_a_token_nothing_is_told(guarded: Guarded) -> None:
    async with guarded.seen_by() as stranger:
        answers = [await stranger.get(path) for path in ("/api/lab", "/docs", "/openapi.json", "/nowhere")]

    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="labretto"'}
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert "LABRETTO_TOKEN" in answers[0].json()["way_out"]


async def test_a_token_says_who_asks_and_its_role_what_they_may(guarded: Guarded) -> None:
    async with guarded.seen_by("observer") as ada, guarded.seen_by("operator") as bo:
        looked = await ada.get("/api/lab")
        refused = await ada.post("/api/things", json={"x": 1})
        done = await bo.post("/api/things", json={"x": 1, "password": "hush"})

    assert (looked.status_code, refused.status_code, done.status_code) == (200, 403, 200)
    assert "takes operator" in refused.json()["detail"]
    assert looked.json()["who"] == {"name": "observer's", "role": "observer"}
    assert [(line["who"], line["what"], line["outcome"]) for line in guarded.acts()] == [
        ("observer's", "POST /api/things", "403"),
        ("operator's", "POST /api/things", "200"),
    ]
    assert guarded.acts()[1]["parameters"] == {"x": 1, "password": "…"}


async def test_what_is_very_large_leaves_only_its_size_in_the_trail(guarded: Guarded) -> None:
    async with guarded.seen_by("operator") as bo:
        await bo.post("/api/things", json={"x": "y" * 100_000})
        await bo.post("/api/things", content=b"{", headers={"Content-Type": "application/json"})

    assert ["omitted" in line["parameters"] for line in guarded.acts()] == [True, True]


async def test_no_other_site_is_told_anything(guarded: Guarded) -> None:
    """No CORS header is ever sent, and a preflight from elsewhere is refused."""
    async with guarded.seen_by("admin", Origin="https://evil.example") as page:
        answers = [await page.request(method, "/api/lab") for method in ("GET", "OPTIONS")]

    assert {answer.status_code for answer in answers} == {403}
    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]


async def test_configured_names_are_answered_and_no_others(tmp_path: Path) -> None:
    Tokens(tmp_path).create("ada", "admin", 1)
    gate = Gate("bench", Tokens(tmp_path), names=frozenset({"lab.example.org"}))
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(build(routers=[], changes=Changes(), gate=gate)))

    assert (await client.get("http://lab.example.org/")).status_code == 200
    assert (await client.get("http://other.example.org/")).status_code == 403


async def test_an_open_hub_still_says_who_did_what(tmp_path: Path) -> None:
    """On the loopback nobody shows a token; the name is what they said."""
    app = build(routers=[routes()], changes=Changes(), gate=Gate("bench", None, Trail(tmp_path)))
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost")

    assert (await client.post("/api/things", json={}, headers={"Labretto-Actor": "ada"})).status_code == 200
    assert (await client.get("/api/lab")).status_code == 200
    (line,) = read_trail(tmp_path)
    assert (line["who"], line["on_behalf_of"], line["outcome"]) == ("someone on this machine", "ada", "200")


# The page -----------------------------------------------------------------------------------------------------------


async def test_who_is_not_signed_in_sees_where_to_sign_in(guarded: Guarded) -> None:
    async with guarded.seen_by() as stranger:
        page = await stranger.get("/")
        script = await stranger.get("/static/sign-in.js")

    assert (page.status_code, script.status_code) == (200, 200)
    assert 'id="sign-in"' in page.text
    assert "app.js" not in page.text
    assert page.headers["cache-control"] == "no-store"


async def test_a_token_becomes_a_cookie_that_no_script_and_no_other_site_can_use(guarded: Guarded) -> None:
    async with guarded.seen_by() as stranger:
        answer = await stranger.post("/session", json={"token": guarded.tokens["operator"]})
    cookie = answer.headers["set-cookie"]

    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert int(re.findall(r"Max-Age=(\d+)", cookie)[0]) <= 24 * 3600
    assert guarded.tokens["operator"] not in cookie
    assert guarded.acts()[0]["what"] == "signed in to the page"
    assert not any(token in json.dumps(guarded.acts()) for token in guarded.tokens.values())


async def test_a_page_that_came_encrypted_keeps_its_cookie_encrypted(guarded: Guarded) -> None:
    host = guarded.url.removeprefix("http://")
    async with guarded.seen_by(Origin=f"https://{host}") as behind_a_proxy:
        answer = await behind_a_proxy.post("/session", json={"token": guarded.tokens["observer"]})

    assert "; Secure" in answer.headers["set-cookie"]


async def test_who_is_signed_in_sees_the_page_and_acts_by_the_role(guarded: Guarded) -> None:
    async with guarded.browser("operator") as bo, guarded.browser("observer") as ada:
        assert "app.js" in (await bo.get("/")).text
        assert (await bo.post("/api/things", json={})).status_code == 200
        assert (await ada.post("/api/things", json={})).status_code == 403


@pytest.mark.parametrize("token", ["labretto_guessed", "", "x" * 300, "labretto_ü"])
async def test_what_is_no_token_signs_nobody_in(guarded: Guarded, token: str) -> None:
    async with guarded.seen_by() as stranger:
        answer = await stranger.post("/session", json={"token": token})

    assert answer.status_code in (401, 422)
    assert "set-cookie" not in answer.headers


async def test_guessing_on_the_page_is_slowed_down(guarded: Guarded) -> None:
    async with guarded.seen_by() as stranger:
        answers = [await stranger.post("/session", json={"token": f"labretto_{n}"}) for n in range(30)]

    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_a_session_acts_only_from_the_labs_own_page(guarded: Guarded) -> None:
    """SameSite keeps the cookie from other sites, the Origin from other ports of this machine."""
    async with guarded.browser("operator") as bo:
        for headers in ({"Origin": "http://127.0.0.1:9"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
            assert (await bo.post("/api/things", json={}, headers=headers)).status_code == 403
        del bo.headers["origin"], bo.headers["sec-fetch-site"]
        assert (await bo.post("/api/things", json={})).status_code == 403
        assert (await bo.get("/api/lab")).status_code == 200


async def test_a_cookie_that_was_changed_or_outlives_its_token_is_none(guarded: Guarded) -> None:
    async with guarded.browser("operator") as bo:
        cookie = str(bo.cookies[COOKIE])
        async with guarded.seen_by(Cookie=f"{COOKIE}={cookie[:-1]}x") as forger:
            assert (await forger.get("/api/lab")).status_code == 401
        Tokens(guarded.folder).revoke("operator's")

        assert (await bo.get("/api/lab")).status_code == 401
        assert 'id="sign-in"' in (await bo.get("/")).text


async def test_signing_out_takes_the_cookie_back(guarded: Guarded) -> None:
    async with guarded.browser("operator") as bo:
        assert (await bo.delete("/session")).status_code == 204

        assert (await bo.get("/api/lab")).status_code == 401


# The WebSocket ------------------------------------------------------------------------------------------------------


async def test_live_changes_are_for_those_who_may_look(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT", 0.05)
    address = guarded.url.replace("http", "ws") + "/live"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await websockets.connect(address)
    assert refused.value.response.status_code == 401

    shown = {"Authorization": f"Bearer {guarded.tokens['observer']}"}
    async with websockets.connect(address, additional_headers=shown) as socket:
        assert "sequence" in json.loads(await socket.recv())
    async with guarded.browser("observer") as ada:
        cookie = {"Cookie": f"{COOKIE}={ada.cookies[COOKIE]}"}
    async with websockets.connect(address, additional_headers=cookie) as socket:
        assert "sequence" in json.loads(await socket.recv())
        Tokens(guarded.folder).revoke("observer's")
        async with asyncio.timeout(20):
            await socket.wait_closed()
    assert socket.close_code == 4401


# Every route --------------------------------------------------------------------------------------------------------


def routes_of(app: FastAPI, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path that `app` answers, with something in the place of its parameters."""
    for route in flat(app.routes):
        if isinstance(route, Mount):
            yield "GET", f"{prefix}{route.path}/x"
        elif isinstance(route, Route | APIRoute):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            yield from ((method, prefix + path) for method in sorted(route.methods or ()))
        else:
            assert isinstance(route, APIWebSocketRoute), f"a route of the kind {type(route)} is not known to this test"


def flat(found: Any) -> Iterator[Any]:
    for route in found:
        yield from flat(route.original_router.routes) if hasattr(route, "original_router") else [route]


@pytest.fixture
def whole_hub(tmp_path: Path) -> FastAPI:
    """With every route of a real hub; nothing is behind them, since nobody may get there."""
    nothing: Any = SimpleNamespace(descriptions=dict, journal=None)
    routers = [run_routes(nothing), record_routes(nothing), instrument_routes(nothing, nothing), queue_routes(nothing)]
    gate = Gate("bench", Tokens(tmp_path), Trail(tmp_path))
    return build(routers=[*routers, helao_routes(nothing, nothing)], changes=Changes(), gate=gate)


def asked(app: FastAPI) -> Callable[..., Any]:
    client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://lab.test")

    async def ask(method: str, path: str, token: str | None = None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return (await client.request(method, path, headers=headers)).status_code

    return ask


OPEN = {("GET", "/"), ("GET", "/static/x"), ("POST", "/session"), ("DELETE", "/session")}


async def test_every_route_of_the_hub_asks_who_is_there(whole_hub: FastAPI) -> None:
    """Also one that somebody adds tomorrow: this walks what there is."""
    found, ask = set(routes_of(whole_hub)), asked(whole_hub)

    assert len(found) > 35
    assert {("POST", "/api/runs"), ("POST", "/api/halt"), ("POST", "/addExperiment")} <= found
    assert {route for route in found if await ask(*route) != 401} == OPEN & found


async def test_every_route_of_the_hub_that_acts_asks_whether_one_may(whole_hub: FastAPI, tmp_path: Path) -> None:
    observer, _ = Tokens(tmp_path).create("ada", "observer", 1)
    operator, _ = Tokens(tmp_path).create("bo", "operator", 1)
    found, ask = set(routes_of(whole_hub)) - OPEN, asked(whole_hub)
    verbs = {route: HUB.verb(" ".join(route)) for route in found}
    acting = {route for route, verb in verbs.items() if verb in ("act", "configure")}

    assert {route for route in acting if await ask(*route, observer) != 403} == set()
    assert {
        route for route, verb in verbs.items() if verb == "configure" and await ask(*route, operator) != 403
    } == set()
    assert {route for route, verb in verbs.items() if verb == "stop"} == {
        ("POST", "/api/halt"),
        ("POST", "/api/instruments/x/stop"),
        ("DELETE", "/api/instruments/x/invocations/x"),
        ("POST", "/api/runs/x/pause"),
        ("POST", "/api/runs/x/abort"),
        ("POST", "/api/runs/x/hold"),
        ("POST", "/api/queue/stop"),
    }
    assert {route for route, verb in verbs.items() if verb == "read"} == {
        route for route in found if route[0] in ("GET", "HEAD")
    }

"""What is refused before it is read, and what every answer carries."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import websockets

from labretto.network.http import bound, run_app
from labretto.web.app import BODY_LIMIT, build

from .conftest import Web


async def test_a_name_that_is_not_ours_is_refused_since_it_may_have_been_rebound(web: Web) -> None:
    answer = await web.client.get("/api/lab", headers={"Host": "evil.example"})

    assert answer.status_code == 403
    assert "evil.example" in answer.json()["detail"]


async def test_a_foreign_page_cannot_act(web: Web) -> None:
    answer = await web.client.post("/api/things", json={}, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403


async def test_a_page_of_an_unknown_origin_cannot_act(web: Web) -> None:
    answer = await web.client.post("/api/things", json={}, headers={"Origin": "null"})

    assert answer.status_code == 403


async def test_the_hubs_own_page_and_programs_can_act(web: Web) -> None:
    page = await web.client.post("/api/things", json={}, headers={"Origin": web.url, "Sec-Fetch-Site": "same-origin"})
    program = await web.client.post("/api/things", json={})

    assert (page.status_code, program.status_code) == (200, 200)


async def test_what_a_foreign_page_embeds_is_refused_and_a_link_is_followed(web: Web) -> None:
    embedded = await web.client.get("/api/lab", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    followed = await web.client.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})

    assert (embedded.status_code, followed.status_code) == (403, 200)


async def test_a_foreign_page_cannot_listen(web: Web) -> None:
    address = web.url.replace("http", "ws") + "/live"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        await websockets.connect(address, origin=websockets.Origin("https://evil.example"))

    assert refused.value.response.status_code == 403


async def test_a_body_that_announces_too_much_is_refused(web: Web) -> None:
    answer = await web.client.post("/api/things", content=b" " * (BODY_LIMIT + 1))

    assert answer.status_code == 413


async def test_a_body_that_does_not_end_is_refused(web: Web) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 2**20 + 2):
            yield b" " * 2**20

    answer = await web.client.post("/api/things", content=endless(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


async def test_what_is_no_page_runs_nothing_and_is_framed_nowhere(web: Web) -> None:
    headers = (await web.client.get("/api/lab")).headers

    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_hub_that_listens_for_others_answers_to_any_name(web: Web) -> None:
    """There a token keeps strangers out (`labretto.access`), not the name."""
    app = build(routers=[], changes=web.changes, bound="0.0.0.0")
    listening = bound("http://127.0.0.1:0")
    async with run_app(app, listening, websockets=True), httpx2.AsyncClient() as client:
        port = listening.getsockname()[1]
        answer = await client.get(f"http://127.0.0.1:{port}/api/lab", headers={"Host": "lab.example"})

    assert answer.status_code == 200

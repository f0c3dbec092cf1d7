"""The contract of HTTP, seen with a plain client."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import jsonschema
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from labretto.errors import ConflictError, FailedError, InvalidError, NotFoundError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.instrument.invocation import new_id
from labretto.network import http, zmq
from labretto.network.client import open_instrument
from labretto.network.http_guard import refusal

JSON = {"content-type": "application/json"}


@pytest.fixture
async def client(host: Host) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client of the rig."""
    async with http.serve(host) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


def is_problem(response: httpx2.Response, status: int, kind: str) -> bool:
    """It is problem details of this kind."""
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert (response.status_code, body["status"], body["type"]) == (status, status, f"urn:labretto:error:{kind}"), body
    assert body["detail"]
    assert body["title"]
    return True


# The contract ---------------------------------------------------------------------------------------------------------


async def test_the_description_tells_where_else_the_host_is(client: httpx2.AsyncClient) -> None:
    body = (await client.get("/")).json()

    assert body["name"] == "rig"
    assert body["links"]["http"] == str(client.base_url).rstrip("/")
    assert body["attributes"]["x"]["schema"]["unit"] == "mm"


async def test_a_reading_is_a_small_json_object(client: httpx2.AsyncClient) -> None:
    response = await client.get("/attributes/x")

    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"value": 1.5, "unit": "mm", "time": response.json()["time"], "status": "ok"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", response.json()["time"])


async def test_in_json_an_array_is_nested_lists_and_what_is_no_number_is_null(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/attributes/spectrum")).json()["value"] == [[1.0, None], [None, -0.0]]


async def test_an_attribute_is_set_with_put(client: httpx2.AsyncClient) -> None:
    response = await client.put("/attributes/x", json={"value": 12})

    assert (response.status_code, response.json()["value"]) == (200, 12.0)


@pytest.mark.parametrize("body", ["12", "[]", "{}", '{"value": 1, "unit": "mm"}', "null", ""])
async def test_to_set_an_attribute_an_object_with_a_value_is_needed(client: httpx2.AsyncClient, body: str) -> None:
    assert is_problem(await client.put("/attributes/x", content=body, headers=JSON), 422, "InvalidError")


async def test_post_makes_an_id_and_answers_at_the_end(client: httpx2.AsyncClient) -> None:
    response = await client.post("/actions/move", json={"to": 5})

    assert response.status_code == 200
    assert (response.json()["state"], response.json()["result"]) == ("succeeded", 5.0)
    assert (await client.get(f"/actions/move/{response.json()['id']}")).json() == response.json()


async def test_an_action_without_parameters_needs_no_body(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/actions/look")).json()["result"] == "seen"


async def test_put_with_an_id_may_be_sent_again(client: httpx2.AsyncClient, rig: Any) -> None:
    path = f"/actions/move/{new_id()}"

    first, again = [await client.put(path, json={"to": 5}) for _ in range(2)]

    assert first.json() == again.json()
    assert rig._moves == [5.0]
    assert is_problem(await client.put(path, json={"to": 6}), 409, "ConflictError")


async def test_asked_for_it_answers_202_with_a_location_that_tells_the_rest(
    client: httpx2.AsyncClient, rig: Any
) -> None:
    begun = await client.post("/actions/hold", headers={"prefer": "respond-async"})
    where = begun.headers["location"]

    assert (begun.status_code, begun.json()["state"]) == (202, "running")
    assert where == f"/actions/hold/{begun.json()['id']}"
    assert (await client.get(where)).json()["state"] == "running"
    rig._released.set()
    assert (await client.put(where)).json()["result"] == "released"


async def test_delete_asks_an_action_to_end(client: httpx2.AsyncClient) -> None:
    begun = await client.post("/actions/wait_for_ever", headers={"prefer": "respond-async"})
    where = begun.headers["location"]

    assert (await client.delete(where)).status_code == 202
    ended = await client.put(where)

    assert is_problem(ended, 409, "CancelledError")
    assert ended.json()["invocation"]["state"] == "cancelled"


async def test_an_action_that_failed_is_a_502_with_the_invocation(client: httpx2.AsyncClient) -> None:
    response = await client.post("/actions/fail")

    assert is_problem(response, 502, "DriverError")
    assert response.json()["invocation"]["state"] == "failed"
    assert (await client.get(f"/actions/fail/{response.json()['invocation']['id']}")).status_code == 200


async def test_stop_answers_how_long_it_took(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/stop")).json()["stopped"] is True


async def test_what_happens_is_told_as_server_sent_events(client: httpx2.AsyncClient) -> None:
    async with client.stream("GET", "/events") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == ":"
        await client.post("/actions/move", json={"to": 5})
        told = [line async for line in _first(lines, 8)]

    assert response.headers["content-type"].startswith("text/event-stream")
    assert [line for line in told if line.startswith("event:")] == ["event: invocation"] * 2
    states = [codec.decode_json(line[6:])["state"] for line in told if line.startswith("data:")]
    assert states == ["running", "succeeded"]


async def _first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    while count > 1:
        count -= 1
        yield await anext(lines)


async def test_msgpack_is_spoken_where_asked_for(client: httpx2.AsyncClient) -> None:
    headers = {"accept": "application/msgpack", "content-type": "application/msgpack"}
    response = await client.post("/actions/echo", content=codec.encode({"value": b"\xff"}), headers=headers)

    assert codec.decode(response.content)["result"] == b"\xff"
    refused = await client.post("/actions/nothing", headers=headers)
    assert codec.decode(refused.content)["status"] == refused.status_code == 404


# What bad input gets --------------------------------------------------------------------------------------------------


async def test_limits_are_told_with_all_faults(client: httpx2.AsyncClient) -> None:
    assert is_problem(await client.put("/attributes/x", json={"value": 500}), 422, "LimitError")
    response = await client.post("/actions/move", json={"too": 1, "speed": "fast"})

    assert is_problem(response, 422, "InvalidError")
    assert len(response.json()["faults"]) == 3


async def test_a_busy_instrument_answers_409_naming_what_runs(client: httpx2.AsyncClient) -> None:
    begun = await client.post("/actions/hold", headers={"prefer": "respond-async"})
    response = await client.post("/actions/move", json={"to": 1})

    assert is_problem(response, 409, "BusyError")
    assert response.json()["running"] == begun.json()["id"]


@pytest.mark.parametrize("path", ["/nowhere", "/attributes/y", "/actions/x/y/z", "/attributes/", "/docs/static/x"])
async def test_what_is_not_there_is_a_404(client: httpx2.AsyncClient, path: str) -> None:
    assert is_problem(await client.get(path), 404, "NotFoundError")


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(client: httpx2.AsyncClient) -> None:
    response = await client.delete("/attributes/x")

    assert is_problem(response, 405, "RefusedError")
    assert {"GET", "PUT"} <= set(re.split(", ?", response.headers["allow"]))


BODIES = {
    "cut off": b'{"to": 5',
    "no JSON": b"to=5",
    "not UTF-8": b'{"to": "\xff\xfe"}',
    "a bare NaN": b'{"to": NaN}',
    "a list": b"[5]",
    "10,000 deep": b'{"to": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a huge number": b'{"to": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_cannot_be_read_is_a_422(client: httpx2.AsyncClient, body: bytes, rig: Any) -> None:
    response = await client.post("/actions/move", content=body, headers=JSON)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert rig._moves == []


@pytest.mark.parametrize("media", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_of_another_type_is_a_415(client: httpx2.AsyncClient, media: str) -> None:
    response = await client.post("/actions/move", content=b'{"to": 5}', headers={"content-type": media})

    assert is_problem(response, 415, "InvalidError")


async def test_a_body_that_is_too_large_is_a_413_told_before_it_is_read(client: httpx2.AsyncClient) -> None:
    def pieces() -> Any:
        yield b"["
        for _ in range(12):
            yield b" " * 1_000_000

    async def flowing() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    told = await client.post("/actions/move", content=b" " * 9_000_000, headers=JSON)
    assert is_problem(told, 413, "InvalidError")
    found_out = await client.post("/actions/move", content=flowing(), headers=JSON)
    assert is_problem(found_out, 413, "InvalidError")
    assert (await client.get("/attributes/x")).status_code == 200


async def test_a_lease_that_is_no_number_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.post("/actions/look", headers={"labretto-lease": "mine"})

    assert is_problem(response, 422, "InvalidError")


async def test_a_name_that_is_not_ours_is_refused(client: httpx2.AsyncClient) -> None:
    response = await client.get("/attributes/x", headers={"host": "evil.example:5001"})

    assert is_problem(response, 403, "ForbiddenError")


async def test_a_foreign_page_may_not_act(client: httpx2.AsyncClient, rig: Any) -> None:
    response = await client.post("/actions/look", headers={"origin": "https://evil.example"})

    assert is_problem(response, 403, "ForbiddenError")


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:5001", "127.0.0.1:80", "[::1]:5001", "[::1]"])
def test_the_loopback_has_several_names(name: str) -> None:
    assert refusal(httpx2.Headers({"host": name}), http.LOOPBACK) is None


@pytest.mark.parametrize("name", ["", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "@localhost:x"])
def test_other_names_are_not_the_loopbacks(name: str) -> None:
    assert refusal(httpx2.Headers({"host": name}), http.LOOPBACK) is not None


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(client: httpx2.AsyncClient) -> None:
    where = (client.base_url.host, client.base_url.port)
    with socket.create_connection(where) as half:
        half.sendall(
            b"PUT /attributes/x HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b'content-length: 500\r\n\r\n{"value":'
        )
    with socket.create_connection(where) as noise:
        noise.sendall(b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256)))

    assert (await client.get("/attributes/x")).json()["value"] == 1.5


async def test_a_port_in_use_is_said_with_the_way_out(client: httpx2.AsyncClient, host: Host) -> None:
    with pytest.raises(ConflictError, match="is in use"):
        async with http.serve(host, str(client.base_url).rstrip("/")):
            pass


@pytest.mark.parametrize("address", ["", "http://", "tcp://127.0.0.1:0", "http://127.0.0.1:x", "http://256.0.0.1:0"])
async def test_what_is_no_address_cannot_be_served(host: Host, address: str) -> None:
    with pytest.raises(InvalidError):
        async with http.serve(host, address):
            pass


async def test_what_is_no_instrument_is_not_taken_for_one() -> None:
    async with _web_server({"hello": "world"}) as url:
        with pytest.raises(FailedError, match="no answer of an instrument"):
            await open_instrument(url)
    async with _web_server("hello") as url:
        with pytest.raises(FailedError, match="no answer of an instrument"):
            await open_instrument(url)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_whose_host_is_gone_leaves_open_what_became_of_the_request(status: int) -> None:
    """Not a failure of the action: it may have been done, and is asked for."""
    async with _web_server(HTMLResponse("<h1>Bad gateway</h1>", status)) as url:
        with pytest.raises(UnreachableError, match=f"what stands before it answers {status}"):
            await open_instrument(url)


@asynccontextmanager
async def _web_server(answer: Any) -> AsyncIterator[str]:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.get("/")(lambda: answer)
    listening = http.bound("http://127.0.0.1:0")
    async with http.run_app(app, listening):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_another_protocol_at_the_address_is_not_reachable(host: Host) -> None:
    async with zmq.serve(host) as address:
        with pytest.raises(UnreachableError):
            await open_instrument(address.replace("tcp", "http"))


async def test_routes_of_ones_own_answer_errors_alike_and_are_in_the_document(host: Host) -> None:
    app = http.build_app(host)

    @app.get("/extra/{number}")
    def extra(number: int) -> int:
        """Added to an instrument's app."""
        if number == 0:
            raise NotFoundError("There is no zero.")
        return 1 // (number - 1)

    listening = http.bound("http://127.0.0.1:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with http.run_app(app, listening), httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/extra/2")).json() == 1
        assert is_problem(await client.get("/extra/0"), 404, "NotFoundError")
        assert is_problem(await client.get("/extra/one"), 422, "InvalidError")
        assert is_problem(await client.get("/extra/1"), 500, "LabError")
        document = (await client.get("/openapi.json")).json()

    assert {"/extra/{number}", "/attributes/x"} <= document["paths"].keys()
    assert "Reading" in document["components"]["schemas"]


# For people -----------------------------------------------------------------------------------------------------------


async def test_the_openapi_document_has_each_attribute_and_action_with_unit_limits_and_example(
    client: httpx2.AsyncClient,
) -> None:
    document = (await client.get("/openapi.json")).json()

    body = document["paths"]["/actions/move"]["post"]["requestBody"]["content"]["application/json"]
    to = body["schema"]["properties"]["to"]
    assert (to["unit"], to["minimum"], to["maximum"], to["description"]) == ("mm", 0, 100, "mm, 0 to 100")
    assert body["schema"]["required"] == ["to"]
    jsonschema.validate(body["example"], body["schema"])
    assert {"get", "put"} <= document["paths"]["/attributes/x"].keys()
    assert "put" not in document["paths"]["/attributes/firmware"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_the_pages_for_people_take_nothing_from_outside(client: httpx2.AsyncClient, path: str) -> None:
    page = await client.get(path)
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert files
    assert [file for file in files if not file.startswith(("/", "data:"))] == []
    assert "//cdn" not in page.text
    for file in files:
        if file.startswith("/"):
            assert (await client.get(file)).status_code == 200


async def test_who_waits_when_the_server_ends_is_told_at_once(host: Host, rig: Any) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        async with http.serve(host) as url:
            waiting = asyncio.create_task(client.post(f"{url}/actions/hold"))
            await asyncio.to_thread(rig._entered.wait, 5)

        assert is_problem(await waiting, 503, "UnreachableError")

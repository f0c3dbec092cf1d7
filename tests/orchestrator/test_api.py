"""The interface over HTTP: problem details for every error, and never a 500."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter

from labretto.errors import NotFoundError
from labretto.orchestrator.api import record_routes, run_routes
from labretto.orchestrator.instruments import instrument_routes
from labretto.web.app import build

from .conftest import Hub, Lab, World, do, steps
from .test_worker import interrupted

ONE = steps(do("move", x=1), "{save: {y: 1}}")


def client_of(hub: Hub, lab: Lab, *more: APIRouter) -> httpx2.AsyncClient:
    orchestrator = hub.orchestrator
    routers = [
        *more,
        run_routes(orchestrator),
        record_routes(orchestrator),
        instrument_routes(lab.instruments, orchestrator),  # type: ignore[arg-type] - as much of it as is asked here
    ]

    async def look() -> None: ...

    app = build(routers=routers, changes=orchestrator.changes, look=look, bound="127.0.0.1", lab="test", version="0")
    # An exception that no handler knows is raised here, in the test.
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=True)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers={"Labretto-Actor": "ada"})


@pytest.fixture
async def http(hub: Hub, lab: Lab) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(hub, lab) as client:
        yield client


async def test_a_run_is_submitted_waited_for_and_looked_at(http: httpx2.AsyncClient):
    made = await http.post("/api/runs", json={"experiment": ONE})
    assert (made.status_code, made.json()["who"]) == (201, "ada")
    place = made.headers["location"]

    waited = await http.get(f"{place}/wait", params={"timeout": 20})
    assert waited.json()["state"] == "succeeded"

    shown = (await http.get(place)).json()
    assert [step["state"] for step in shown["steps"]] == ["succeeded"]
    assert (shown["steps_done"], shown["steps_total"]) == (2, 2)
    assert shown["steps"][0]["parameters"] == {"x": 1}
    assert [event["kind"] for event in (await http.get(f"{place}/events", params={"after": 4})).json()] == [
        "saved",
        "finished",
    ]
    assert [run["id"] for run in (await http.get("/api/runs", params={"state": "succeeded"})).json()] == [shown["id"]]
    assert (await http.get(f"/api/records/{shown['id']}/data")).json() == [{"y": 1}]


async def test_faults_are_told_without_submitting(http: httpx2.AsyncClient):
    checked = await http.post("/api/runs/check", json={"experiment": steps(do("move", x=150))})

    assert checked.status_code == 200
    assert checked.json()["faults"][0]["line"] == 3
    assert (await http.get("/api/runs")).json() == []


async def test_a_question_is_shown_and_answered(lab: Lab):
    run = await interrupted(lab, "burn")
    async with lab.hub() as hub, client_of(hub, lab) as http:
        await hub.comes_to(run, "waiting")
        assert (await http.get(f"/api/runs/{run}")).json()["question"]["choices"][0] == "happened"
        wrong = await http.post(f"/api/runs/{run}/answer", json={"choice": "maybe"})
        assert (wrong.status_code, "happened" in wrong.json()["way_out"]) == (422, True)

        assert (await http.post(f"/api/runs/{run}/answer", json={"choice": "skip", "why": "seen"})).status_code == 200
        assert await hub.ended(run) == "succeeded"
        settled = next(event for event in hub.events(run) if event["kind"] == "settled")
        assert (settled["who"], settled["why"]) == ("ada", "seen")


async def test_an_answer_that_is_sent_twice_does_not_meet_the_next_question(http: httpx2.AsyncClient, hub: Hub, world):
    """The step fails again and asks again; nobody has decided about that yet."""
    run = await hub.submit(steps("{do: rig.fail, on failure: ask}"))
    first = (await hub.comes_to(run, "waiting"))["question"]["number"]
    again = {"choice": "repeat", "number": first}
    assert (await http.post(f"/api/runs/{run}/answer", json=again)).status_code == 200
    await hub.told("run", lambda body: bool(body["question"]) and body["question"]["number"] > first)

    refused = await http.post(f"/api/runs/{run}/answer", json=again)

    assert (refused.status_code, "not open any more" in refused.json()["detail"]) == (409, True)
    assert world.done == ["fail", "fail"]


async def test_a_run_is_paused_resumed_and_aborted(http: httpx2.AsyncClient, hub: Hub, world: World):
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    assert (await http.post(f"/api/runs/{run}/pause")).json()["pausing"] is True
    assert (await http.post(f"/api/runs/{run}/resume")).json()["pausing"] is False
    assert (await http.post(f"/api/runs/{run}/abort")).status_code == 200
    world.go.set()

    assert await hub.ended(run) == "aborted"
    assert (await http.post(f"/api/runs/{run}/abort")).status_code == 409


async def test_a_queued_run_is_deleted(http: httpx2.AsyncClient, hub: Hub, world: World):
    first = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()
    second = await hub.submit(ONE)

    assert (await http.delete(f"/api/runs/{second}")).status_code == 204
    assert (await http.delete(f"/api/runs/{second}")).status_code == 409
    world.go.set()
    assert await hub.ended(first) == "succeeded"


async def test_a_wait_that_takes_too_long_answers_the_run_as_it_is(http: httpx2.AsyncClient, hub: Hub, world: World):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()

    assert (await http.get(f"/api/runs/{run}/wait", params={"timeout": 0.01})).json()["state"] == "running"
    world.go.set()
    assert await hub.ended(run) == "succeeded"


async def test_a_halt_stops_the_drivers_and_holds_until_it_is_reset(http: httpx2.AsyncClient, world: World):
    halted = (await http.post("/api/halt")).json()

    assert halted["stopped"][0]["stopped"] is True
    assert world.done == ["stop"]
    assert (await http.get("/api/halt")).json()["halted"] is True
    refused = await http.post("/api/instruments/rig/actions/move", json={"x": 1})
    assert (refused.status_code, "halted" in refused.json()["detail"]) == (409, True)
    await http.post("/api/halt/reset")
    assert (await http.post("/api/instruments/rig/actions/move", json={"x": 1})).status_code == 200


async def test_nobody_acts_on_an_instrument_while_a_run_does(http: httpx2.AsyncClient, hub: Hub, world: World):
    run = await hub.submit(steps(do("burn")))
    await world.comes_to_a_halt()

    refused = await http.post("/api/instruments/rig/actions/move", json={"x": 1})

    assert (refused.status_code, refused.json()["run"]) == (409, run)
    world.go.set()
    assert await hub.ended(run) == "succeeded"


DEEP: Any = 1
for _ in range(900):
    DEEP = [DEEP]

HOSTILE: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/runs", {"json": {}}),
    ("POST", "/api/runs", {"json": {"experiment": 3}}),
    ("POST", "/api/runs", {"json": {"experiment": "\ud800"}}),
    ("POST", "/api/runs", {"json": {"experiment": ONE, "name": "\ud800"}}),
    ("POST", "/api/runs", {"json": {"experiment": ONE, "who": "x" * 300}}),
    ("POST", "/api/runs", {"json": {"experiment": "a: [" * 5000}}),
    ("POST", "/api/runs", {"json": {"experiment": {"steps": DEEP}}}),
    ("POST", "/api/runs", {"json": {"experiment": ONE, "parameters": {"deep": DEEP}}}),
    ("POST", "/api/runs", {"json": {"experiment": ONE, "parameters": {"big": 10**400}}}),
    ("POST", "/api/runs", {"json": {"experiment": {"name": 1, "steps": [{"do": {}}]}}}),
    ("POST", "/api/runs", {"json": {"experiment": "x", "function": "\x00"}}),
    ("POST", "/api/runs", {"json": {"experiment": "\x00", "function": "f"}}),
    ("POST", "/api/runs", {"json": {"experiment": "\ud800", "function": "f"}}),
    ("POST", "/api/runs", {"json": {"experiment": "import sys; sys.exit()", "function": "f"}}),
    ("POST", "/api/runs", {"json": {"experiment": {"a": 1}, "function": "f"}}),
    ("POST", "/api/runs", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}),
    ("POST", "/api/runs", {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}),
    ("GET", "/api/runs?state=no", {}),
    ("GET", "/api/runs?limit=0", {}),
    ("GET", "/api/runs?limit=99999999999999999999999", {}),
    ("GET", "/api/runs/%00", {}),
    ("GET", "/api/runs/%ff%fe", {}),
    ("GET", "/api/runs/x/events?after=99999999999999999999999", {}),
    ("GET", "/api/runs/x/events", {}),
    ("GET", "/api/runs/x/wait?timeout=nan", {}),
    ("GET", "/api/runs/x/wait", {}),
    ("POST", "/api/runs/x/pause", {}),
    ("POST", "/api/runs/x/answer", {"json": {"choice": "skip"}}),
    ("POST", "/api/runs/x/answer", {"json": {"choice": "\ud800"}}),
    ("DELETE", "/api/runs/x", {}),
    ("GET", "/api/records/..%2f..%2fetc", {}),
    ("GET", "/api/records/%00", {}),
    ("GET", "/api/records/x/data", {}),
    ("GET", "/api/records?after=yesterday", {}),
    ("GET", "/api/records?state=nix", {}),
    ("GET", "/api/records/x/streams/y", {}),
    ("GET", "/api/instruments/none", {}),
    ("GET", "/api/instruments/rig/attributes/none", {}),
    ("PUT", "/api/instruments/rig/attributes/x", {"json": {"value": 1e9}}),
    ("PUT", "/api/instruments/rig/attributes/x", {"json": {}}),
    ("PUT", "/api/instruments/rig/attributes/broken", {"json": {"value": 1}}),
    ("POST", "/api/instruments/rig/actions/none", {"json": {}}),
    ("POST", "/api/instruments/rig/actions/move", {"json": {"x": 150}}),
    ("POST", "/api/instruments/rig/actions/move", {"json": [1]}),
    ("POST", "/api/instruments/rig/actions/fail", {"json": {}}),
    ("GET", "/api/instruments/rig/invocations/none", {}),
    ("DELETE", "/api/instruments/rig/invocations/none", {}),
]


@pytest.mark.parametrize(
    ("method", "path", "more"), HOSTILE, ids=[f"{m} {p} {n}" for n, (m, p, _) in enumerate(HOSTILE)]
)
async def test_bad_input_gets_problem_details(http: httpx2.AsyncClient, method: str, path: str, more: dict[str, Any]):
    if "json" in more:
        import json

        more = {"content": json.dumps(more["json"]).encode(), "headers": {"content-type": "application/json"}}
    answer = await http.request(method, path, **more)

    assert 400 <= answer.status_code < 600
    assert answer.status_code != 500
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["%00", "..%2f..%2fjournal.db", "/etc/passwd", "x" * 5000])
async def test_only_the_files_of_a_record_are_handed_out(http: httpx2.AsyncClient, hub: Hub, path: str):
    run = await hub.does(ONE)

    assert (await http.get(f"/api/records/{run}/files/run.json")).json()["id"] == run
    assert (await http.get(f"/api/records/{run}/files/{path}")).status_code == 404


async def test_a_record_lists_its_files_and_is_found_by_words(http: httpx2.AsyncClient, hub: Hub):
    run = await hub.does(ONE)

    assert "events.jsonl" in (await http.get(f"/api/records/{run}")).json()["files"]
    found = (await http.get("/api/records", params={"text": "test " + "word " * 3})).json()
    assert found == []
    assert [each["id"] for each in (await http.get("/api/records", params={"text": "tes"})).json()] == [run]


async def test_many_look_at_a_run_while_it_goes_on(http: httpx2.AsyncClient, hub: Hub):
    run = await hub.submit(steps(*(do("move", x=k) for k in range(30))))
    looks = await asyncio.gather(*(http.get(f"/api/runs/{run}") for _ in range(20)))

    assert {look.status_code for look in looks} == {200}
    assert await hub.ended(run) == "succeeded"
    with pytest.raises(NotFoundError):
        hub.orchestrator.summary("another")


async def test_a_person_takes_an_instrument_over_acts_alone_and_gives_it_back(http: httpx2.AsyncClient, lab: Lab):
    rig = "/api/instruments/rig"
    assert (await http.get(f"{rig}/lease")).json()["holder"] is None

    taken = (await http.post(f"{rig}/take-over")).json()
    assert (taken["instrument"], taken["holder"]) == ("rig", "ada")
    assert (await http.get(f"{rig}/lease")).json() == taken
    assert (await http.put(f"{rig}/attributes/x", json={"value": 3})).json()["value"] == 3
    assert (await http.post(f"{rig}/actions/dose", json={"volume": 2})).json()["state"] == "succeeded"
    other = {"Labretto-Actor": "grace"}
    for refused in (
        await http.put(f"{rig}/attributes/x", json={"value": 4}, headers=other),
        await http.post(f"{rig}/actions/dose", json={"volume": 2}, headers=other),
        await http.post(f"{rig}/give-back", headers=other),
    ):
        assert (refused.status_code, refused.json()["holder"]) == (409, "ada")

    assert (await http.post(f"{rig}/give-back")).json()["holder"] is None
    assert (await http.post(f"{rig}/actions/dose", json={"volume": 1}, headers=other)).status_code == 200
    assert (await http.post(f"{rig}/take-over", headers={"Labretto-Actor": "run 7"})).status_code == 403


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (b'{"experiment": ', "application/json", "body.15: not JSON: expecting value"),
        (b'{"experiment": "steps: []"}', "text/plain", "Send `Content-Type: application/json`."),
    ],
)
async def test_a_body_that_is_no_json_is_told_what_is_wrong_with_it(
    http: httpx2.AsyncClient, body: bytes, kind: str, told: str
):
    answer = await http.post("/api/runs", content=body, headers={"content-type": kind})

    assert answer.status_code == 422
    assert told in answer.text

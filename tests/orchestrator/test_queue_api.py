"""The queue over HTTP: order, hold, edit, labels, turns, paging; every refusal in words and never a 500."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from labretto.orchestrator.looking import Archive, show_run
from labretto.orchestrator.queue_api import queue_routes

from .conftest import Hub, Lab, World, do
from .test_api import client_of
from .test_line import PYTHON, SCAN


@pytest.fixture
async def http(hub: Hub, lab: Lab) -> AsyncIterator[httpx2.AsyncClient]:
    """The interface of a lab whose queue is stopped, so that what is submitted waits."""
    async with client_of(hub, lab, queue_routes(hub.orchestrator)) as client:
        await client.post("/api/queue/stop")
        yield client


async def submit(http: httpx2.AsyncClient, **words: Any) -> str:
    made = await http.post("/api/runs", json={"experiment": SCAN, **words})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def line(http: httpx2.AsyncClient) -> list[str]:
    return [run["id"] for run in (await http.get("/api/queue")).json()["runs"]]


async def test_the_queue_says_who_waits_in_which_order_and_why(http: httpx2.AsyncClient):
    usual = await submit(http, labels=["film"])
    urgent = await submit(http, priority=5, name="urgent")
    held = await submit(http, held=True)

    queue = (await http.get("/api/queue")).json()

    assert [run["id"] for run in queue["runs"]] == [urgent, usual, held]
    assert (queue["stopped"], queue["by"], queue["why"]) == (True, "ada", "The queue was stopped by ada.")
    assert [run["reason"] for run in queue["runs"]] == [queue["why"], queue["why"], "Held by ada."]
    assert (queue["runs"][0]["name"], queue["runs"][1]["labels"]) == ("urgent", ["film"])


async def test_runs_are_moved_held_released_and_edited(http: httpx2.AsyncClient, hub: Hub, world: World):
    a, b, c = [await submit(http, parameters={"x": x}) for x in range(3)]
    await http.post(f"/api/runs/{c}/move", json={"where": "first"})
    await http.post(f"/api/runs/{a}/move", json={"where": "after", "of": b})
    assert await line(http) == [c, b, a]
    held = await http.post(f"/api/runs/{b}/hold", json={"why": "no film"})
    assert held.json()["reason"] == "Held by ada: no film"
    edited = await http.patch(f"/api/runs/{a}", json={"parameters": {"x": 9}, "expected": held.json()["last"]})
    assert (edited.status_code, edited.json()["last"]) == (200, 3)
    await http.post("/api/queue/start")
    for run in (c, a):
        await hub.ended(run)
    await http.post(f"/api/runs/{b}/release")
    await hub.ended(b)

    assert world.done == ["move 2", "move 9", "move 1"]


async def test_a_run_is_done_again_as_a_new_one(http: httpx2.AsyncClient, hub: Hub):
    run = await submit(http)
    made = await http.post(f"/api/runs/{run}/again", json={"parameters": {"x": 4}, "priority": 2})

    assert made.status_code == 201
    assert made.headers["location"] == f"/api/runs/{made.json()['id']}"
    assert (await http.get(made.headers["location"])).json()["parameters"] == {"x": 4}
    assert (await http.post(f"/api/runs/{run}/again")).status_code == 201
    assert len(await line(http)) == 3


REFUSED = [
    ("POST", "hold", {"why": 7}, 422),
    ("POST", "move", {"where": "beside"}, 422),
    ("POST", "move", {"where": "before"}, 422),
    ("POST", "move", {"where": "before", "of": "nobody"}, 409),
    ("POST", "release", None, 409),
    ("PATCH", "", {}, 422),
    ("PATCH", "", {"parameters": {"x": 101}, "priority": "high"}, 422),
    ("PATCH", "", {"priority": 1, "expected": 7}, 409),
    ("PATCH", "", {"not_before": "soon"}, 422),
    ("PATCH", "", {"again": -1}, 422),
    ("PATCH", "", {"state": "succeeded"}, 422),
    ("PATCH", "", {"parameters": None}, 422),
    ("POST", "again", {"parameters": {"x": 101}}, 422),
]


@pytest.mark.parametrize(("method", "what", "body", "status"), REFUSED, ids=[f"{r[1]} {r[2]}" for r in REFUSED])
async def test_what_cannot_be_is_refused_with_a_way_out_and_changes_nothing(
    http: httpx2.AsyncClient, hub: Hub, method: str, what: str, body: Any, status: int
):
    run = await submit(http)
    answer = await http.request(method, f"/api/runs/{run}/{what}".rstrip("/"), json=body)

    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["detail"]
    assert told.get("way_out") or told.get("faults") or status == 409
    assert hub.kinds(run) == ["submitted"]
    assert await line(http) == [run]


@pytest.mark.parametrize("act", [("POST", "/hold"), ("POST", "/release"), ("POST", "/again"), ("PATCH", "")])
async def test_a_run_that_is_not_there_is_not_found(http: httpx2.AsyncClient, act: tuple[str, str]):
    body = {"priority": 1} if act[0] == "PATCH" else None
    assert (await http.request(act[0], f"/api/runs/nobody{act[1]}", json=body)).status_code == 404


async def test_faults_of_parameters_and_of_terms_are_told_together(http: httpx2.AsyncClient):
    body = {"experiment": SCAN, "parameters": {"x": 101}, "priority": "high", "labels": 3}
    for path in ("/api/runs", "/api/runs/check"):
        faults = " ".join(fault["detail"] for fault in (await http.post(path, json=body)).json()["faults"])
        assert all(word in faults for word in ("101", "priority", "labels"))
    assert await line(http) == []


async def test_what_an_experiment_asks_for_is_told_with_its_limits(http: httpx2.AsyncClient):
    asked = (await http.post("/api/runs/check", json={"experiment": SCAN})).json()["parameters"]
    assert asked["properties"]["x"] | {"minimum": 0, "maximum": 100, "default": 1} == asked["properties"]["x"]
    python = {"experiment": PYTHON, "function": "moved"}
    asked = (await http.post("/api/runs/check", json=python)).json()["parameters"]
    assert (asked["properties"]["x"]["type"], asked["required"]) == ("number", ["x"])
    broken = await http.post("/api/runs/check", json={"experiment": "name: ["})
    assert broken.json()["parameters"]["properties"] == {}


async def test_a_list_of_runs_is_read_page_by_page_and_by_label(http: httpx2.AsyncClient):
    runs = [await submit(http, labels=["even"] if k % 2 == 0 else []) for k in range(5)]
    pages = [await listed(http, limit=2)]
    while pages[-1]:
        pages.append(await listed(http, limit=2, before=pages[-1][-1]))

    assert [run for page in pages for run in page] == runs[::-1]
    assert await listed(http, label="even") == runs[::-2]
    assert await listed(http, label="even", before=runs[2], state="queued") == runs[:1]
    assert await listed(http, state="queued") == runs
    assert await listed(http, before="nobody") == []


async def listed(http: httpx2.AsyncClient, **query: Any) -> list[str]:
    return [run["id"] for run in (await http.get("/api/runs", params=query)).json()]


async def test_the_steps_of_a_run_are_read_page_by_page(http: httpx2.AsyncClient, hub: Hub):
    await http.post("/api/queue/start")
    sweep = "name: s\nsteps:\n  - sweep: {x: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}\n    steps:\n      - " + do(
        "move", x='"${x}"'
    )
    run = await hub.does(sweep)

    def asked(answer: Any) -> list[float]:
        return [step["parameters"]["x"] for step in answer["steps"]]

    last = (await http.get(f"/api/runs/{run}", params={"steps": 3})).json()
    first = (await http.get(f"/api/runs/{run}", params={"steps": 4, "after": 0})).json()
    beyond = (await http.get(f"/api/runs/{run}", params={"after": 99})).json()

    assert (asked(last), last["steps_after"], last["steps_known"]) == ([7, 8, 9], 7, 10)
    assert (asked(first), first["steps_after"]) == ([0, 1, 2, 3], 0)
    assert (asked(beyond), beyond["steps_done"]) == ([], 10)
    assert (await http.get(f"/api/runs/{run}", params={"steps": 0})).json()["steps"] == []
    assert (await http.get(f"/api/runs/{run}", params={"steps": 10_001})).status_code == 422
    assert (last["steps"][0]["origin"], last["steps"][0]["state"]) == ("answered", "succeeded")
    archive = Archive(hub.journal)
    assert archive.state(run) is archive.state(run)
    assert len(show_run(archive.state(run))["steps"]) == 10


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
WORDS = ["name", "parameters", "priority", "not_before", "labels", "again", "expected", "where", "of", "why", "other"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(act=st.sampled_from(["hold", "release", "move", "again", ""]), body=st.dictionaries(st.sampled_from(WORDS), ANY))
async def test_whatever_is_sent_the_answer_is_no_500(http: httpx2.AsyncClient, act: str, body: dict[str, Any]):
    run = (await line(http) or [await submit(http)])[0]
    answer = await http.request("POST" if act else "PATCH", f"/api/runs/{run}/{act}".rstrip("/"), json=body)

    assert answer.status_code < 500

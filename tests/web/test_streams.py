"""What changes, as server-sent events: resumed by number, nothing of the journal missed, nobody held up."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from labretto.catalog.live import Changes
from labretto.network.http import bound, run_app
from labretto.orchestrator import following
from labretto.orchestrator.journal import SqliteJournal
from labretto.web.app import build
from labretto.web.streams import Streams, stream_routes

SUBMITTED = ("submitted", {"name": "scan", "experiment": {}, "parameters": {}})


class Watched:
    """A hub's change stream and journal, and a client of it."""

    def __init__(self, changes: Changes, journal: SqliteJournal, streams: Streams, client: httpx2.AsyncClient) -> None:
        self.changes = changes
        self.journal = journal
        self.streams = streams
        self.client = client

    async def append(self, run: str, *kinds: str) -> None:
        """Events of a run, told as the orchestrator tells them."""
        last = len(self.journal.read(run))
        entries = [SUBMITTED if kind == "submitted" else (kind, {"state": "succeeded"}) for kind in kinds]
        await self.journal.append(run, last, entries)
        self.changes.publish("run", {"id": run})

    @contextlib.asynccontextmanager
    async def reads(self, path: str, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of a stream, as a browser's EventSource has them."""
        wanted = {"Accept": "text/event-stream"} | {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.client.stream("GET", path, headers=wanted) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield _parsed(answer.aiter_lines())


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    async for line in lines:
        name, _, text = line.partition(": ")
        if line == "":
            yield event
            event = {}
        elif name in ("id", "event"):
            event[name] = text
        elif name == "data":
            event |= {"data": json.loads(text)}


async def told(stream: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The next events that say something."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            event = await anext(stream)
            found += [event] if "data" in event else []
    return found


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    changes, journal = Changes(keep=5), SqliteJournal(tmp_path / "journal.db")
    streams = Streams(changes, journal)
    app = build(routers=[stream_routes(streams, journal)], changes=changes)
    listening = bound("http://127.0.0.1:0")
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with run_app(app, listening, websockets=True), httpx2.AsyncClient(base_url=url) as client:
        yield Watched(changes, journal, streams, client)
        streams.close()
    changes.close()
    journal.close()


async def test_what_changes_is_told_with_its_number(watched: Watched) -> None:
    async with watched.reads("/api/changes") as stream:
        await anext(stream)
        number = watched.changes.publish("run", {"id": "a", "state": "running"})

        event = (await told(stream, 1))[0]

    assert event == {"id": str(number), "event": "run", "data": {"id": "a", "state": "running"}}


@pytest.mark.parametrize("how", ["after", "header"])
async def test_who_was_cut_off_goes_on_after_the_last_number(watched: Watched, how: str) -> None:
    first = watched.changes.publish("run", {"number": 1})
    watched.changes.publish("run", {"number": 2})
    path = f"/api/changes?after={first}" if how == "after" else "/api/changes?after=1"
    header = {"Last_Event_ID": str(first)} if how == "header" else {}

    async with watched.reads(path, **header) as stream:
        assert [event["data"] for event in await told(stream, 1)] == [{"number": 2}]


async def test_what_is_no_longer_kept_is_said_plainly(watched: Watched) -> None:
    first = watched.changes.publish("run", {"number": 0})
    for number in range(1, 8):
        watched.changes.publish("run", {"number": number})

    async with watched.reads(f"/api/changes?after={first}") as stream:
        missed, *kept = await told(stream, 6)

    assert missed["event"] == "missed"
    assert "GET /api/events misses nothing" in missed["data"]["way_out"]
    assert [event["data"]["number"] for event in kept] == [3, 4, 5, 6, 7]


async def test_only_the_topics_asked_for_are_told_but_the_number_goes_on(watched: Watched) -> None:
    async with watched.reads("/api/changes?topic=run") as stream:
        await anext(stream)
        watched.changes.publish("readings", {})
        number = watched.changes.publish("run", {"id": "a"})
        last = watched.changes.publish("readings", {})

        assert (await told(stream, 1))[0]["id"] == str(number)
        async with asyncio.timeout(10):
            while (await anext(stream)).get("id") != str(last):
                pass


async def test_a_change_that_no_wire_carries_does_not_end_the_stream(watched: Watched) -> None:
    async with watched.reads("/api/changes") as stream:
        await anext(stream)
        watched.changes.publish("run", {"id": object()})
        watched.changes.publish("run", {"id": "b"})

        unsaid, event = await told(stream, 2)

    assert (unsaid["event"], event["data"]) == ("unsaid", {"id": "b"})


async def test_who_was_away_for_a_week_misses_no_event_of_the_journal(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PIECE", 3)
    for run in "abcdefgh":
        await watched.append(run, "submitted", "started")

    async with watched.reads("/api/events?after=3") as stream:
        before = await told(stream, 13)
        await watched.append("a", "finished")
        after = (await told(stream, 1))[0]

    assert [int(event["id"]) for event in before] == list(range(4, 17))
    assert (after["id"], after["event"], after["data"]["run"]) == ("17", "finished", "a")


async def test_the_journal_is_also_answered_piece_by_piece(watched: Watched) -> None:
    await watched.append("a", "submitted", "started", "finished")

    first = (await watched.client.get("/api/events?limit=2")).json()
    rest = (await watched.client.get(f"/api/events?after={first['sequence']}")).json()

    assert [event["kind"] for event in first["events"]] == ["submitted", "started"]
    assert (first["more"], rest["more"]) == (True, False)
    assert [(event["kind"], event["sequence"]) for event in rest["events"]] == [("finished", 3)]


async def test_from_now_on_is_what_a_stream_of_events_begins_with(watched: Watched) -> None:
    await watched.append("a", "submitted")

    async with watched.reads("/api/events?kind=finished") as stream:
        await anext(stream)
        await watched.append("a", "started", "finished")

        assert (await told(stream, 1))[0]["data"]["sequence"] == 3


async def test_a_number_that_is_none_is_refused(watched: Watched) -> None:
    answer = await watched.client.get("/api/changes", headers={"Last-Event-ID": "yesterday"})

    assert answer.status_code == 422
    assert "no sequence number" in answer.json()["detail"]


async def test_a_reader_that_does_not_read_holds_nobody_up_and_is_told_what_it_missed(watched: Watched) -> None:
    reader, writer = await asyncio.open_connection(watched.client.base_url.host, watched.client.base_url.port)
    request = "GET /api/changes HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(request.encode())
    await reader.readuntil(b"\r\n\r\n")
    for number in range(300):  # far more than the sockets' buffers hold
        watched.changes.publish("run", {"number": number, "text": "x" * 100_000})
        await asyncio.sleep(0)

    async with watched.reads("/api/changes") as stream:
        await anext(stream)
        watched.changes.publish("run", {"id": "b"})
        assert (await told(stream, 1))[0]["data"] == {"id": "b"}
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_open_streams_end_with_the_hub(watched: Watched) -> None:
    async with watched.reads("/api/changes") as stream, watched.reads("/api/events") as events:
        await anext(stream)
        await anext(events)
        assert watched.streams.readers == 2
        watched.streams.close()

        async with asyncio.timeout(5):
            assert [event async for event in stream if "data" in event] == []
            assert [event async for event in events if "data" in event] == []
    assert watched.streams.readers == 0

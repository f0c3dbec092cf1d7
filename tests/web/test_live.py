"""The page's one WebSocket: changes and curves, from where the viewer was cut off; slow viewers cost nothing."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import websockets

from labretto.catalog.live import Changes
from labretto.web import live

from .conftest import Web


class Viewer:
    """Reads frames as the page does."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket

    async def text(self) -> Any:
        while isinstance(frame := await self._socket.recv(), bytes):
            pass
        return json.loads(frame)

    async def curve(self) -> tuple[dict[str, Any], dict[str, list[float]]]:
        while isinstance(frame := await self._socket.recv(), str):
            pass
        return decoded(frame)

    async def changes(self, count: int) -> list[Any]:
        """The next so many changes, in however many frames they come."""
        found: list[Any] = []
        while len(found) < count:
            found += (await self.text())["changes"]
        return found


def decoded(frame: bytes) -> tuple[dict[str, Any], dict[str, list[float]]]:
    (length,) = struct.unpack_from("<I", frame)
    head = json.loads(frame[4 : 4 + length])
    values = np.frombuffer(frame, "<f8", offset=4 + length).reshape(len(head["columns"]), head["points"])
    return head, {column["name"]: list(row) for column, row in zip(head["columns"], values, strict=True)}


def viewing(web: Web, after: int | None = None) -> websockets.connect:
    query = "" if after is None else f"?after={after}"
    return websockets.connect(f"{web.url.replace('http', 'ws')}/live{query}")


async def test_a_viewer_is_told_where_the_stream_is_and_then_what_changes(web: Web) -> None:
    async with viewing(web) as socket:
        viewer = Viewer(socket)
        assert await viewer.text() == {"sequence": web.changes.sequence, "changes": []}

        web.changes.publish("run", {"id": "1", "state": "queued"})
        (change,) = await viewer.changes(1)

    assert (change["topic"], change["body"]["state"]) == ("run", "queued")
    assert change["sequence"] == web.changes.sequence


async def test_who_was_cut_off_gets_what_followed_the_last_number_it_saw(web: Web) -> None:
    async with viewing(web) as socket:
        seen = (await Viewer(socket).text())["sequence"]
    for number in range(3):
        web.changes.publish("step", {"number": number})

    async with viewing(web, after=seen) as socket:
        changes = await Viewer(socket).changes(3)

    assert [change["body"]["number"] for change in changes] == [0, 1, 2]


async def test_who_comes_from_before_a_restart_is_told_to_ask_for_everything(web: Web) -> None:
    async with viewing(web, after=17) as socket:
        frame = await Viewer(socket).text()

    assert frame == {"sequence": web.changes.sequence, "changes": [], "missed": True}


async def test_points_of_one_curve_come_joined_as_float64_columns(web: Web) -> None:
    async with viewing(web) as socket:
        viewer = Viewer(socket)
        await viewer.text()
        for start in (0, 2):
            columns = {"potential": np.array([0.1, 0.2]) + start, "current": np.array([1e-6, np.nan])}
            web.changes.publish_curve("run-1/sweep[3]/cv", columns, start=start)
        head, values = await viewer.curve()

    assert (head["run"], head["path"], head["row"], head["points"]) == ("run-1", "sweep[3]/cv", 0, 4)
    np.testing.assert_allclose(values["potential"], [0.1, 0.2, 2.1, 2.2])
    np.testing.assert_allclose(values["current"], [1e-6, np.nan] * 2)


async def test_the_numbers_of_a_curve_can_be_read_in_place() -> None:
    """A Float64Array in a browser begins at a multiple of 8 bytes."""
    for key in ("r/a", "r/ab", "r/abc", "r/abcdefgh"):
        changes = Changes()
        changes.publish_curve(key, {"x": [1.0]})
        batch = changes.batch(changes.sequence - 1)
        assert batch is not None
        frame = live.curve_frame(batch.curves[0])
        assert (4 + struct.unpack_from("<I", frame)[0]) % 8 == 0


async def test_a_batch_is_encoded_once_for_all_who_look() -> None:
    changes = Changes()
    shown = live.Live(changes)
    one, other = shown.frames(None), shown.frames(None)
    await anext(one)
    await anext(other)

    changes.publish("run", {"id": "1"})
    shown.cut()

    assert await anext(one) is await anext(other)


async def test_a_slow_viewer_is_told_that_it_missed_something_and_goes_on_from_there() -> None:
    changes = Changes()
    shown = live.Live(changes)
    slow = shown.frames(None)
    await anext(slow)
    for number in range(live.KEPT_TURNS + 20):
        changes.publish("step", {"number": number})
        shown.cut()

    missed = json.loads(await anext(slow))
    changes.publish("step", {"number": "after"})
    shown.cut()
    then = json.loads(await anext(slow))

    assert (missed["missed"], missed["changes"]) == (True, [])
    assert [change["body"]["number"] for change in then["changes"]] == ["after"]


async def test_a_slow_viewer_costs_no_more_than_the_turns_that_are_kept() -> None:
    changes = Changes()
    shown = live.Live(changes)
    await anext(shown.frames(None))
    for _ in range(40):
        changes.publish_curve("r/big", {"x": np.zeros(100_000)})
        shown.cut()

    assert shown.kept_bytes <= live.KEPT_BYTES


async def test_who_hears_nothing_is_told_that_nothing_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a page knows a silent hub from a dead connection."""
    monkeypatch.setattr(live, "BEAT", 0.001)
    changes = Changes()
    frames = live.Live(changes).frames(None)

    first, beat = await anext(frames), await anext(frames)

    assert json.loads(beat) == json.loads(first) == {"sequence": changes.sequence, "changes": []}


async def test_a_batch_that_cannot_be_encoded_ends_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewing(web) as socket:
        viewer = Viewer(socket)
        await viewer.text()
        with monkeypatch.context() as patch:
            patch.setattr(live, "_change", lambda *_: 1 / 0)
            web.changes.publish("run", {"id": "1"})
            assert (await viewer.text())["missed"]
        web.changes.publish("run", {"id": "2"})
        (change,) = await viewer.changes(1)

    assert change["body"] == {"id": "2"}


async def test_a_change_that_no_wire_carries_does_not_end_the_page(web: Web) -> None:
    async with viewing(web) as socket:
        viewer = Viewer(socket)
        await viewer.text()
        web.changes.publish("run", {"strange": object()})
        web.changes.publish("run", {"id": "2"})
        strange, plain = await viewer.changes(2)

    assert strange["topic"] == "unsaid"
    assert plain["body"] == {"id": "2"}


async def test_instruments_are_read_as_long_as_somebody_looks(web: Web) -> None:
    assert web.looks.empty()

    async with viewing(web) as one, viewing(web) as other:
        await Viewer(one).text()
        await Viewer(other).text()
        await web.looks.get()
        assert web.app.state.live.viewers == 2


async def test_the_end_of_the_stream_ends_no_viewer(web: Web) -> None:
    """The socket closes when the hub's server does; until then the page shows what there is."""
    async with viewing(web) as socket:
        await Viewer(socket).text()
        web.changes.publish("run", {"id": "last"})
        web.changes.close()
        (change,) = await Viewer(socket).changes(1)

    assert change["body"] == {"id": "last"}

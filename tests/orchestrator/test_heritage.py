"""The text of `/getData`, folded from events; and what follows the journal for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labretto.catalog.live import Changes
from labretto.catalog.store import Catalog
from labretto.errors import DriverError, InvalidError
from labretto.orchestrator.heritage import DataText, GrowingData, read_experiment
from labretto.orchestrator.journal import Event, SqliteJournal

SUBMITTED: dict[str, Any] = {"name": "experiment", "experiment": {"format": "soe", "source": ""}, "parameters": {}}


class Told:
    """Writes events as a worker does, and reads what `/getData` would answer."""

    def __init__(self) -> None:
        self.text = DataText()

    def tell(self, run: str, kind: str, result: Any = None, **body: Any) -> None:
        event = Event(run, 1, kind, "2026-11-21T08:00:00Z", body)
        if self.text.wants(event):
            self.text.apply(event, result)

    def submit(self, *runs: str) -> None:
        for run in runs:
            self.tell(run, "submitted", **SUBMITTED)

    def begin(self, run: str, path: str, action: str = "move") -> None:
        self.tell(run, "started")
        self.tell(run, "intended", path=path, action=action)

    def end(self, run: str, path: str, result: Any = None, error: Any = None) -> None:
        self.tell(run, "ended", result, path=path, state="failed" if error else "succeeded", error=error)

    def finish(self, run: str, error: Any = None) -> None:
        self.tell(run, "finished", state="failed" if error else "succeeded", error=error)

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b"".join(self.text.chunks()))
        return found


@pytest.fixture
def told() -> Told:
    return Told()


def test_nothing_was_done_yet(told):
    assert told.data() == {}


def test_what_waits_in_the_queue_has_no_number_and_what_is_taken_out_never_gets_one(told):
    told.submit("a", "b")
    told.finish("a", {"detail": "Taken out of the queue before it began."})
    told.begin("b", "move_1")

    assert told.data() == {"experiment_0": {"move_1": "here"}}


def test_experiments_count_in_the_order_in_which_they_began(told):
    told.submit("a", "b")
    told.begin("b", "move_1")
    told.begin("a", "move_2")
    told.end("a", "move_2", 2)
    told.finish("a")
    told.end("b", "move_1", 1)
    told.finish("b")

    assert told.data() == {"experiment_0": {"move_1": 1}, "experiment_1": {"move_2": 2}}
    assert list(told.data()) == ["experiment_0", "experiment_1"]


def test_a_look_at_an_attribute_is_told_under_its_name(told):
    told.submit("a")
    told.begin("a", "getPos_1", action="attribute:get position")
    told.end("a", "getPos_1", [1, 2, 3])

    assert told.data() == {"experiment_0": {"getPos_1": {"position": [1, 2, 3]}}}


def test_a_failure_is_its_own_words_and_is_told_once(told):
    error = DriverError("motor.move: the driver raised RuntimeError: jammed").problem()
    told.submit("a")
    told.begin("a", "move_1")
    told.end("a", "move_1", error=error)
    told.finish("a", error)

    assert told.data() == {"experiment_0": {"move_1": "motor.move: the driver raised RuntimeError: jammed"}}


def test_an_error_that_belongs_to_no_action_stands_beside_them(told):
    told.submit("a")
    told.begin("a", "move_1")
    told.end("a", "move_1", 1)
    told.finish("a", {"detail": "motor has no action 'fly'."})

    assert told.data() == {"experiment_0": {"move_1": 1, "error": "motor has no action 'fly'."}}


def test_what_was_interrupted_says_so_until_it_runs_again(told):
    told.submit("a")
    told.begin("a", "move_1")
    told.tell("a", "interrupted", path="move_1", reason="its end was not seen")
    assert told.data() == {"experiment_0": {"move_1": "its end was not seen"}}

    told.tell("a", "intended", path="move_1", action="move")
    assert told.data() == {"experiment_0": {"move_1": "here"}}


def test_an_aborted_experiment_leaves_nothing_that_seems_to_run(told):
    told.submit("a")
    told.begin("a", "move_1")
    told.finish("a", {"detail": "Run a was ended by a person."})

    assert told.data() == {"experiment_0": {"move_1": "Run a was ended by a person."}}


def test_runs_of_another_form_are_none_of_its_business(told):
    told.tell("a", "submitted", name="scan", experiment={"format": "file"}, parameters={})
    told.begin("a", "stage.move")

    assert told.data() == {}


def test_what_is_over_is_never_written_again(told):
    """The pieces before the last are the same objects, however much comes after them."""
    large = "x" * 1000
    for number in range(300):
        run = str(number)
        told.submit(run)
        told.begin(run, "move_1")
        told.end(run, "move_1", large)
        told.finish(run)
    before = told.text.chunks()
    told.submit("more")
    told.begin("more", "move_1")

    after = told.text.chunks()

    assert len(before) > 4
    assert all(one is other for one, other in zip(before[:-1], after[:-1], strict=True))
    assert len(told.data()) == 301


# Following the journal --------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    yield journal
    journal.close()


async def test_the_data_is_there_again_after_a_restart_and_grows_on(journal, tmp_path):
    """More events than are folded at once, in two lives."""

    async def text_now() -> dict[str, Any]:
        async with GrowingData(journal, Catalog(tmp_path), Changes()) as data:
            found: dict[str, Any] = json.loads(b"".join(await data.chunks()))
            return found

    async def store(number: int) -> None:
        step = {"path": "move_1", "invocation": str(number)}
        ended = {**step, "state": "succeeded", "error": None, "result": {"position": [number, float("nan")]}}
        entries = [
            ("submitted", SUBMITTED),
            ("started", {}),
            ("intended", {**step, "action": "move"}),
            ("ended", ended),
            ("finished", {"state": "succeeded", "error": None}),
        ]
        await journal.append(str(number), 0, entries)

    for number in range(60):
        await store(number)
    first = await text_now()
    await store(60)
    second = await text_now()

    assert first == {f"experiment_{n}": {"move_1": {"position": [n, None]}} for n in range(60)}
    assert second == first | {"experiment_60": {"move_1": {"position": [60, None]}}}


async def test_an_array_whose_record_is_gone_is_told_to_be_gone(journal, tmp_path):
    reference = {"$array": "arrays/0001.npy", "shape": [3], "dtype": "float64"}
    step = {"path": "draw_1", "invocation": "1"}
    ended = {**step, "state": "succeeded", "error": None, "result": {"picture": reference}}
    entries = [("submitted", SUBMITTED), ("started", {}), ("intended", {**step, "action": "draw"}), ("ended", ended)]
    await journal.append("019aa4c8-1c5e-7cc3-9a52-3f1e6a4a0d11", 0, entries)

    async with GrowingData(journal, Catalog(tmp_path), Changes()) as data:
        found = json.loads(b"".join(await data.chunks()))

    assert "no record" in found["experiment_0"]["draw_1"]


# What is sent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"), [("{", "not JSON"), ("5", "no JSON object"), ("{}", "no `soe`"), ("NaN", "not JSON")]
)
def test_what_is_no_experiment_of_the_old_form_is_refused(text, told):
    with pytest.raises(InvalidError, match=told):
        read_experiment(text)

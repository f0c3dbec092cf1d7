"""Learning how long things take: from the journal, later, once, and bounded."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labretto.instrument.reading import isoformat
from labretto.orchestrator import durations as module, journal as journal_module
from labretto.orchestrator.durations import ANY, MOST_POOLS, Durations
from labretto.orchestrator.journal import SqliteJournal

SUBMITTED = {"name": "x", "who": None, "parameters": {}, "experiment": {"format": "file"}}


class Clock:
    """The journal's."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Book:
    """Writes runs into a journal as the worker does."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self.journal = SqliteJournal(folder / "journal.db")
        self._numbers: dict[str, int] = {}

    async def write(self, run: str, kind: str, **body: Any) -> None:
        number = self._numbers.get(run, 0)
        await self.journal.append(run, number, [(kind, body)])
        self._numbers[run] = number + 1

    async def submit(self, run: str, **experiment: Any) -> None:
        await self.write(run, "submitted", **SUBMITTED | {"experiment": {"format": "file"} | experiment})
        await self.write(run, "started", lease=1)

    async def step(
        self, run: str, path: str, action: str, seconds: float, *, then: str = "succeeded", **more: Any
    ) -> None:
        await self.begin(run, path, action, **more)
        self.clock.later(seconds)
        await self.end(run, path, then)

    async def begin(self, run: str, path: str, action: str, **parameters: Any) -> None:
        words = {"instrument": "rig", "action": action, "effect": "once", "attempt": 1}
        await self.write(run, "intended", path=path, invocation=f"{run}-{path}", parameters=parameters, **words)

    async def end(self, run: str, path: str, state: str = "succeeded", origin: str = "answered") -> None:
        words = {"invocation": f"{run}-{path}", "result": None, "error": None, "started": "", "ended": ""}
        await self.write(run, "ended", path=path, state=state, origin=origin, **words)

    async def ask(self, run: str, path: str, text: str, seconds: float) -> None:
        question = {"path": path, "text": text, "kind": "ask", "choices": ["answer", "abort"]}
        await self.write(run, "waiting", reason=text, question=question)
        self.clock.later(seconds)
        await self.write(run, "settled", path=path, choice="answer", value=1, who="ada", why=None)

    @asynccontextmanager
    async def learned(self) -> AsyncIterator[Durations]:
        """What is known once everything was learned."""
        found = Durations(self.folder / "durations.db", self.journal)
        try:
            await found.catch_up()
            yield found
        finally:
            found.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(journal_module, "now", clock)
    return clock


@pytest.fixture
def book(tmp_path: Path, clock: Clock) -> AsyncIterator[Book] | Any:
    book = Book(tmp_path, clock)
    yield book
    book.journal.close()


async def test_the_same_parameters_come_before_all_others(book: Book):
    await book.submit("r")
    for k, seconds in enumerate([1.0, 1.0, 9.0]):
        await book.step("r", f"s{k}", "move", seconds, x=0 if seconds == 1 else 100)

    async with book.learned() as known:
        far, any_other = known.of_action("rig", "move", {"x": 100}), known.of_action("rig", "move", {"x": 50})
        assert far is not None
        assert any_other is not None
        assert (far.mean, far.n, far.source) == (9.0, 1, "same parameters")
        assert (any_other.n, any_other.source) == (3, "action")
        assert known.of_action("rig", "fly", {}) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda book: book.step("r", "s", "move", 1.0, then="failed"),
        lambda book: book.end("r", "s", origin="adopted"),
        lambda book: book.end("r", "s", origin="entered"),
    ],
    ids=["failed", "adopted after a crash", "entered by a person"],
)
async def test_only_ends_that_were_seen_and_went_well_count(book: Book, spoil: Callable[[Book], Any]):
    await book.submit("r")
    await book.begin("r", "s", "move")
    await spoil(book)

    async with book.learned() as known:
        assert known.of_action("rig", "move", {}) is None


async def test_what_happens_between_two_lessons_counts_once_also_over_a_restart(book: Book, clock: Clock):
    await book.submit("r")
    await book.step("r", "a", "move", 1.0)
    await book.begin("r", "b", "move")
    async with book.learned():
        pass
    clock.later(3.0)
    await book.end("r", "b")

    async with book.learned() as known:
        await known.catch_up()
        found = known.of_action("rig", "move", {})
        assert found is not None
        assert (found.n, found.mean) == (2, 2.0)


async def test_the_file_can_be_made_again(book: Book):
    await book.submit("r")
    await book.step("r", "a", "move", 1.0)
    async with book.learned() as known:
        before = known.table()
    for file in book.folder.glob("durations.db*"):
        file.unlink()

    async with book.learned() as known:
        assert known.table() == before


async def test_of_people_it_learns_how_long_they_take_to_answer(book: Book):
    await book.submit("r")
    await book.ask("r", "ask", "Put on gloves", 60.0)
    await book.ask("r", "ask~2", "Fetch liquid nitrogen", 1200.0)

    async with book.learned() as known:
        gloves, other = known.of_answer("Put on gloves"), known.of_answer("Is it blue?")
        assert gloves is not None
        assert other is not None
        assert (gloves.mean, gloves.n) == (60.0, 1)
        assert (other.mean, other.n) == (630.0, 2)


async def test_of_a_python_run_it_learns_the_whole_by_version_and_by_name(book: Book, clock: Clock):
    for run, digest, seconds in (("a", "old", 10.0), ("b", "new", 30.0), ("c", "new", 50.0)):
        await book.submit(run, format="python", function="anneal", hash=digest)
        clock.later(seconds)
        await book.write(run, "finished", state="failed" if run == "c" else "succeeded", error=None)

    async with book.learned() as known:
        same, changed, never = known.of_run("anneal", "new"), known.of_run("anneal", "x"), known.of_run("melt", "x")
        assert same is not None
        assert changed is not None
        assert (same.mean, same.n, same.source) == (30.0, 1, "earlier runs")
        assert (changed.mean, changed.n, changed.source) == (20.0, 2, "earlier version")
        assert never is None


async def test_the_file_stays_small_whatever_the_parameters(book: Book, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_POOLS", 5)
    await book.submit("r")
    for k in range(20):
        await book.step("r", f"s{k}", "move", 1.0, x=k)

    async with book.learned() as known:
        assert MOST_POOLS > 5
        rows = known._database.read("SELECT key FROM pools WHERE what = 'rig.move' AND key != ?", (ANY,))
        assert len(rows) == 5
        latest, first = known.of_action("rig", "move", {"x": 19}), known.of_action("rig", "move", {"x": 0})
        assert latest is not None
        assert first is not None
        assert (latest.source, first.source) == ("same parameters", "action")


async def test_people_see_what_is_known(book: Book, clock: Clock):
    await book.submit("r")
    await book.step("r", "a", "move", 2.0)

    async with book.learned() as known:
        (row,) = known.table()
        assert (row["what"], row["n"], row["last"]) == ("rig.move", 1, isoformat(clock.now))

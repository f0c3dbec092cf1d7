"""The word of a run is one state machine, and the engine, the table of runs and the page about it say the same."""

import asyncio
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from labretto.orchestrator.engine import _FOLDS, OVER, RunState, state_after
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.states import IN_THE_QUEUE, OPEN, TRANSITIONS, WORDS, allowed, diagram

from .conftest import Hub, World, do, steps

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/run-states.md"
QUESTION = {"text": "?", "kind": "ask", "choices": ["answer", "abort"]}


def bodies(kind: str) -> list[dict[str, Any]]:
    return [{"state": word} for word in sorted(OVER)] if kind == "finished" else [{}]


@pytest.mark.parametrize("kind", sorted({*TRANSITIONS, *_FOLDS, *IN_THE_QUEUE}))
def test_the_engine_does_what_the_table_says_and_nothing_else(kind: str) -> None:
    said = {state_after(kind, body, asks=asks) for body in bodies(kind) for asks in (None, "What?")}

    told = {word for following in TRANSITIONS.get(kind, {}).values() for word in following}
    assert {word for word in said if word} == told


def test_every_word_is_explained_and_reached_and_nothing_leads_out_of_an_end() -> None:
    reached = {word for each in TRANSITIONS.values() for following in each.values() for word in following}

    assert set(WORDS) == reached == {"queued", *OPEN, *OVER}
    assert not any(word in OVER for each in TRANSITIONS.values() for word in each)


class Walk:
    """Events that a run may have, chosen one after the other, with the word that the table gives."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.open: list[str] = []
        self._paths = itertools.count()

    def kinds(self, word: str) -> list[str]:
        plain = ["pausing", "resuming"] if word in OPEN else []
        kinds = [kind for kind, each in TRANSITIONS.items() if word in each and (kind != "settled" or self.open)]
        return sorted([*kinds, *plain])

    def add(self, kind: str, end: str) -> None:
        body: dict[str, Any] = {"kind": kind, "run": "a", "number": len(self.events) + 1, "at": "2026-11-21T08:00:00Z"}
        if kind == "submitted":
            body |= {"name": "walk", "experiment": {}, "parameters": {}}
        elif kind == "waiting":
            path = f"ask{next(self._paths)}"
            self.open.append(path)
            body |= {"reason": "?", "question": QUESTION | {"path": path}}
        elif kind == "settled":
            body |= {"path": self.open.pop(0), "choice": "answer", "value": 1, "who": "ada", "why": None}
        elif kind == "aborting":
            self.open.clear()  # what was asked is asked no more
        elif kind == "finished":
            body |= {"state": end, "error": None}
        self.events.append(body)


@settings(max_examples=200, deadline=None)
@given(strategies.data())
def test_any_walk_through_the_table_folds_to_the_words_of_the_table(data: strategies.DataObject) -> None:
    walk, word, state = Walk(), "", RunState("a")
    for _ in range(data.draw(strategies.integers(1, 20))):
        if not (kinds := walk.kinds(word)):
            break
        kind = data.draw(strategies.sampled_from(kinds))
        ends = sorted(TRANSITIONS["finished"].get(word, OVER))
        walk.add(kind, data.draw(strategies.sampled_from(ends)))

        state.apply(walk.events[-1])

        assert allowed(kind, word, state.word), (kind, word, state.word)
        assert (state.word == "waiting") <= bool(state.questions), "waits only while something is asked"
        word = state.word


def words_of(events: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Kind, word before, word after, for each event of a journal."""
    state, before = RunState("a", word=""), ""
    for event in events:
        state.apply(event)
        yield event["kind"], before, state.word
        before = state.word


async def test_the_journals_of_real_runs_keep_to_the_table(hub: Hub, world: World) -> None:
    runs = [
        await hub.does(steps(do("move", x=1), "{save: {x: 1}}")),
        await hub.does(steps(do("fail"))),
        await paused_and_ended(hub, world),
        await asked_and_answered(hub),
    ]
    for run in runs:
        found = list(words_of(hub.events(run)))
        assert [step for step in found if not allowed(*step)] == []
        assert found[-1][2] == hub.journal.row(run).state, "the table of runs says the same word"


async def paused_and_ended(hub: Hub, world: World) -> str:
    run = await hub.submit(steps(do("burn"), do("move", x=1)))
    await world.comes_to_a_halt()
    await hub.orchestrator.walker(run).pause("ada")
    world.go.set()
    await hub.comes_to(run, "paused")
    await hub.orchestrator.walker(run).abort("ada")
    assert await hub.ended(run) == "aborted"
    return run


async def asked_and_answered(hub: Hub) -> str:
    run = await hub.submit(steps("{ask: Which?, choices: [left, right]}"))
    await hub.comes_to(run, "waiting")
    await hub.orchestrator.walker(run).answer("left", None, who="ada", why=None)
    assert await hub.ended(run) == "succeeded"
    return run


async def test_a_run_that_never_began_ends_too(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    walk = Walk()
    for kind in ("submitted", "finished"):
        walk.add(kind, "aborted")
    await journal.append("a", 0, [(event["kind"], event) for event in walk.events])

    assert journal.row("a").state == "aborted"
    assert all(allowed(*step) for step in words_of(walk.events))
    await asyncio.to_thread(journal.close)


def test_the_page_shows_this_machine() -> None:
    text = PAGE.read_text("utf-8")

    assert re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL) == [diagram() + "\n"]
    for word, meaning in WORDS.items():
        assert f"| `{word}` | {meaning} |" in text

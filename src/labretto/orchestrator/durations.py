"""What the lab has learned of durations: of actions, of people's answers, of whole Python runs.

Folded from the journal by sequence number into a small file of its own, some time after things happened and never in
the transaction in which they are written: acting does not wait for learning. The file is derived; whoever deletes it
gets it made again. A *pool* holds the last ends of one thing: of an action, and of the same action with the same
parameters. What an estimate makes of them is said in `labretto.experiment.estimate`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from labretto.catalog.live import Changes
from labretto.errors import LabError
from labretto.experiment.estimate import Estimate, Source, learned
from labretto.instrument import codec
from labretto.orchestrator.engine import OVER
from labretto.orchestrator.journal import Event, Journal
from labretto.sqlite import Database

logger = logging.getLogger(__name__)

LAST = 20
"""Ends of each pool that count."""
MOST_POOLS = 1_000
"""Of one action, by parameters; those used longest ago are forgotten."""
BATCH = 1_000
"""Events that are folded at once."""
LEARN_AFTER = 2.0
"""Seconds after the end of a run; what ends meanwhile is learned with it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pools (
    what TEXT NOT NULL, key TEXT NOT NULL, last TEXT NOT NULL, ends TEXT NOT NULL, PRIMARY KEY (what, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pools_by_age ON pools (what, last);
CREATE TABLE IF NOT EXISTS begun (run TEXT NOT NULL, path TEXT NOT NULL, what TEXT NOT NULL, key TEXT NOT NULL,
    at TEXT, PRIMARY KEY (run, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL);
INSERT OR IGNORE INTO progress VALUES (1, 0);
"""
ANY = ""
"""The key of the pool of all parameters, all questions, all versions."""


@dataclass(frozen=True)
class Begun:
    """Something whose end is to come."""

    what: str
    key: str
    at: str


@dataclass(frozen=True)
class End:
    """How long something took."""

    what: str
    key: str
    seconds: float
    at: str


class Durations:
    """The learned durations of one lab. Any thread may ask.

    Args:
        path: of their file.
        journal: where they are learned from.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self._database = Database(path, _SCHEMA)
        self._journal = journal
        self._folding = asyncio.Lock()

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    # Learning -----------------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Learn from everything that the journal holds by now."""
        async with self._folding:
            while await asyncio.to_thread(self._fold_next):
                pass

    async def keep_up(self, changes: Changes) -> None:
        """Learn whenever runs have ended, for ever; what stands in the way of learning stands in nobody else's way."""
        async with asyncio.TaskGroup() as group:
            ended = asyncio.Event()
            ended.set()  # what an earlier process left
            group.create_task(self._learn_when(ended))
            async for batch in changes.subscribe():
                if batch.missed or any(c.topic == "run" and c.body.get("state") in OVER for c in batch.changes):
                    ended.set()

    async def _learn_when(self, ended: asyncio.Event) -> None:
        while True:
            await ended.wait()
            await asyncio.sleep(LEARN_AFTER)
            ended.clear()
            try:
                await self.catch_up()
            except LabError as error:
                logger.warning("durations are not learned", extra={"why": str(error)})

    def _fold_next(self) -> bool:
        """Learn from the next events; False if there are none."""
        (row,) = self._database.read("SELECT sequence FROM progress")
        found = self._journal.since(row["sequence"], BATCH)
        if found:
            fold = _Fold({(r["run"], r["path"]): Begun(r["what"], r["key"], r["at"]) for r in self._begun()})
            ends = [end for _, event in found for end in fold.take(event)]
            self._database.transact(lambda c: _keep(c, ends, fold.begun, found[-1][0])).result()
        return len(found) == BATCH

    def _begun(self) -> Sequence[sqlite3.Row]:
        return self._database.read("SELECT * FROM begun")

    # Asking -------------------------------------------------------------------------------------------------------

    def of_action(self, instrument: str, action: str, parameters: Mapping[str, Any] | None) -> Estimate | None:
        """See `labretto.experiment.estimate.Known`."""
        what = f"{instrument}.{action}"
        if parameters and (same := self._estimate(what, key_of(parameters), "same parameters")):
            return same
        return self._estimate(what, ANY, "action")

    def of_answer(self, text: str) -> Estimate | None:
        """See `labretto.experiment.estimate.Known`."""
        return self._estimate(_ANSWERS, _digest(text.encode()), "action") or self._estimate(_ANSWERS, ANY, "action")

    def of_run(self, function: str, digest: str) -> Estimate | None:
        """Of a Python experiment: its source's hash tells its version. None: no run of it has ended well."""
        what = f"run {function}"
        return self._estimate(what, digest, "earlier runs") or self._estimate(what, ANY, "earlier version")

    def table(self) -> list[dict[str, Any]]:
        """What is known, for people: each action with its number of ends and its spread."""
        rows = self._database.read("SELECT what, last, ends FROM pools WHERE key = ? ORDER BY what", (ANY,))
        return [
            {"what": row["what"], "last": row["last"], "n": known.n, "seconds": known.spread.as_dict()}
            for row in rows
            if (known := learned(json.loads(row["ends"]), "action", row["what"]))
        ]

    def _estimate(self, what: str, key: str, source: Source) -> Estimate | None:
        rows = self._database.read("SELECT ends FROM pools WHERE what = ? AND key = ?", (what, key))
        return learned(json.loads(rows[0]["ends"]), source, f"{what} {key}") if rows else None


_ANSWERS = "people's answers"


def key_of(parameters: Mapping[str, Any]) -> str:
    """What two calls with the same parameters have in common."""
    return _digest(codec.encode_sorted(dict(parameters)))


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class _Fold:
    """Events in, ends out; what has begun and not ended is kept for the next time."""

    def __init__(self, begun: dict[tuple[str, str], Begun]) -> None:
        self.begun = begun

    def take(self, event: Event) -> Iterator[End]:
        """What one event tells of durations."""
        body, path = event.body, (event.run, str(event.body.get("path", "")))
        match event.kind:
            case "intended":
                what = f"{body['instrument']}.{body['action']}"
                self.begun[path] = Begun(what, key_of(body["parameters"]) if body["parameters"] else ANY, event.at)
            case "waiting" if body["question"].get("kind") == "ask":
                asked = (event.run, body["question"]["path"])
                text = str(body["question"].get("text", ""))
                self.begun[asked] = Begun(_ANSWERS, _digest(text.encode()), event.at)
            case "submitted" if body["experiment"].get("format") == "python":
                words = body["experiment"]
                self.begun[event.run, ""] = Begun(f"run {words['function']}", words["hash"], "")
            case "started":
                if run := self.begun.get((event.run, "")):
                    self.begun[event.run, ""] = Begun(run.what, run.key, event.at)
            case "ended":
                yield from self._end(path, event, counts=body["state"] == "succeeded" and body["origin"] == "answered")
            case "settled":
                yield from self._end(path, event, counts=body["choice"] != "abort")
            case "finished":
                yield from self._end((event.run, ""), event, counts=body["state"] == "succeeded")
                for left in [each for each in self.begun if each[0] == event.run]:
                    del self.begun[left]

    def _end(self, path: tuple[str, str], event: Event, *, counts: bool) -> Iterator[End]:
        begun = self.begun.pop(path, None)
        if begun is not None and begun.at and counts:
            seconds = (datetime.fromisoformat(event.at) - datetime.fromisoformat(begun.at)).total_seconds()
            yield End(begun.what, begun.key, round(max(0.0, seconds), 6), event.at)


def _keep(
    connection: sqlite3.Connection, ends: Sequence[End], begun: Mapping[tuple[str, str], Begun], sequence: int
) -> None:
    """Put what was learned up to event `sequence` into the file; in one transaction, so nothing counts twice."""
    pools: defaultdict[tuple[str, str], list[End]] = defaultdict(list)
    for end in ends:
        pools[end.what, ANY].append(end)
        if end.key != ANY:
            pools[end.what, end.key].append(end)
    fresh = {what for (what, key), of in pools.items() if _add(connection, what, key, of)}
    for what in fresh:
        _forget(connection, what)
    connection.execute("DELETE FROM begun")
    rows = [(run, path, each.what, each.key, each.at) for (run, path), each in begun.items()]
    connection.executemany("INSERT INTO begun VALUES (?, ?, ?, ?, ?)", rows)
    connection.execute("UPDATE progress SET sequence = ?", (sequence,))


def _add(connection: sqlite3.Connection, what: str, key: str, ends: Sequence[End]) -> bool:
    """Put ends into a pool; True if the pool is new."""
    found = connection.execute("SELECT ends FROM pools WHERE what = ? AND key = ?", (what, key)).fetchone()
    last = [*(json.loads(found["ends"]) if found else ()), *(end.seconds for end in ends)][-LAST:]
    connection.execute("INSERT OR REPLACE INTO pools VALUES (?, ?, ?, ?)", (what, key, ends[-1].at, json.dumps(last)))
    return found is None


def _forget(connection: sqlite3.Connection, what: str) -> None:
    old = "SELECT key FROM pools WHERE what = ? AND key != '' ORDER BY last DESC LIMIT -1 OFFSET ?"
    connection.execute(f"DELETE FROM pools WHERE what = ? AND key IN ({old})", (what, what, MOST_POOLS))

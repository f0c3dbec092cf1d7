"""Finding records: one SQLite table with an index for each question asked of it.

The index holds nothing of its own: `rebuild` makes it again from the records' folders. A record's row number is the
microsecond it was submitted, so "the newest 50" is a walk along the table, whatever else is asked.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from labretto.catalog.events import read_events
from labretto.catalog.history import fold
from labretto.catalog.store import Catalog, place_of, read_manifest
from labretto.errors import InvalidError
from labretto.sqlite import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, state TEXT NOT NULL, who TEXT NOT NULL,
    submitted TEXT, started TEXT, ended TEXT, folder TEXT NOT NULL, words TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_state ON records(state, number);
CREATE TABLE IF NOT EXISTS labels(label TEXT, record INTEGER, PRIMARY KEY (label, record)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_of ON labels(record);
CREATE TRIGGER IF NOT EXISTS unlabelled AFTER DELETE ON records BEGIN
    DELETE FROM labels WHERE record = old.number; END;
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5(
    name, who, id, words, state, content='records', content_rowid='number', prefix='2 3');
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON records BEGIN
    INSERT INTO texts(rowid, name, who, id, words, state)
    VALUES (new.number, new.name, new.who, new.id, new.words, new.state); END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON records BEGIN
    INSERT INTO texts(texts, rowid, name, who, id, words, state)
    VALUES ('delete', old.number, old.name, old.who, old.id, old.words, old.state); END;
CREATE TRIGGER IF NOT EXISTS changed AFTER UPDATE ON records BEGIN
    INSERT INTO texts(texts, rowid, name, who, id, words, state)
    VALUES ('delete', old.number, old.name, old.who, old.id, old.words, old.state);
    INSERT INTO texts(rowid, name, who, id, words, state)
    VALUES (new.number, new.name, new.who, new.id, new.words, new.state); END;
"""
_UPSERT = """
INSERT INTO records(number, id, name, state, who, submitted, started, ended, folder, words)
VALUES (CASE WHEN EXISTS(SELECT 1 FROM records WHERE number = :number AND id <> :id) THEN NULL ELSE :number END,
        :id, :name, :state, :who, :submitted, :started, :ended, :folder, :words)
ON CONFLICT(id) DO UPDATE SET name = :name, state = :state, who = :who, submitted = :submitted, started = :started,
    ended = :ended, folder = :folder, words = :words
"""
_COLUMNS = ("id", "name", "state", "who", "submitted", "started", "ended", "folder")

Time = str | date | datetime
"""ISO 8601 text, a date (its first moment in UTC), or an aware datetime."""


class Index(AbstractContextManager["Index"]):
    """The file `catalog.db`."""

    def __init__(self, file: Path) -> None:
        self._database = Database(file, _SCHEMA)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def upsert(self, manifest: Mapping[str, Any]) -> Future[None]:
        """Add a record or change what is said of it; the future resolves when it is found.

        Args:
            manifest: at least "id" and "submitted"; also "name", "state", "who", "started", "ended", "experiment",
                "instruments", "labels" and "folder" (relative to the catalog's; known from the other two).
        """
        row, labels = _row(manifest), _labels(manifest)
        return self._database.transact(lambda connection: _store(connection, row, labels))

    def say(self, run: str, state: str) -> Future[int]:
        """Change what is said of a record's state while its run goes on."""
        return self._database.write("UPDATE records SET state = ? WHERE id = ?", (state, run))

    def label(self, run: str, labels: Sequence[str]) -> Future[None]:
        """Change a record's labels while its run goes on."""
        return self._database.transact(lambda connection: _label(connection, run, labels))

    def unknown(self, runs: Sequence[str]) -> list[str]:
        """Those of `runs` (up to some hundreds) that stand here under no state."""
        marks = ", ".join("?" * len(runs))
        known = {row["id"] for row in self._database.read(f"SELECT id FROM records WHERE id IN ({marks})", runs)}
        return [run for run in runs if run not in known]

    def search(
        self,
        text: str | None = None,
        *,
        state: str | None = None,
        after: Time | None = None,
        before: Time | None = None,
        label: str | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """The newest records first.

        Args:
            text: words; each is the beginning of a word in name, who, id, description, file, instruments or labels.
            state: of the run.
            after: submitted then or later.
            before: submitted earlier.
            label: has this label, exactly.
            limit: at most so many, up to 10,000.

        Raises:
            InvalidError: a time that is none.
        """
        wanted = [f'"{word}"*' for word in re.findall(r"\w+", text or "")]
        if (text and text.strip() and not wanted) or (state and not state.isidentifier()):
            return []
        clauses, values = _range(after, before)
        if wanted:
            if label is not None:
                clauses, values = [*clauses, "IN (SELECT record FROM labels WHERE label = ?)"], [*values, label]
            match = f"{{name who id words}} : ({' AND '.join(wanted)})" + (f' AND state : "{state}"' if state else "")
            return self._read(_BY_TEXT, ["texts.rowid " + clause for clause in clauses], [match, *values], limit)
        query, number = (_PLAIN, "number ") if label is None else (_BY_LABEL, "labels.record ")
        clauses = [number + clause for clause in clauses] + (["state = ?"] if state else [])
        values = [*([] if label is None else [label]), *values, *([state] if state else [])]
        return self._read(query, clauses, values, limit)

    def rebuild(self, catalog: Catalog) -> int:
        """Make the index again from the records' folders; answers how many there are. It answers searches meanwhile."""
        manifests = (manifest for folder in catalog.folders() if (manifest := _manifest_of(folder, catalog)))
        rows = [(_row(manifest), _labels(manifest)) for manifest in manifests]

        def replace(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM records")
            for row, labels in rows:
                _store(connection, row, labels)

        self._database.transact(replace, flush=True).result()
        return len(rows)

    def _read(self, query: str, clauses: list[str], values: list[Any], limit: int) -> list[dict[str, Any]]:
        sql = query.format(clauses=" AND ".join(clauses) or "1")
        return [dict(row) for row in self._database.read(sql, [*values, max(0, min(limit, 10_000))])]


_PLAIN = f"SELECT {', '.join(_COLUMNS)} FROM records WHERE {{clauses}} ORDER BY number DESC LIMIT ?"
_BY_LABEL = (
    f"SELECT {', '.join(_COLUMNS)} FROM labels JOIN records ON records.number = labels.record "
    "WHERE labels.label = ? AND {clauses} ORDER BY labels.record DESC LIMIT ?"
)
_BY_TEXT = (
    f"SELECT {', '.join(f'records.{name}' for name in _COLUMNS)} "
    "FROM texts JOIN records ON records.number = texts.rowid "
    "WHERE texts MATCH ? AND {clauses} ORDER BY texts.rowid DESC LIMIT ?"
)


def moment(value: Time) -> datetime:
    """A time as people give it, aware.

    Raises:
        InvalidError: it is none. A time without zone is taken as UTC.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidError(f"{value!r} is no time.", way_out="Write 2026-11-21 or 2026-11-21T08:00Z.") from None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), UTC)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _store(connection: sqlite3.Connection, row: Mapping[str, Any], labels: Sequence[str]) -> None:
    connection.execute(_UPSERT, row)
    _label(connection, row["id"], labels)


def _label(connection: sqlite3.Connection, run: str, labels: Sequence[str]) -> None:
    """The labels of a record are these; nothing is done if there is no such record."""
    if found := connection.execute("SELECT number FROM records WHERE id = ?", (run,)).fetchone():
        connection.execute("DELETE FROM labels WHERE record = ?", (found["number"],))
        rows = [(label, found["number"]) for label in labels]
        connection.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?)", rows)


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    return [str(label) for label in manifest.get("labels") or []]


def _range(after: Time | None, before: Time | None) -> tuple[list[str], list[Any]]:
    bounds = {">= ?": after, "< ?": before}
    given = {clause: _number(moment(value)) for clause, value in bounds.items() if value is not None}
    return list(given), list(given.values())


def _number(when: datetime) -> int:
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _row(manifest: Mapping[str, Any]) -> dict[str, Any]:
    submitted = manifest.get("submitted")
    when = moment(submitted) if isinstance(submitted, str) else datetime.now(UTC)
    experiment = manifest.get("experiment") or {}
    words = [experiment.get("description"), experiment.get("file"), experiment.get("function")]
    words += [manifest.get("description"), *(manifest.get("instruments") or {}), *_labels(manifest)]
    row: dict[str, Any] = {name: manifest.get(name) for name in _COLUMNS} | {"number": _number(when)}
    row |= {name: str(manifest.get(name) or "") for name in ("id", "name", "state", "who")}
    row["folder"] = str(manifest.get("folder") or place_of(row["id"], manifest))
    return row | {"words": " ".join(str(word) for word in words if word)}


def _manifest_of(folder: Path, catalog: Catalog) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if "finalised" not in manifest:
        history = fold(read_events(folder))
        if history.last_number:
            manifest |= {key: value for key, value in history.manifest().items() if value}
    if not manifest:
        return {}
    place = folder.relative_to(catalog.folder)
    known = {"id": folder.name, "folder": place.as_posix()}
    return {"submitted": f"{place.parts[0]}-{place.parts[1]}-01"} | manifest | known

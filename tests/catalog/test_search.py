from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from labretto.catalog.finish import finalise
from labretto.catalog.search import _BY_LABEL, Index
from labretto.catalog.store import Catalog
from labretto.errors import InvalidError

from .conftest import append

FIRST = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "catalog.db") as index:
        yield index


def add(index: Index, run_id: str, **said: Any) -> None:
    index.upsert({"id": run_id, "submitted": "2026-11-21T04:00:00Z", **said}).result()


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [record["id"] for record in found]


def test_of_some_runs_it_says_which_it_does_not_know(index: Index) -> None:
    add(index, "r1")
    assert index.unknown(["r2", "r1", "r3"]) == ["r2", "r3"]
    assert index.unknown([]) == []


@pytest.fixture
def month(index: Index) -> Index:
    """One run a day: r1 to r30."""
    for i in range(1, 31):
        at = FIRST + timedelta(days=i - 1)
        state = "failed" if i % 10 == 0 else "succeeded"
        add(index, f"r{i}", name=f"scan {i} of library", who="ann", state=state, submitted=at.isoformat())
    return index


def test_the_newest_come_first(month: Index) -> None:
    assert ids(month.search(limit=3)) == ["r30", "r29", "r28"]


def test_records_are_found_by_state(month: Index) -> None:
    assert ids(month.search(state="failed")) == ["r30", "r20", "r10"]


def test_records_are_found_by_the_beginnings_of_words(month: Index) -> None:
    assert ids(month.search("lib 7")) == ["r7"]
    assert ids(month.search("SCAN", state="failed", limit=2)) == ["r30", "r20"]
    assert month.search("failed") == [], "the state is not a word of the name"


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ("2026-11-05", "2026-11-07"),
        (date(2026, 11, 5), date(2026, 11, 7)),
        (datetime(2026, 11, 5, 9, tzinfo=timezone(timedelta(hours=9))), "2026-11-06T23:59:59.999999Z"),
    ],
)
def test_records_are_found_by_time(month: Index, after: Any, before: Any) -> None:
    assert ids(month.search(after=after, before=before)) == ["r6", "r5"]
    assert ids(month.search("scan", after=after, before=before)) == ["r6", "r5"]


@pytest.mark.parametrize(
    "text", ['"', "' OR 1=1 --", "NEAR(a b)", "*", "name:", "a AND", "(", "{}", "\0", "-", "{name}"]
)
def test_any_text_is_only_a_text(month: Index, text: str) -> None:
    assert month.search(text) == []
    month.search(state=text)
    month.search("scan", state=text)


def test_a_time_that_is_none_is_refused(index: Index) -> None:
    with pytest.raises(InvalidError, match="'yesterday' is no time"):
        index.search(after="yesterday")


def test_what_is_said_of_a_record_changes(index: Index) -> None:
    add(index, "r", name="draft", state="running")
    add(index, "r", name="final", state="succeeded", ended="2026-11-21T05:00:00Z")

    assert index.search("draft") == []
    assert index.search("final", state="running") == []
    (found,) = index.search("final", state="succeeded")
    assert found == {
        "id": "r", "name": "final", "state": "succeeded", "who": "", "submitted": "2026-11-21T04:00:00Z",
        "started": None, "ended": "2026-11-21T05:00:00Z", "folder": "2026/11/r",
    }  # fmt: skip


def test_runs_of_one_moment_are_all_kept(index: Index) -> None:
    for run_id in "abc":
        add(index, run_id)
        add(index, run_id, name="again")

    assert sorted(ids(index.search("again"))) == ["a", "b", "c"]


def test_words_of_instruments_and_description_are_found(index: Index) -> None:
    add(index, "r", instruments={"furnace": {}}, experiment={"description": "Annealing of films"})

    assert ids(index.search("furnace anneal")) == ["r"]


def test_the_index_is_made_again_from_the_folders(index: Index, catalog: Catalog) -> None:
    for run_id, state in [("r1", "succeeded"), ("r2", None), ("r3", "failed")]:
        with catalog.begin(run_id, {"submitted": "2026-11-21T04:00:00Z", "name": "scan"}) as writer:
            append(writer, "started", instruments={})
            if state:
                append(writer, "finished", state=state)
    finalise(catalog.find("r1"))
    (catalog.find("r3") / "run.json").write_bytes(b"\0\0")
    (catalog.find("r3").parent / "not a record").mkdir()
    add(index, "gone")

    assert index.rebuild(catalog) == 3
    found = {record["id"]: (record["state"], record["folder"]) for record in index.search()}
    assert found == {
        "r1": ("succeeded", "2026/11/r1"), "r2": ("running", "2026/11/r2"), "r3": ("failed", "2026/11/r3"),
    }  # fmt: skip


def test_questions_are_answered_by_an_index_not_by_a_walk(month: Index) -> None:
    """What the query planner says is what keeps 100,000 records a matter of microseconds."""
    plans = [
        month._database.read("EXPLAIN QUERY PLAN " + sql, values)
        for sql, values in [
            ("SELECT * FROM records WHERE 1 ORDER BY number DESC LIMIT ?", [50]),
            ("SELECT * FROM records WHERE state = ? ORDER BY number DESC LIMIT ?", ["failed", 50]),
            ("SELECT * FROM records WHERE number >= ? AND state = ? ORDER BY number DESC LIMIT ?", [1, "failed", 50]),
        ]
    ]
    by_label = month._database.read("EXPLAIN QUERY PLAN " + _BY_LABEL.format(clauses="1"), ["film", 50])
    assert not any("TEMP B-TREE" in row["detail"] or "SCAN" in row["detail"] for row in by_label)

    assert not any("TEMP B-TREE" in row["detail"] for plan in plans for row in plan)
    assert all("by_state" in plan[0]["detail"] for plan in plans[1:])


def test_a_record_is_found_by_the_word_its_run_has_now(tmp_path: Path) -> None:
    """A run that waits is found as waiting, and no longer as running; by words in its name too."""
    with Index(tmp_path / "catalog.db") as index:
        index.upsert(
            {"id": "a", "name": "night scan", "submitted": "2026-11-21T04:00:00Z", "state": "running"}
        ).result()

        index.say("a", "waiting").result()

        assert [found["state"] for found in index.search(state="waiting")] == ["waiting"]
        assert index.search(state="running") == []
        assert [found["id"] for found in index.search("night", state="waiting")] == ["a"]


def test_records_are_found_by_their_labels(index: Index) -> None:
    add(index, "a", labels=["thin film", "night"])
    add(index, "b", labels=["film"])
    add(index, "c")

    assert ids(index.search(label="film")) == ["b"]
    assert ids(index.search("film")) == ["b", "a"]
    assert ids(index.search("film", label="night")) == ["a"]
    assert index.search(label="fil") == []
    assert ids(index.search(label="film", after="2026-11-21", state="")) == ["b"]
    assert index.search(label="film", before="2026-11-20") == []
    assert index.search(label="film", state="failed") == []


def test_labels_change_while_a_run_goes_on(index: Index) -> None:
    add(index, "a", labels=["old"])
    index.label("a", ["new", "new"]).result()
    index.label("nobody", ["new"]).result()

    assert index.search(label="old") == []
    assert ids(index.search(label="new")) == ["a"]

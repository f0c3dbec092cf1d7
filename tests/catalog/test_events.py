import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from labretto.catalog.events import FILE, EventLog, read_events
from labretto.errors import ConflictError, InvalidError, StorageError

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def event(number: int, **body: object) -> dict[str, object]:
    return {"run": "r", "number": number, "kind": "saved", **body}


def write(folder: Path, count: int) -> bytes:
    (folder / FILE).unlink(missing_ok=True)
    log = EventLog(folder)
    for number in range(1, count + 1):
        log.append(event(number, text="é" * number))
    log.close()
    return (folder / FILE).read_bytes()


def test_the_file_is_data_and_not_a_program(tmp_path: Path) -> None:
    write(tmp_path, 1)

    assert not (tmp_path / FILE).stat().st_mode & 0o111


@SAME_FOLDER
@given(cut=st.integers(0, 10_000), rubbish=st.binary(max_size=40))
def test_a_file_cut_anywhere_keeps_its_whole_events_and_is_appended_to(
    tmp_path: Path, cut: int, rubbish: bytes
) -> None:
    whole = write(tmp_path, 12)
    kept = whole[: cut % (len(whole) + 1)]
    (tmp_path / FILE).write_bytes(kept + rubbish)
    expected = kept.count(b"\n")

    assert [each["number"] for each in read_events(tmp_path)] == list(range(1, expected + 1))

    log = EventLog(tmp_path)
    assert log.last_number == expected
    for number in range(1, 13):
        log.append(event(number, text="é" * number))
    log.close()
    assert (tmp_path / FILE).read_bytes() == whole


@pytest.mark.parametrize("tail", [b"\0" * 200_000, b"\0" * 70_000 + b"\n", b'{"number": 13', b"\n\n"])
def test_what_a_power_cut_leaves_at_the_end_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    whole = write(tmp_path, 12)
    (tmp_path / FILE).write_bytes(whole + tail)

    log = EventLog(tmp_path)
    log.close()

    assert log.last_number == 12
    assert (tmp_path / FILE).read_bytes() == whole


def test_an_event_longer_than_a_block_is_found_again(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.append(event(1))
    log.append(event(2, text="x" * 300_000))
    log.close()

    assert EventLog(tmp_path).last_number == 2


def test_an_event_that_is_there_is_not_written_twice(tmp_path: Path) -> None:
    log = EventLog(tmp_path)

    assert log.append(event(1))
    assert not log.append(event(1))
    assert len(list(read_events(tmp_path))) == 1


def test_an_event_after_a_gap_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="events from 1 on first"):
        EventLog(tmp_path).append(event(3))


@pytest.mark.parametrize("number", [None, 0, "1", True])
def test_an_event_needs_a_number(tmp_path: Path, number: object) -> None:
    with pytest.raises(InvalidError, match="needs a number"):
        EventLog(tmp_path).append({"number": number})


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, files_at_most: Callable[[int], AbstractContextManager[None]]
) -> None:
    """A limit on the size of files stands for the disk; the first bytes of the event still fit."""
    log = EventLog(tmp_path)
    log.append(event(1))
    before = (tmp_path / FILE).read_bytes()

    with files_at_most(len(before) + 10), pytest.raises(StorageError, match="cannot be written"):
        log.append(event(2))

    assert (tmp_path / FILE).read_bytes() == before
    assert log.append(event(2))
    assert [json.loads(line)["number"] for line in (tmp_path / FILE).read_bytes().splitlines()] == [1, 2]


def test_a_record_without_events_has_none(tmp_path: Path) -> None:
    assert list(read_events(tmp_path)) == []

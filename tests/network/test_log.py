"""What a host and its driver write is kept, and is bounded."""

import subprocess
import sys
from pathlib import Path

from labretto.network.log import LIMIT, last_lines, move_aside, open_log

WRITER = """
import os, sys, threading
from pathlib import Path
from labretto.network import log
log.LOOK_EVERY = 0.01
path = Path(sys.argv[1])
log.keep_bounded(path)
before = os.fstat(2)
os.truncate(path, log.LIMIT)
while os.path.samestat(os.fstat(2), before):
    pass
print("the new piece", flush=True)
"""


def test_a_log_is_made_with_its_folder_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "hosts/stage/log.txt"
    for line in (b"first\n", b"second\n"):
        with open_log(path) as file:
            file.write(line)

    assert last_lines(path) == ["first", "second"]


def test_a_log_that_is_too_long_becomes_the_earlier_piece(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(b"x" * LIMIT)

    assert move_aside(path)
    assert not move_aside(path)
    assert (tmp_path / "log.1.txt").stat().st_size == LIMIT


def test_a_process_that_goes_on_writing_begins_a_new_piece(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with open_log(path) as file:
        subprocess.run([sys.executable, "-c", WRITER, str(path)], stdout=file, stderr=file, check=True, timeout=30)

    assert last_lines(path) == ["the new piece"]
    assert (tmp_path / "log.1.txt").stat().st_size == LIMIT


def test_only_the_end_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{n}\n" for n in range(100_000)))

    assert last_lines(path, 3) == ["99997", "99998", "99999"]
    assert last_lines(tmp_path / "none.txt") == []

"""A lock lives exactly as long as the process that holds it, and who waits for its end wakes at that moment."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labretto.errors import ConflictError, StorageError
from labretto.network.liveness import held, hold, holder, released, wait_until_released

HOLDER = """
import subprocess, sys
from pathlib import Path
from labretto.network.liveness import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "hosts" / "stage" / "lock"


@pytest.fixture
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_is_held_while_the_block_runs(lock: Path) -> None:
    assert not held(lock)
    with hold(lock):
        assert held(lock)
        assert holder(lock) == os.getpid()
    assert not held(lock)
    assert holder(lock) is None


def test_a_second_holder_is_told_who_has_it(lock: Path, other: subprocess.Popen[str]) -> None:
    assert holder(lock) == other.pid
    with pytest.raises(ConflictError, match=f"held by the process {other.pid}") as refused, hold(lock):
        pass
    assert refused.value.fields["pid"] == other.pid


def test_one_process_cannot_hold_it_twice(lock: Path) -> None:
    with hold(lock), pytest.raises(ConflictError), hold(lock):
        pass


def test_a_refused_holder_takes_nothing_from_the_one_who_has_it(lock: Path) -> None:
    with hold(lock):
        with pytest.raises(ConflictError), hold(lock):
            pass
        assert held(lock)


async def test_the_end_of_a_killed_process_wakes_who_waits(lock: Path, other: subprocess.Popen[str]) -> None:
    waiting = asyncio.create_task(released(lock))
    await asyncio.sleep(0)
    assert not waiting.done()

    other.send_signal(signal.SIGKILL)

    await waiting
    assert not held(lock)


async def test_nobody_holding_is_an_end_already(lock: Path) -> None:
    await released(lock)
    with hold(lock):
        pass
    await released(lock)


async def test_who_no_longer_waits_is_not_disturbed(lock: Path, other: subprocess.Popen[str]) -> None:
    waiting = asyncio.create_task(released(lock))
    await asyncio.sleep(0)
    waiting.cancel()
    other.kill()
    wait_until_released(lock)

    assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError


def test_those_who_look_and_wait_never_keep_a_holder_out(lock: Path) -> None:
    """Both take the lock for an instant, which must not look like another holder."""
    end = threading.Event()

    def look() -> None:
        while not end.is_set():
            held(lock)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(look)
        for _ in range(200):
            with hold(lock):
                assert held(lock)
        end.set()


def test_a_child_process_does_not_inherit_it(lock: Path) -> None:
    """A driver may start programs that outlive its host."""
    with hold(lock):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert not held(lock)
    child.communicate()


def test_a_forked_child_does_not_keep_it(lock: Path) -> None:
    """A driver may use multiprocessing, whose workers are forks."""
    here, there = socket.socketpair()
    with here, there:
        with hold(lock):
            pid = os.fork()
            if pid == 0:
                here.close()
                there.send(b"forked")
                there.recv(1)
                os._exit(0)
            there.close()
            here.recv(6)
            assert held(lock)
        assert not held(lock)
    os.waitpid(pid, 0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="file/lock cannot be made"), hold(tmp_path / "file" / "lock"):
        pass

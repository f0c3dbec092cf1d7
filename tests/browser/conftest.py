"""A real hub with real instruments in processes of their own, for all browser tests; each test has a fresh page.

The hub is started once, because that costs seconds; a test leaves its queue empty and its halt reset.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.conftest import QUIET_CHROMIUM

LAB = f"""
name = "bench"

[instruments.stage]
driver = "labretto.instrument.simulated.stage:SampleStage"
settings = {{ velocity = 10.0, acceleration = 200.0 }}

[instruments.potentiostat]
driver = "labretto.instrument.simulated.potentiostat:Potentiostat"
settings = {{ time_scale = 10.0 }}

[instruments.balance]
driver = "drivers:Balance"
path = "{Path(__file__).parent}"

[instruments.broken]
driver = "nowhere:Furnace"

[instruments.transfer_arm_of_the_glovebox_on_the_north_side_upper_chamber]
driver = "drivers:Balance"
path = "{Path(__file__).parent}"

[instruments.deaf]
driver = "drivers:Deaf"
path = "{Path(__file__).parent}"
settings = {{ folder = "FOLDER" }}

[instruments.dispenser]
driver = "drivers:Dispenser"
path = "{Path(__file__).parent}"
poll = {{ pressure = 0.1 }}
alarms.pressure = {{ above = 5, severity = "critical" }}
"""

PATIENCE = 15_000  # ms until an expectation fails; two cores may be busy with other things


@dataclass
class Hub:
    """A hub process that can be killed and started again at the same address."""

    folder: Path
    port: int
    process: "subprocess.Popen[str] | None" = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers."""
        command = [sys.executable, "-m", "labretto", "up", str(self.folder / "lab.toml"), "--port", str(self.port)]
        environment = os.environ | {"LABRETTO_HOME": str(self.folder / "home"), "PYTHONUNBUFFERED": "1"}
        with (self.folder / "log.txt").open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            pytest.fail((self.folder / "log.txt").read_text())

    def kill(self) -> None:
        """SIGKILL; its hosts go on for a while."""
        self._leave(lambda process: process.kill())

    def stop(self) -> None:
        """SIGTERM; its hosts end with it."""
        self._leave(lambda process: process.terminate())

    def _leave(self, end: object) -> None:
        assert self.process is not None
        assert callable(end)
        with self.process as process:
            end(process)

    def ask(self, method: str, path: str, body: object = None) -> object:
        """What the interface answers; for what a test prepares, not for what it checks."""
        answer = httpx2.request(method, f"{self.url}/api/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def submit(self, experiment: str) -> str:
        """The id of a run that was put into the queue."""
        run = self.ask("POST", "runs", {"experiment": experiment})
        assert isinstance(run, dict)
        return str(run["id"])


@pytest.fixture(scope="session")
def hub_of_the_session(tmp_path_factory: pytest.TempPathFactory, chromium: Path) -> Iterator[Hub]:
    from socket import create_server

    folder = tmp_path_factory.mktemp("browser")
    (folder / "lab.toml").write_text(LAB.replace("FOLDER", str(folder)))
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hub = Hub(folder, port)
    hub.start()
    yield hub
    hub.stop()


@pytest.fixture
def hub(hub_of_the_session: Hub) -> Iterator[Hub]:
    """The lab, with nothing queued and nothing halted at the end, whatever the test did."""
    hub = hub_of_the_session
    yield hub
    hub.ask("POST", "halt/reset")
    for run in [*_runs(hub, "queued"), *_runs(hub, "running", "waiting", "paused")]:
        if run["state"] == "queued":
            httpx2.delete(f"{hub.url}/api/runs/{run['id']}")
        httpx2.post(f"{hub.url}/api/runs/{run['id']}/abort")
        hub.ask("GET", f"runs/{run['id']}/wait?timeout=20")


def _runs(hub: Hub, *states: str) -> list[dict[str, str]]:
    found = hub.ask("GET", "runs?" + "&".join(f"state={state}" for state in states))
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """Headless Chromium, one for a module: no test in this folder is async, so its event loop is in nobody's way."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(hub: Hub, browser: Browser) -> Iterator[Page]:
    """The overview, alive, in a context of its own; anything the browser complains of fails the test."""
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page(base_url=hub.url, viewport={"width": 1440, "height": 900})
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    page.goto("/")
    expect(page.get_by_role("status", name="Connection")).to_have_text("live")
    yield page
    page.close()
    assert faults == []

"""The example with a shared resource, from outside: plain `requests` against uvicorn's worker processes, some killed.

Where a lease has to end, it is a short one and the end is asked for until it is there. Elsewhere leases outlast the
tests, so that nothing depends on how quick the machine is.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from labretto.errors import InvalidError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "merge_server"
PATIENCE = 30.0
LONG = 600.0
SHORT = 2.0


@dataclass(frozen=True)
class Server:
    """A server with its worker processes."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE)

    def post(self, body: Any, **more: Any) -> requests.Response:
        return requests.post(f"http://127.0.0.1:{self.port}/merge", json=body, timeout=PATIENCE, **more)

    def merge(self, branch: str) -> requests.Response:
        return self.post({"branch_name": branch})

    def status(self, branch: str) -> int | None:
        """The status of one post; None where the worker died before it answered."""
        try:
            return self.merge(branch).status_code
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):  # before, or within its answer
            return None

    def workers(self) -> list[int]:
        """The processes that answer; uvicorn starts each with multiprocessing."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in command_of(pid)]

    def kill(self) -> None:
        """All of it at once, if it has not ended by itself."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def command_of(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has just ended


def until(wanted: Callable[[], Any]) -> Any:
    """What `wanted` answers as soon as that is true, where there is nothing that could be waited for."""
    deadline = time.monotonic() + PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it did not come about"
    return found


@contextmanager
def server(folder: Path, *, seconds: float, workers: int = 4) -> Iterator[Server]:
    """`uvicorn web_app.main:app` in the example's folder, once every worker is up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "web_app.main:app", "--port", port, "--workers", workers]
    environment = os.environ | {"MERGE_SECONDS": str(seconds), "MERGE_DATABASE": str(folder / "leases.db")}
    log = folder / f"log-{port}.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command), "--no-access-log"],
            env=environment,
            cwd=EXAMPLE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    found = Server(process, port, log)
    try:
        until(lambda: process.poll() is not None or log.read_text().count("startup complete") == workers)
        yield found
    finally:
        found.kill()


@pytest.fixture(scope="module")
def merging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Four workers whose leases outlast the tests."""
    with server(tmp_path_factory.mktemp("merging"), seconds=LONG) as found:
        yield found


def test_the_server_says_that_it_answers(merging):
    answer = merging.get("/public/test")

    assert answer.status_code == 200
    assert list(answer.json()) == ["message"]


def test_a_merge_is_answered_at_once_and_a_second_of_the_same_branch_is_refused(merging):
    first, second, other = merging.merge("one"), merging.merge("one"), merging.merge("another")

    assert first.status_code == other.status_code == 200
    assert list(first.json()) == ["message"]
    assert second.status_code == 401
    assert "shared resource is in use" in second.json()["detail"]
    assert 0 < int(second.headers["Retry-After"]) <= LONG
    assert int(other.headers["Labretto-Lease"]) > int(first.headers["Labretto-Lease"])


def test_of_two_hundred_simultaneous_posts_to_four_workers_one_gets_the_resource(merging):
    together = threading.Barrier(200)

    def post(_: int) -> int | None:
        together.wait()
        return merging.status("wanted by all")

    with ThreadPoolExecutor(200) as clients:
        assert Counter(clients.map(post, range(200))) == {200: 1, 401: 199}


def test_of_two_hundred_posts_for_twenty_branches_each_branch_gets_one_holder(merging):
    def post(number: int) -> tuple[int | None, int]:
        return merging.status(f"branch {number % 20}"), number % 20

    with ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(post, range(200)))

    assert Counter(branch for status, branch in answers if status == 200) == dict.fromkeys(range(20), 1)
    assert {status for status, _ in answers} == {200, 401}


def test_workers_killed_in_the_middle_leave_no_second_holder_and_others_take_their_place(merging):
    before = set(merging.workers())

    with ThreadPoolExecutor(16) as clients:
        answers = [clients.submit(merging.status, "in the middle") for _ in range(100)]
        until(lambda: any(answer.done() for answer in answers))
        for pid in sorted(before)[:2]:
            os.kill(pid, signal.SIGKILL)
        statuses = Counter(answer.result() for answer in answers)
    until(lambda: len(set(merging.workers()) - before) == 2)

    assert statuses[200] <= 1
    assert set(statuses) <= {200, 401, None}
    assert merging.merge("in the middle").status_code == 401
    assert merging.merge("after it").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"branch_name": ""},
        {"branch_name": "  \t"},
        {"branch_name": None},
        {"branch_name": 5},
        {"branch_name": ["a"]},
        {"branch_name": "x" * 251},
        {"branch": "a"},
        {"branch_name": "\ud800"},
        [],
        "main",
        None,
    ],
)
def test_a_body_without_a_branch_is_refused_by_the_name_of_the_field(body, merging):
    answer = merging.post(body)

    assert answer.status_code == 422
    assert {part for fault in answer.json()["detail"] for part in fault["loc"]} <= {"body", "branch_name"}


@pytest.mark.parametrize("branch", ["größe/ö", "a'); DROP TABLE lease; --", "\u0000", "🔬", "x" * 250])
def test_any_other_text_is_a_branch(branch, merging):
    assert [merging.status(branch), merging.status(branch)] == [200, 401]


def test_a_page_from_elsewhere_merges_nothing(merging):
    assert merging.post({"branch_name": "x"}, headers={"Origin": "http://elsewhere.example"}).status_code == 403
    assert merging.post({"branch_name": "x"}, headers={"Host": "elsewhere.example"}).status_code == 403
    assert merging.merge("x").status_code == 200


def test_its_documentation_is_complete_and_needs_nothing_from_outside(merging):
    page, document = merging.get("/docs"), merging.get("/openapi.json").json()
    told = document["paths"]["/merge"]["post"]

    assert page.status_code == 200
    assert "https://" not in page.text
    assert merging.get("/docs/static/swagger-ui/swagger-ui-bundle.js").status_code == 200
    assert set(document["paths"]) == {"/public/test", "/merge"}
    assert {"200", "401", "422", "507"} == set(told["responses"])
    assert told["responses"]["401"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/InUse"}
    assert document["components"]["schemas"]["Merge"]["required"] == ["branch_name"]
    assert all(operation["description"] for path in document["paths"].values() for operation in path.values())


def test_a_killed_workers_lease_runs_out_neither_early_nor_never(tmp_path):
    """Two processes on one file, each on a port of its own, so that it is known which one is killed."""
    with ExitStack() as both:
        killed, other = (both.enter_context(server(tmp_path, seconds=SHORT, workers=1)) for _ in range(2))
        asked = time.monotonic()
        assert killed.status("main") == 200
        killed.kill()
        statuses = Counter[int | None]()
        until(lambda: statuses.update([found := other.status("main")]) or found == 200)

        assert time.monotonic() - asked >= SHORT
        assert set(statuses) <= {200, 401}


def test_a_lease_outlives_the_server_that_gave_it(tmp_path, merging):
    assert merging.status("outlived") == 200
    with server(merging.log.parent, seconds=LONG, workers=1) as successor:
        assert successor.status("outlived") == 401


@pytest.mark.parametrize("text", ["", "0", "-1", "ten", "nan", "inf"])
def test_seconds_that_are_none_are_refused(text, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setenv("MERGE_SECONDS", text)
    from web_app.main import seconds

    with pytest.raises(InvalidError, match=f"MERGE_SECONDS='{text}' is no number of seconds above 0"):
        seconds()


async def test_a_clock_that_is_set_back_holds_no_name_longer_than_it_was_given(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    from web_app.leases import Leases

    now = 1_000_000.0
    leases = Leases(tmp_path / "leases.db", 10, lambda: now)
    try:
        assert (await leases.take("main"))[0]
        now -= 3600
        assert (await leases.take("main"))[1].left == 10
        now += 9.9
        assert not (await leases.take("main"))[0]
        now += 0.1
        assert (await leases.take("main"))[0]
    finally:
        leases.close()


def test_the_environment_for_conda_has_its_name_and_leads_to_this_checkout():
    environment = yaml.safe_load((EXAMPLE / "conda_env.yml").read_text())

    (from_pip,) = [part["pip"] for part in environment["dependencies"] if isinstance(part, dict)]
    assert environment["name"] == "example_fastapi_server"
    assert (EXAMPLE / from_pip[0] / "pyproject.toml").is_file()

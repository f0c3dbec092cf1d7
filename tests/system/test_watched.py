"""A hub as a process, watched in every way at once: it tells, it is counted, it is traced; killed, it tells later."""

import contextlib
import gzip
import json
import queue
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

import labretto

PATIENCE = 30.0
DRIVER = '''
class Shutter:
    """A shutter that is stuck."""

    def open(self) -> None:
        """Raises."""
        raise RuntimeError("the shutter is stuck")
'''


class Outside:
    """A web server that takes whatever is posted to it: path → bodies."""

    def __init__(self) -> None:
        self.taken: dict[str, queue.SimpleQueue[bytes]] = defaultdict(queue.SimpleQueue)
        self.silent, self.waits = threading.Event(), threading.Event()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outside.taken[self.path].put(self.rfile.read(int(self.headers["Content-Length"])))
                while outside.silent.is_set() and self.path == "/hook":
                    outside.waits.wait(0.05)
                with contextlib.suppress(OSError):  # it was killed meanwhile
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def next(self, path: str) -> bytes:
        return self.taken[path].get(timeout=PATIENCE)

    def close(self) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def lab(command_line: Any, outside: Outside) -> Path:
    folder: Path = command_line.folder
    (folder / "drivers.py").write_text(DRIVER)
    (folder / "lab.toml").write_text(
        f'name = "watched"\ntelemetry = "{outside.url}"\n[notify]\nwebhooks = ["{outside.url}/hook"]\n'
        '[instruments.shutter]\ndriver = "drivers:Shutter"\n'
    )
    return folder / "lab.toml"


def submit(hub: str) -> str:
    answer = httpx2.post(f"{hub}/api/runs", json={"experiment": "name: night\nsteps:\n  - do: shutter.open\n"})
    return str(answer.raise_for_status().json()["id"])


@pytest.mark.timeout(90)
def test_a_run_that_fails_is_told_counted_and_traced(lab: Path, command_line: Any, outside: Outside) -> None:
    with command_line.hub(lab, "--port", "0", environment={"OTEL_BSP_SCHEDULE_DELAY": "100"}) as hub:
        run = submit(hub)
        told = json.loads(outside.next("/hook"))
        text = httpx2.get(f"{hub}/metrics").raise_for_status().text
        events = httpx2.get(f"{hub}/api/events").json()["events"]
        traced = outside.next("/v1/traces")

    assert (told["occasion"], told["title"], told["run"]) == ("run failed", "night failed", run)
    assert "the shutter is stuck" in told["text"]
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["labretto_steps_total", "failed", "open", "shutter"] == 1
    assert samples["labretto_runs", "failed"] == 1
    assert samples["labretto_instrument_up", "shutter"] == 1
    assert next(event["kind"] for event in events) == "submitted"
    assert events[-1]["kind"] == "finished"
    assert bytes.fromhex(run.replace("-", "")) in _plain(traced)


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


@pytest.mark.timeout(90)
def test_what_a_killed_hub_did_not_tell_the_next_one_does(lab: Path, command_line: Any, outside: Outside) -> None:
    """The receiver takes the connection and does not answer; meanwhile the hub is killed."""
    outside.silent.set()
    with command_line.start("up", lab, "--port", "0") as process:
        run = submit(process.stdout.readline().split()[1])
        assert json.loads(outside.next("/hook"))["run"] == run, "it has begun to tell"
        process.kill()
        process.wait(PATIENCE)
    outside.silent.clear()

    with command_line.hub(lab, "--port", "0"):
        assert json.loads(outside.next("/hook"))["run"] == run


@pytest.mark.timeout(90)
def test_a_script_that_follows_the_journal_misses_nothing_while_the_hub_is_away(
    lab: Path, command_line: Any, free_port: int
) -> None:
    lab.write_text(re.sub("(?s)telemetry.*?(?=\\[instruments)", "", lab.read_text()))
    heard: list[dict[str, Any]] = []
    with command_line.hub(lab, "--port", free_port) as address, labretto.Hub(address) as hub:
        first = submit(address)
        following = hub.events(follow=True)
        while not heard or heard[-1]["kind"] != "finished":
            heard.append(next(following))
    with command_line.hub(lab, "--port", free_port) as address:
        second = submit(address)
        while heard[-1]["run"] != second or heard[-1]["kind"] != "finished":
            heard.append(next(following))
        following.close()
        with labretto.Hub(address) as later:
            assert [event["sequence"] for event in later.events(after=2)] == list(range(3, len(heard) + 1))

    assert {event["run"] for event in heard} == {first, second}
    assert [event["sequence"] for event in heard] == list(range(1, len(heard) + 1))

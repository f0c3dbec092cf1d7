"""SIGKILL at random moments, again and again, while the demo's experiment runs: nothing is lost, nothing is repeated.

The hub, or one of the hosts, is killed while a scan of the sample library runs; a hub is started again at once. What
must hold at the end is looked up where it cannot be embellished: in the bench's `physical.log` (what matter did), in
the hosts' ledgers, in the journal and in the record.

    LABRETTO_KILLS=500 .venv/bin/pytest tests/system/test_kill.py -s         500 kills instead of 30
    LABRETTO_SEED=4711 .venv/bin/pytest tests/system/test_kill.py -s         the moments of an earlier run again

The random waits are the stimulus. What the test waits for is always an event that the hub tells, with a deadline.
"""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from labretto.catalog.read import Record, open_record
from labretto.instrument import codec
from labretto.network.liveness import held, holder

KILLS = int(os.environ.get("LABRETTO_KILLS", "30"))
SEED = int(os.environ.get("LABRETTO_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
DEADLINE = 40.0
"""Seconds without any progress after which the lab is taken to stand still."""

HOSTS = ("stage", "potentiostat", "pump")
TARGETS = ("hub", "hub", *HOSTS)

LAB = """
name = "killed"
[instruments.stage]
driver = "labretto.instrument.simulated.stage:SampleStage"
settings = { velocity = 150.0, acceleration = 2000.0 }
[instruments.potentiostat]
driver = "labretto.instrument.simulated.potentiostat:Potentiostat"
settings = { time_scale = 100.0 }
[instruments.pump]
driver = "labretto.instrument.simulated.pump:Pump"
settings = { rate = 0.1, capacity = 1000.0 }
"""

# The demo's scan, with a step that must never be done twice. Every act has a vertex or a volume of its own, so that
# physical.log tells which step it belongs to.
SCAN = """
name: scan under fire
parameters:
  samples: {type: array}
  vertices: {type: array}
  volumes: {type: array}
steps:
  - zip: {sample: "${samples}", vertex: "${vertices}", volume: "${volumes}"}
    steps:
      - do: stage.move_to
        with: {sample: "${sample}"}
      - do: pump.dispense
        name: left
        with: {volume: "${volume}"}
      - do: potentiostat.cyclic_voltammetry
        name: voltammogram
        with: {start: -0.1, vertex: "${vertex}", scan_rate: 0.1}
      - read: stage.x
        name: x
      - save:
          sample: "${sample}"
          x: "${x}"
          left: "${left}"
          potential: "${voltammogram.potential}"
          current: "${voltammogram.current}"
"""
SAMPLES = [row + column for row in "ABCD" for column in "1234"]
POINTS = 1401


class Lab:
    """A lab under fire: hub processes one after another, a person who answers, and who kills."""

    def __init__(self, command_line: Any, port: int, chance: random.Random) -> None:
        self._line = command_line
        self._chance = chance
        self._address = f"http://127.0.0.1:{port}"
        self._http = httpx2.Client(base_url=self._address, timeout=DEADLINE)
        self._file = command_line.folder / "lab.toml"
        self._file.write_text(LAB)
        self._port = port
        self.folder: Path = command_line.home / "killed"
        self.runs: list[str] = []
        self.kills: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._start()

    # The process --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._hub: subprocess.Popen[str] = self._line.start("up", self._file, "--port", self._port)
        self._answers = threading.Event()
        threading.Thread(target=self._listen, args=[self._hub, self._answers], daemon=True).start()

    @staticmethod
    def _listen(hub: "subprocess.Popen[str]", answers: threading.Event) -> None:
        assert hub.stdout is not None
        with hub.stdout as lines:
            if lines.readline():
                answers.set()
            lines.read()  # to its end: nobody else closes it

    def _until_it_answers(self) -> None:
        assert self._answers.wait(DEADLINE), f"the hub does not answer:\n{self._line.errors()[-4000:]}"

    def end(self) -> int:
        """Ctrl-C; answers the exit status."""
        self._until_it_answers()
        self._hub.send_signal(signal.SIGINT)
        return self._hub.wait(DEADLINE)

    def close(self) -> None:
        """Let go of connections; what lives is ended by `command_line`."""
        self._http.close()
        self._hub.kill()
        self._hub.wait()

    # Killing ------------------------------------------------------------------------------------------------------

    def strike(self) -> None:
        """One kill: soon after a step began or ended, or at any moment after the last kill."""
        target = self._chance.choice(TARGETS)
        if self._chance.random() < 0.65:
            self.until_progress(target)
            time.sleep(self._chance.uniform(0, 0.3))
        else:
            time.sleep(self._chance.uniform(0, 1.0))
        if target in HOSTS and (pid := holder(self.folder / "hosts" / target / "lock")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        else:
            target = "hub"
            self._hub.kill()
            self._hub.wait()
            self._start()
        self.kills[target] += 1

    # Watching, and what a person does ------------------------------------------------------------------------------

    def until_progress(self, target: str) -> None:
        """Return when a step of `target` begins or ends; submit, answer and restart meanwhile as a person would."""
        self._until_it_answers()
        for topic, body in self._changes():
            if topic == "step" and target in ("hub", body["instrument"]):
                return
            if topic in ("", "run", "instrument") and self.tend():
                self.submit()

    def until_over(self) -> None:
        """Return when the last run is over."""
        self._until_it_answers()
        for topic, _ in self._changes():
            if topic in ("", "run", "instrument") and self.tend():
                return

    def _changes(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What the hub tells from now on, the topic "" first; fails if the caller still listens at the deadline."""
        late = time.monotonic() + DEADLINE
        with connect(self._address.replace("http", "ws") + "/live", max_size=None, open_timeout=DEADLINE) as live:
            live.recv(timeout=DEADLINE)  # from here on nothing is missed
            yield "", {}
            while True:
                try:
                    frame = live.recv(timeout=max(0.0, late - time.monotonic()))
                except (TimeoutError, WebSocketException) as error:
                    pytest.fail(f"nothing goes on: {error!r}; {self._situation()}", pytrace=False)
                for change in json.loads(frame).get("changes", ()) if isinstance(frame, str) else ():
                    yield change["topic"], change["body"]

    def _situation(self) -> str:
        run = self._run() if self.runs else {}
        words = {word: run.get(word) for word in ("state", "reason", "question", "number", "error")}
        instruments = {one["name"]: (one["state"], one["reason"]) for one in self._http.get("/api/instruments").json()}
        return f"{words}, {instruments}\n{self._line.errors()[-4000:]}"

    def tend(self) -> bool:
        """Do what a person would do now; true if a run has just been submitted or is over."""
        self._bring_back()
        if not self.runs or self._run()["state"] == "succeeded":
            return True
        run = self._run()
        assert run["state"] in ("queued", "running", "waiting"), run
        if run["question"]:
            self._answer(run)
        return False

    def submit(self) -> None:
        """A scan whose every act can be told from every other one."""
        first = len(self.runs) * len(SAMPLES)
        numbers = range(first, first + len(SAMPLES))
        parameters = {
            "samples": SAMPLES,
            "vertices": [round(0.5995 + number * 1e-8, 9) for number in numbers],
            "volumes": [round(0.02 + number * 1e-6, 7) for number in numbers],
        }
        answer = self._http.post("/api/runs", json={"experiment": SCAN, "parameters": parameters})
        assert answer.status_code == 201, answer.text
        self.runs.append(answer.json()["id"])

    def _run(self) -> dict[str, Any]:
        answer = self._http.get(f"/api/runs/{self.runs[-1]}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def _answer(self, run: Mapping[str, Any]) -> None:
        """Look at the pump: if it has begun, it has happened, for it goes on by itself."""
        (step,) = [step for step in run["steps"] if step["path"] == run["question"]["path"]]
        volume = step["parameters"]["volume"]
        begun = [act for act in physical(self.folder) if act["parameters"].get("volume") == volume]
        choice = "happened" if begun else "repeat"
        body = {"choice": choice, "value": volume, "why": "looked at the pump", "who": "Ada"}
        answer = self._http.post(f"/api/runs/{run['id']}/answer", json=body)
        assert answer.status_code in (200, 409), answer.text
        self.answers[choice] += answer.status_code == 200

    def _bring_back(self) -> None:
        """What died too often stays down until somebody asks for it."""
        for instrument in self._http.get("/api/instruments").json():
            if instrument["state"] == "crash loop":
                answer = self._http.post(f"/api/instruments/{instrument['name']}/restart")
                assert answer.status_code == 200, answer.text

    def record(self, run: str) -> Record:
        """What a run left."""
        return open_record(Path(self._http.get(f"/api/records/{run}").json()["folder"]))

    def events(self, run: str) -> list[dict[str, Any]]:
        """The journal of a run."""
        return list(self._http.get(f"/api/runs/{run}/events").json())


def physical(folder: Path) -> list[dict[str, Any]]:
    """What matter did, one line for each begin and end."""
    log = folder / "bench" / "physical.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def remembered(folder: Path, host: str) -> dict[str, tuple[str, Any]]:
    """The ledger of a host: invocation → state and result."""
    with contextlib.closing(sqlite3.connect(folder / "hosts" / host / "ledger.db")) as ledger:
        rows = ledger.execute("SELECT id, state, ending FROM invocations").fetchall()
    return {identity: (state, codec.decode(ending)["result"] if ending else None) for identity, state, ending in rows}


@pytest.fixture
def lab(command_line: Any, free_port: int) -> Iterator[Lab]:
    print(f"LABRETTO_SEED={SEED} LABRETTO_KILLS={KILLS}")  # noqa: T201 - to do a failed run again
    lab = Lab(command_line, free_port, random.Random(SEED))
    yield lab
    lab.close()


@pytest.mark.timeout(120 + 10 * KILLS)
def test_thirty_kills_lose_no_result_and_repeat_no_completed_action(lab: Lab, command_line: Any) -> None:
    while lab.kills.total() < KILLS:
        lab.strike()
    lab.until_over()
    told = [(lab.events(run), lab.record(run)) for run in lab.runs]
    print(f"{lab.kills}, {lab.answers}, {len(lab.runs)} runs")  # noqa: T201 - what -s shows

    assert lab.end() == 0

    assert nothing_is_left(lab.folder, command_line) == []
    memory = {host: remembered(lab.folder, host) for host in HOSTS}
    for events, record in told:
        check_record(record, memory["potentiostat"])
        check_journal(events, memory)
    check_matter([event for events, _ in told for event in events], physical(lab.folder))


def nothing_is_left(folder: Path, command_line: Any) -> list[str]:
    """Processes, locks that are held and addresses that no longer answer."""
    held_locks = [str(lock) for lock in [*folder.glob("hosts/*/lock"), folder / "hub.lock"] if held(lock)]
    addresses = [str(file) for file in [*folder.glob("hosts/*/host.json"), folder / "hub.json"] if file.exists()]
    return [*command_line.alive().values(), *held_locks, *addresses]


def check_record(record: Record, ledger: Mapping[str, tuple[str, Any]]) -> None:
    """Every sample has its row and its complete curve, which is the one that the instrument remembers."""
    data = record.to_xarray()
    assert record.state == "succeeded"
    assert list(data["sample"].values) == SAMPLES
    units = {name: data[name].attrs["units"] for name in ("potential", "current", "x", "left")}
    assert units == {"potential": "V", "current": "A", "x": "mm", "left": "mL"}
    assert data["current"].shape == data["potential"].shape == (len(SAMPLES), POINTS)
    assert not np.isnan(data["current"].values).any()
    for number in range(len(SAMPLES)):
        step = record.step(f"sweep[{number}]/voltammogram")
        result = ledger[step.invocation][1]
        assert np.array_equal(data["current"].values[number], np.asarray(result["current"]))
        assert np.array_equal(data["potential"].values[number], np.asarray(result["potential"]))


def check_journal(events: Sequence[Mapping[str, Any]], memory: Mapping[str, Mapping[str, tuple[str, Any]]]) -> None:
    """Each step ended once; each new attempt follows from an interruption, or for the pump from a person's word."""
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    attempts = by_path(events, "intended")
    ended, interrupted = by_path(events, "ended"), by_path(events, "interrupted")
    settled = by_path(events, "settled")
    assert {path: len(all_) for path, all_ in ended.items()} == dict.fromkeys(attempts, 1)
    assert len(attempts) == 4 * len(SAMPLES)
    assert {path: len(all_) for path, all_ in by_path(events, "saved").items()} == {
        f"sweep[{number}]/save": 1 for number in range(len(SAMPLES))
    }
    for path, intents in attempts.items():
        if intents[0]["action"].startswith("attribute:"):
            assert len(intents) == 1
            continue
        decisions = settled if intents[0]["effect"] == "once" else interrupted
        repeats = [each for each in decisions.get(path, []) if each.get("choice", "repeat") == "repeat"]
        assert len(intents) == 1 + len(repeats), path
        states = [memory[intent["instrument"]].get(intent["invocation"], ("not arrived",))[0] for intent in intents]
        entered = ended[path][0]["origin"] == "entered"
        assert states.count("succeeded") == (0 if entered else 1), (path, states)


def check_matter(events: Sequence[Mapping[str, Any]], acts: Sequence[Mapping[str, Any]]) -> None:
    """No act began more often than it was decided; what is reported done was done; liquid flowed once per sample."""
    deeds = [event for event in events if event["kind"] == "intended" and not event["action"].startswith("attribute:")]
    decided = Counter(deed(event["action"], event["parameters"]) for event in deeds)
    wanted = Counter(deed(event["action"], event["parameters"]) for event in deeds if event["attempt"] == 1)
    begun = Counter(deed(act["action"], act["parameters"]) for act in acts if act["phase"] == "begin")
    done = Counter(deed(act["action"], act["parameters"]) for act in acts if act.get("outcome") == "done")
    assert begun <= decided
    assert begun >= wanted
    poured = {key: count for key, count in begun.items() if key[0] == "dispense"}
    assert poured == {key: 1 for key in wanted if key[0] == "dispense"}
    entered = {(e["run"], e["path"]) for e in events if e["kind"] == "ended" and e["origin"] == "entered"}
    seen = Counter(
        deed(e["action"], e["parameters"]) for e in deeds if e["attempt"] == 1 and (e["run"], e["path"]) not in entered
    )
    assert seen <= done


def deed(action: str, parameters: Mapping[str, Any]) -> tuple[str, Any]:
    """What tells one act from another, in the journal as in physical.log."""
    return action, next(parameters[word] for word in ("sample", "vertex", "volume") if word in parameters)


def by_path(events: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["kind"] == kind:
            found.setdefault(event["path"], []).append(event)
    return found

"""SIGKILL at random moments, again and again, in a lab that does everything at once: nothing is lost, nothing repeated.

Four kinds of run are in the queue all the time: a scan from a file, a file with parallel branches, the same in Python,
and questions to people; the two in the middle want the same instruments. The hub, a host, or both at once are killed
while they run; a hub is started again at once. What must hold at the end is looked up where it cannot be embellished:
in the bench's `physical.log` (what matter did), in the hosts' ledgers, in the journal and in the record.

    LABRETTO_KILLS=500 .venv/bin/pytest tests/system/test_kill.py -s -o faulthandler_timeout=0    500 kills, not 30
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from labretto.catalog.read import Record, open_record
from labretto.instrument import codec
from labretto.instrument.simulated.library import SAMPLES as WHERE
from labretto.network.liveness import held, holder

KILLS = int(os.environ.get("LABRETTO_KILLS", "30"))
SEED = int(os.environ.get("LABRETTO_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
DEADLINE = 40.0
"""Seconds without any progress after which the lab is taken to stand still."""

HOSTS = ("stage", "potentiostat", "pump", "gantry", "dispenser")
TARGETS = ("hub", "hub", "both", *HOSTS)

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
[instruments.gantry]
driver = "labretto.instrument.simulated.stage:SampleStage"
settings = { name = "gantry", velocity = 150.0, acceleration = 2000.0 }
[instruments.dispenser]
driver = "labretto.instrument.simulated.pump:Pump"
settings = { name = "dispenser", rate = 0.1, capacity = 1000.0 }
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
# Three branches at the same time; every act and every row can be told from every other one.
BRANCHES = """
name: branches under fire
parameters:
  samples: {type: array}
  volumes: {type: array}
steps:
  - parallel:
      pour:
        - sweep: {volume: "${volumes}"}
          steps:
            - do: dispenser.dispense
              with: {volume: "${volume}"}
            - save: {branch: pour, volume: "${volume}"}
      travel:
        - sweep: {sample: "${samples}"}
          steps:
            - do: gantry.move_to
              with: {sample: "${sample}"}
            - read: gantry.x
              name: x
            - save: {branch: travel, sample: "${sample}", x: "${x}"}
      person:
        - ask: Say your number.
          name: said
          fields: {number: integer}
        - save: {branch: person, number: "${said.number}"}
"""

IN_PYTHON = """
import asyncio
import labretto

@labretto.experiment
async def branches(run: labretto.Run, samples: list[str], volumes: list[float]) -> None:
    dispenser, gantry = await run.lease("dispenser", "gantry")

    async def pour():
        for volume in volumes:
            await dispenser.dispense(volume=volume)
            run.save(branch="pour", volume=volume)

    async def travel():
        for sample in samples:
            await gantry.move_to(sample=sample)
            run.save(branch="travel", sample=sample, x=await gantry.x.get())

    async def person():
        run.save(branch="person", number=await run.ask("Say your number."))

    await asyncio.gather(pour(), travel(), person())
"""

PEOPLE = """
name: people under fire
steps:
  - repeat: 3
    steps:
      - ask: Say your number.
        name: said
        fields: {number: integer}
      - save: {branch: person, number: "${said.number}"}
"""
SAMPLES = [row + column for row in "ABCD" for column in "1234"]
ROUTE = ["A1", "C2", "B4", "D3"]
POURS = 4
POINTS = 1401
KINDS = ("scan", "branches", "python", "people")
TIDINGS = ("", "run", "instrument", "task")
"""Topics after which a person may have something to do."""


@dataclass(frozen=True)
class Order:
    """A run that was submitted, and what it must leave."""

    run: str
    kind: str
    number: int
    """What Ada says when she is asked; no other run has it."""
    volumes: tuple[float, ...] = ()


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
        self.orders: list[Order] = []
        self._due = set(KINDS)
        """Kinds of which one more run may be submitted before the next kill: answers come faster than kills."""
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
        self._due = set(KINDS)
        if self._chance.random() < 0.65:
            self.until_progress(target)
            time.sleep(self._chance.uniform(0, 0.3))
        else:
            time.sleep(self._chance.uniform(0, 1.0))
        host = self._chance.choice(HOSTS) if target == "both" else target
        if host in HOSTS and (pid := holder(self.folder / "hosts" / host / "lock")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if target in ("hub", "both"):
            self._hub.kill()
            self._hub.wait()
            self._start()
        self.kills[target] += 1

    # Watching, and what a person does ------------------------------------------------------------------------------

    def until_progress(self, target: str) -> None:
        """Return when a step of `target` begins or ends; submit, answer and restart meanwhile as a person would."""
        self._until_it_answers()
        for topic, body in self._changes():
            if topic == "step" and target in ("hub", "both", body["instrument"]):
                return
            if topic in TIDINGS:
                self.tend(more=True)

    def until_over(self) -> None:
        """Return when the last run is over."""
        self._until_it_answers()
        for topic, _ in self._changes():
            if topic in TIDINGS and self.tend(more=False):
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
        words = ("name", "state", "reason", "error")
        runs = [{word: run.get(word) for word in words} for run in map(self._run, self._latest().values())]
        instruments = {one["name"]: (one["state"], one["reason"]) for one in self._http.get("/api/instruments").json()}
        return f"{runs}, {instruments}\n{self._line.errors()[-4000:]}"

    def _latest(self) -> dict[str, Order]:
        """The last run of each kind."""
        return {order.kind: order for order in self.orders}

    def tend(self, *, more: bool) -> bool:
        """Do what a person would do now; true if every run is over."""
        self._bring_back()
        self._answer_all()
        open_ = False
        for kind in KINDS:
            order = self._latest().get(kind)
            state = self._run(order)["state"] if order else "succeeded"
            assert state in ("queued", "running", "waiting", "succeeded"), self._situation()
            if state != "succeeded":
                open_ = True
            elif more and kind in self._due:
                self._due.remove(kind)
                self.submit(kind)
        return not open_

    def submit(self, kind: str) -> None:
        """A run whose every act can be told from every other one."""
        number = len(self.orders)
        volumes = tuple(round(0.02 + (100 * number + step) * 1e-6, 7) for step in range(len(SAMPLES)))
        vertices = [round(0.5995 + (100 * number + step) * 1e-8, 9) for step in range(len(SAMPLES))]
        poured = list(volumes[:POURS])
        bodies: dict[str, dict[str, Any]] = {
            "scan": {
                "experiment": SCAN,
                "parameters": {"samples": SAMPLES, "vertices": vertices, "volumes": list(volumes)},
            },
            "branches": {"experiment": BRANCHES, "parameters": {"samples": ROUTE, "volumes": poured}},
            "python": {
                "experiment": IN_PYTHON,
                "function": "branches",
                "parameters": {"samples": ROUTE, "volumes": poured},
            },
            "people": {"experiment": PEOPLE},
        }
        answer = self._http.post("/api/runs", json=bodies[kind])
        assert answer.status_code == 201, answer.text
        self.orders.append(Order(answer.json()["id"], kind, number, volumes))

    def _run(self, order: Order) -> dict[str, Any]:
        answer = self._http.get(f"/api/runs/{order.run}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def _answer_all(self) -> None:
        """Ada looks at the list of what is to be done, and does it."""
        orders = {order.run: order for order in self.orders}
        tasks = self._http.get("/tasks", params={"status": "pending", "limit": 1000}).json()
        for task in tasks:
            order = orders[task["run"]]
            words = self._looked(task) if task["kind"] == "interrupted" else self._said(order)
            answer = self._http.post(f"/tasks/{task['id']}/answer", json=words)
            assert answer.status_code in (200, 409), answer.text  # 409: it was answered before the hub was killed
            self.answers[words.get("choice", "said")] += answer.status_code == 200

    @staticmethod
    def _said(order: Order) -> dict[str, Any]:
        return {"value": order.number if order.kind == "python" else {"number": order.number}}

    def _looked(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the pump: if it has begun, it has happened, for it goes on by itself."""
        intended = by_path(self.events(task["run"]), "intended")[task["path"]]
        volume = intended[-1]["parameters"]["volume"]
        begun = [act for act in physical(self.folder) if act["parameters"].get("volume") == volume]
        if begun:
            return {"choice": "happened", "value": volume, "why": "looked at the pump"}
        return {"choice": "repeat", "why": "looked at the pump"}

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


@pytest.mark.timeout(180 + 10 * KILLS)
def test_thirty_kills_lose_no_result_and_repeat_no_completed_action(lab: Lab, command_line: Any) -> None:
    while lab.kills.total() < KILLS:
        lab.strike()
    lab.until_over()
    told = [(order, lab.events(order.run), lab.record(order.run)) for order in lab.orders]
    kinds = Counter(order.kind for order in lab.orders)
    print(f"{lab.kills}, {lab.answers}, {kinds}")  # noqa: T201 - what -s shows

    assert lab.end() == 0

    assert nothing_is_left(lab.folder, command_line) == []
    memory = {host: remembered(lab.folder, host) for host in HOSTS}
    for order, events, record in told:
        check_journal(events, memory)
        assert record.state == "succeeded"
        if order.kind == "scan":
            check_scan(record, memory["potentiostat"])
        else:
            check_rows(record, order)
    check_matter([event for _, events, _ in told for event in events], physical(lab.folder))


def nothing_is_left(folder: Path, command_line: Any) -> list[str]:
    """Processes, locks that are held and addresses that no longer answer."""
    held_locks = [str(lock) for lock in [*folder.glob("hosts/*/lock"), folder / "hub.lock"] if held(lock)]
    addresses = [str(file) for file in [*folder.glob("hosts/*/host.json"), folder / "hub.json"] if file.exists()]
    return [*command_line.alive().values(), *held_locks, *addresses]


def check_rows(record: Record, order: Order) -> None:
    """Every branch has the rows that are its own, each once: no result went to another branch or another run."""
    rows = list(record.rows)
    person = [row["number"] for row in rows if row["branch"] == "person"]
    assert person == [order.number] * (3 if order.kind == "people" else 1)
    if order.kind == "people":
        assert len(rows) == 3
        return
    poured = [row["volume"] for row in rows if row["branch"] == "pour"]
    assert poured == list(order.volumes[:POURS])
    travelled = [(row["sample"], row["x"]["$value"]) for row in rows if row["branch"] == "travel"]
    assert travelled == [(sample, pytest.approx(WHERE[sample].x)) for sample in ROUTE]
    assert len(rows) == 1 + len(poured) + len(travelled)


def check_scan(record: Record, ledger: Mapping[str, tuple[str, Any]]) -> None:
    """Every sample has its row and its complete curve, which is the one that the instrument remembers."""
    data = record.to_xarray()
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
    saved = by_path(events, "saved")
    assert {path: len(all_) for path, all_ in saved.items()} == dict.fromkeys(saved, 1)
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

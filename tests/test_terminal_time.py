"""`labretto forecast`, `record` and `schedule` against a hub that runs."""

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from labretto.hub import start_lab
from labretto.instrument.reading import spoken
from labretto.lab import load_lab
from labretto.orchestrator.client import Hub
from labretto.terminal import list_records, on_this_clock
from labretto.terminal_time import add, change, local_zone, show_expected, show_forecast, show_record, show_schedules

LAB = """
[instruments.pump]
driver = "labretto.instrument.simulated.pump:Pump"
settings = { capacity = 2.0, rate = 100.0 }
"""
DOSE = """
name: dosing
steps:
  - sweep: {volume: [1, 1, 1]}
    steps: [{do: pump.dispense, with: {volume: "${volume}"}}]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A hub in a home of its own; answers the folder with its experiment."""
    folder = tmp_path_factory.mktemp("dosing")
    (folder / "lab.toml").write_text(LAB)
    (folder / "dose.yaml").write_text(DOSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABRETTO_HOME", str(folder / "home"))
        with start_lab(folder / "lab.toml", port=0):
            yield folder


@pytest.fixture(autouse=True)
def home(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands look for the hub."""
    monkeypatch.setenv("LABRETTO_HOME", str(hub / "home"))


@pytest.mark.timeout(60)
def test_a_tank_that_will_run_out_is_told_before_anything_is_submitted(hub: Path, capsys: pytest.CaptureFixture[str]):
    show_forecast(hub / "dose.yaml", {}, lab=None, hub=None, as_json=False)

    told = capsys.readouterr().out
    assert "pump.remaining: 3 mL are needed, 2 mL are there: IT RUNS OUT at" in told
    assert "at sweep[2]/pump.dispense." in told
    assert "Nobody knows yet how long these take" in told


@pytest.mark.timeout(60)
def test_a_record_shows_what_was_foreseen_beside_what_happened(hub: Path, capsys: pytest.CaptureFixture[str]):
    with Hub() as found:
        run = found.submit(hub / "dose.yaml")
        assert found.ask("GET", f"/api/runs/{run.id}/wait", timeout=30)["state"] == "failed"
        compared = found.ask("GET", f"/api/runs/{run.id}/forecast")["compared"]

    show_record(run.id, load_lab(hub / "lab.toml").name, as_json=True)

    assert json.loads(capsys.readouterr().out)["compared"] == compared
    assert compared["instruments"]["pump"]["happened"]["steps"] == 3
    show_record("dosing", "", as_json=False)
    shown = capsys.readouterr().out
    assert "; nothing was foreseen." in shown
    assert "why        pump.dispense: the driver raised" in shown


def test_a_schedule_is_added_listed_held_and_forgotten(hub: Path, capsys: pytest.CaptureFixture[str]):
    add(hub / "dose.yaml", "every day 02:00", "Europe/Berlin", {}, {"name": "nightly"}, hub=None, as_json=False)
    assert "nightly, every day 02:00 (Europe/Berlin); first" in capsys.readouterr().out

    change("nightly", "hold", None)
    change("nightly", "release", None)
    show_schedules(None, as_json=True)
    out = capsys.readouterr().out
    assert "nightly is held." in out
    assert '"name": "nightly"' in out

    change("nightly", "remove", None)
    show_schedules(None, as_json=False)
    assert "Nothing is scheduled." in capsys.readouterr().out


def test_nothing_runs_or_waits(hub: Path, capsys: pytest.CaptureFixture[str]):
    show_expected(None, as_json=False)

    assert "Nothing runs or waits." in capsys.readouterr().out


@pytest.fixture
def _in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_tokyo")
def test_times_are_told_and_taken_on_the_clock_of_this_machine():
    assert on_this_clock("2026-11-21T17:00:00.000000Z") == "2026-11-22 02:00:00"
    assert on_this_clock(None) == ""
    assert spoken("2026-11-21T17:00:00.000000Z") == "Sun 2026-11-22 02:00:00 JST"


@pytest.mark.usefixtures("_in_tokyo")
def test_records_are_sought_by_the_clock_of_this_machine(hub: Path, capsys: pytest.CaptureFixture[str]):
    with Hub() as found:
        run = found.submit(hub / "dose.yaml")
        found.ask("GET", f"/api/runs/{run.id}/wait", timeout=30)
        submitted = datetime.fromisoformat(run.status()["submitted"]).astimezone()
    lab = load_lab(hub / "lab.toml").name
    an_hour_ago, soon = (f"{submitted + timedelta(hours=by):%Y-%m-%dT%H:%M}" for by in (-1, 1))

    for after, found_then in ((an_hour_ago, True), (soon, False)):
        query = {"text": run.id, "state": None, "after": after, "before": None, "label": None, "limit": 9}
        list_records(lab, query, as_json=False)
        assert (f"{submitted:%Y-%m-%d %H:%M:%S}" in capsys.readouterr().out) is found_then


def test_this_machine_has_a_time_zone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    assert local_zone() == "Asia/Tokyo"

"""The doctor finds each fault before the night does: real files, sockets and processes, one fault at a time."""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labretto.access.tokens import Tokens
from labretto.instrument.ledger import Ledger
from labretto.lab import Lab, load_lab
from labretto.network.background import start_background
from labretto.network.directory import HostFile, HubFile, write_file
from labretto.network.doctor.drivers import answer_of, check_drivers
from labretto.network.doctor.elsewhere import check_elsewhere, clock_finding, skew
from labretto.network.doctor.examine import examine_lab
from labretto.network.doctor.finding import Finding
from labretto.network.doctor.lives import check_lives, check_records
from labretto.network.doctor.machine import check_imports, check_open_files, check_packages, check_python
from labretto.network.doctor.ports import check_ports, check_shared
from labretto.network.doctor.storage import (
    check_databases,
    check_file_system,
    check_home,
    check_permissions,
    check_space,
    file_system,
)
from labretto.network.doctor.units import odd
from labretto.network.liveness import hold
from labretto.network.serve import order_in_lab

DRIVER = """
from typing import Annotated
from annotated_types import Unit
from labretto.instrument.describe import effect

class Furnace:
    def __init__(self, limit: float, *, address: str = "COM1") -> None:
        open(__file__ + ".made", "w")
    @property
    def temperature(self) -> Annotated[float, Unit("degC")]: ...
    @effect("absolute")
    def ramp(self, to: Annotated[float, Unit("degC")], samples: int = 3) -> None: ...
    def stop(self) -> None: ...
"""

MakeLab = Callable[..., Lab]


@pytest.fixture
def make_lab(tmp_path: Path, labretto_home: Path) -> MakeLab:
    """Writes a lab.toml, and the module of its driver beside it."""

    def make(furnace: str = "settings = {limit = 900}", *, driver: str = DRIVER, more: str = "") -> Lab:
        (tmp_path / "furnace.py").write_text(driver)
        text = f'name = "lab"\n{more}\n[instruments.furnace]\ndriver = "furnace:Furnace"\n{furnace}\n'
        (tmp_path / "lab.toml").write_text(text)
        return load_lab(tmp_path / "lab.toml")

    return make


def lab_of(tmp_path: Path, instruments: str) -> Lab:
    (tmp_path / "lab.toml").write_text(f'name = "lab"\n{instruments}\n')
    return load_lab(tmp_path / "lab.toml")


def wrong(findings: Iterable[Finding], state: str = "fault") -> list[str]:
    """`subject: detail` of each finding of this state."""
    return [f"{each.subject}: {each.detail}" for each in findings if each.state == state]


def the_fault(findings: Iterable[Finding], state: str = "fault") -> str:
    """The only one; and it says the way out."""
    (found,) = [each for each in findings if each.state == state]
    assert found.way_out
    return f"{found.subject}: {found.detail}"


# The whole ----------------------------------------------------------------------------------------------------------


def everything_under(*folders: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for folder in folders for path in folder.rglob("*")}


def test_a_sound_lab_has_no_fault_and_nothing_is_written_or_made(
    make_lab: MakeLab, tmp_path: Path, labretto_home: Path, free_port: int, command_line: Any
) -> None:
    """In a pipe each finding is one line."""
    lab = make_lab(more=f"port = {free_port}")
    Ledger(lab.host_folder("furnace") / "ledger.db").close()
    before = everything_under(tmp_path, labretto_home)

    done = command_line.run("doctor", lab.file)

    assert done.returncode == 0, done.stdout + done.stderr
    assert everything_under(tmp_path, labretto_home) == before
    lines = [line.split("  ", 1) for line in done.stdout.splitlines()]
    assert {state for state, _ in lines} <= {"ok", "note"}
    looked_at = {words.partition(": ")[0] for _, words in lines}
    assert {"furnace.driver", "furnace.settings", "furnace.units", "hub.port", "hosts/furnace/ledger.db"} <= looked_at


def test_every_fault_of_the_lab_file_is_told_with_its_line_and_the_status_is_3(
    tmp_path: Path, command_line: Any
) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('name = "lab"\nprot = 8000\n[instruments.stage]\ndriver = "stage"\n')

    done = command_line.run("doctor", file, "--json")

    assert done.returncode == 3, done.stderr
    found = [each for each in json.loads(done.stdout) if each["subject"] == str(file)]
    assert [each["state"] for each in found] == ["fault", "fault"]
    assert [each["detail"].partition(":")[0] for each in found] == ["line 2", "line 4"]
    assert found[0]["way_out"] == "Did you mean 'port'?"


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on(make_lab: MakeLab, free_port: int) -> None:
    lab = make_lab(more=f"port = {free_port}")
    (lab.folder / "hosts").mkdir(parents=True)
    (lab.folder / "records" / "2026" / "11" / "x" / "run.json").mkdir(parents=True)

    findings = list(examine_lab(lab))

    assert the_fault(findings).startswith("records: This could not be looked at: IsADirectoryError")
    assert "furnace.driver" in {each.subject for each in findings}


# This machine -------------------------------------------------------------------------------------------------------


def test_an_old_python_is_a_fault() -> None:
    assert check_python((3, 10), ">=3.11").state == "fault"
    assert check_python((3, 11), ">=3.11").state == "ok"


def test_packages_that_are_missing_or_too_old_are_faults() -> None:
    asked = ["pyzmq>=26.2", "pyyaml>=999.1", "no-such-package>=1; extra == 'hub'", "httpx2[http2]>=2.0"]

    assert wrong(check_packages(asked)) == [
        f"package pyyaml: pyyaml is {_version('pyyaml')}; 999.1 or newer is needed.",
        "package no-such-package: no-such-package is not installed; the hub and its records need it.",
    ]


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('built for another processor')", "ImportError: built for another processor"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
        ("input_ = __import__('threading').Event().wait()", "did not end within"),
    ],
)
def test_a_library_that_cannot_be_imported_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, said: str
) -> None:
    (tmp_path / "broken_library.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    found = the_fault(check_imports(["json", "broken_library"], within=2))

    assert found.startswith("import broken_library:")
    assert said in found


@pytest.mark.parametrize(("limit", "state"), [(64, "fault"), (512, "note"), (4096, "ok"), (-1, "ok")])
def test_few_open_files_are_told(limit: int, state: str) -> None:
    assert check_open_files(limit).state == state


# Drivers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ("class Oven: ...", "has no class 'Furnace'"),
        ("import no_such_vendor_library", "needs 'no_such_vendor_library', which is not installed ({file}, line 1)"),
        ("x = 1\nraise OSError('no dongle')", "OSError: no dongle ({file}, line 2)"),
        ("class Furnace\n", "({file}, line 1)"),
        ("import os\nprint('loading')\nos._exit(7)", "ended Python with the status 7 (it said last: loading)"),
        ("import os\nos.kill(os.getpid(), 11)", "crashed Python (SIGSEGV)"),
        ("import sys\nsys.exit('no licence')", "SystemExit: no licence ({file}, line 2)"),
    ],
)
def test_a_driver_that_cannot_be_imported_is_a_fault(make_lab: MakeLab, tmp_path: Path, driver: str, said: str) -> None:
    found = the_fault(check_drivers(make_lab(driver=driver)))

    assert found.startswith("furnace.driver:")
    assert said.format(file=tmp_path / "furnace.py") in found


def test_a_driver_that_hangs_is_ended_with_all_that_it_started(make_lab: MakeLab, tmp_path: Path) -> None:
    started = tmp_path / "pid"
    driver = f"""
import subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
open({str(started)!r}, "w").write(str(child.pid))
threading.Event().wait()
"""
    order = order_in_lab(make_lab(driver=driver), "furnace")

    answer, end = answer_of(order, within=4)

    assert (answer, end) == (None, "did not end within 4 s")
    status = Path(f"/proc/{started.read_text()}/status")
    assert not status.exists() or "zombie" in status.read_text()


def test_a_driver_that_prints_much_while_it_is_imported_is_no_fault(make_lab: MakeLab) -> None:
    assert wrong(check_drivers(make_lab(driver="print('x' * 1_000_000)\n" + DRIVER))) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("settings = {}", "missing a required argument: 'limit'"),
        ("settings = {limit = 1, adress = 'COM2'}", "unexpected keyword argument 'adress'"),
        ("settings = {limit = 'hot'}", "limit"),
    ],
)
def test_settings_that_do_not_fit_the_constructor_are_a_fault_without_calling_it(
    make_lab: MakeLab, tmp_path: Path, settings: str, said: str
) -> None:
    found = the_fault(check_drivers(make_lab(settings)))

    assert found.startswith("furnace.settings:")
    assert said in found
    assert not (tmp_path / "furnace.py.made").exists()


def test_what_lab_toml_says_of_a_driver_that_does_not_have_it_is_a_fault(make_lab: MakeLab) -> None:
    lab = make_lab('settings = {limit = 1}\neffects = {rampp = "absolute"}')

    assert "has no 'rampp'" in the_fault(check_drivers(lab))


def test_limits_that_cannot_be_used_are_a_fault(make_lab: MakeLab) -> None:
    lab = make_lab("settings = {limit = 1}\nlimits = {pressure = {maximum = 3}}")

    assert "nothing may act" in the_fault(check_drivers(lab))


SAYS_LITTLE = """
from typing import Annotated
from annotated_types import Unit

class Furnace:
    @property
    def pressure(self) -> float: ...
    @property
    def temperature(self) -> Annotated[float, Unit("degc")]: ...
    @property
    def power(self) -> Annotated[float, Unit("")]: ...
    def ramp(self, to: Annotated[float, Unit("degC")]) -> None: ...
"""


def test_what_a_driver_does_not_say_is_noted(make_lab: MakeLab) -> None:
    found = wrong(check_drivers(make_lab("", driver=SAYS_LITTLE)), "note")

    assert found == [
        "furnace.units: The unit of temperature: 'degc' is not known (Did you mean 'degC'?).",
        "furnace.units: pressure, power have no unit.",
        "furnace.effects: Nobody declared an effect for ramp: they count as once.",
        "furnace.stop: Furnace has no stop(): the stop button cannot reach it.",
    ]


@pytest.mark.parametrize(
    "unit", ["mm", "V/s", "mol·m^-3", "kJ/(mol K)", "m s-1", "W/m²", "µm", "%", "1", "1/s", "a.u."]
)
def test_units_of_the_field_are_known(unit: str) -> None:
    assert odd(unit) is None


@pytest.mark.parametrize("unit", ["", " mm", "mmm", "Volts", 3, None])
def test_other_units_are_odd(unit: object) -> None:
    assert odd(unit)


# Ports and devices --------------------------------------------------------------------------------------------------


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield


def test_ports_that_others_have_are_faults(make_lab: MakeLab, free_ports: Callable[[int], list[int]]) -> None:
    hub, furnace = free_ports(2)
    lab = make_lab(f"port = {furnace}", more=f"port = {hub}")
    assert wrong(check_ports(lab)) == []

    with listening(hub), listening(furnace):
        assert wrong(check_ports(lab)) == [
            f"hub.port: Port {hub} of 127.0.0.1 is in use by another program.",
            f"furnace.port: Port {furnace} of 127.0.0.1 is in use by another program.",
        ]


def test_the_labs_own_hub_may_have_its_port_and_another_labs_hub_is_named(make_lab: MakeLab, free_port: int) -> None:
    lab = make_lab(more=f"port = {free_port}")
    other = lab.folder.parent / "other"
    for folder in (lab.folder, other):
        with listening(free_port), hold(folder / "hub.lock"):
            write_file(folder / "hub.json", HubFile(folder.name, f"http://127.0.0.1:{free_port}", 7, "").as_dict())
            found = next(iter(check_ports(lab)))

        assert found.state == ("ok" if folder == lab.folder else "fault")
        assert ("own process 7" if folder == lab.folder else "the hub of the lab other (process 7)") in found.detail


def test_an_address_that_is_not_this_machines_is_a_fault(make_lab: MakeLab) -> None:
    Tokens(make_lab().folder).create("me", "admin", 1)
    found = the_fault(check_ports(make_lab(more='host = "192.0.2.1"')))

    assert found.startswith("hub.port: Port 8000 of 192.0.2.1 cannot be used")


def test_listening_beyond_the_loopback_without_a_token_is_a_fault(make_lab: MakeLab, free_port: int) -> None:
    lab = make_lab(more=f'host = "0.0.0.0"\nport = {free_port}')

    assert the_fault(check_ports(lab)).startswith("hub.host: Listening on 0.0.0.0 would let everybody")


def test_two_instruments_with_one_device_are_noted_and_a_device_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    device = 'settings = {port = "/dev/no-such-tty"}\n'
    text = f'[instruments.a]\ndriver = "a:A"\n{device}[instruments.b]\ndriver = "b:B"\n{device}'
    findings = list(check_shared(lab_of(tmp_path, text)))

    assert the_fault(findings, "note") == "b.device: b and a both have /dev/no-such-tty."
    assert "a.device: /dev/no-such-tty is not there." in wrong(findings)


# Instruments elsewhere ----------------------------------------------------------------------------------------------


class Lamp:
    """A lamp."""

    def stop(self) -> None: ...


def test_an_instrument_elsewhere_answers_on_both_wires(tmp_path: Path) -> None:
    with start_background(Lamp) as lamp:
        text = f'[instruments.http]\nurl = "{lamp.url}"\n[instruments.zmq]\nurl = "{lamp.address}"'
        findings = list(check_elsewhere(lab_of(tmp_path, text)))

    assert [each.subject for each in findings] == ["http.url", "http.clock", "zmq.url", "zmq.clock"]
    assert {each.state for each in findings} == {"ok"}


def test_one_that_does_not_answer_is_a_fault(tmp_path: Path, free_port: int) -> None:
    lab = lab_of(tmp_path, f'[instruments.lamp]\nurl = "http://127.0.0.1:{free_port}"')

    assert the_fault(check_elsewhere(lab)).startswith("lamp.url:")


def test_one_that_takes_the_connection_and_says_nothing_is_a_fault(tmp_path: Path, free_port: int) -> None:
    lab = lab_of(tmp_path, f'[instruments.lamp]\nurl = "http://127.0.0.1:{free_port}"')

    with listening(free_port):
        assert "did not answer within 0.5 s" in the_fault(check_elsewhere(lab, within=0.5))


def test_a_token_file_that_others_can_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("labretto_x")
    (tmp_path / "token").chmod(0o644)
    lab = lab_of(tmp_path, '[instruments.lamp]\nurl = "http://127.0.0.1:9"\ntoken_file = "token"')

    assert "can be read by others" in the_fault(check_elsewhere(lab))
    assert "can be read by others" in the_fault([*check_permissions(lab)])


@contextmanager
def answering_late(seconds: float) -> Iterator[str]:
    """A host, written by somebody else, whose clock is wrong by so much."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lamp = {"name": "lamp", "title": "Lamp", "description": "", "driver": "", "stop": True}
            told = {"status": "idle"} if self.path == "/health" else lamp | {"attributes": {}, "actions": {}}
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("seconds", "state"), [(0, None), (10, "note"), (-3600, "fault")])
def test_a_clock_that_is_wrong_is_told(tmp_path: Path, seconds: float, state: str | None) -> None:
    with answering_late(seconds) as url:
        findings = list(check_elsewhere(lab_of(tmp_path, f'[instruments.lamp]\nurl = "{url}"')))

    assert [each.subject for each in findings] == ["lamp.url", "lamp.clock"]
    assert findings[0].state == "ok"
    assert findings[1].state == (state or "ok")
    assert ("leases" in findings[1].detail) == bool(state)


def test_a_skew_is_what_is_certain_of_it() -> None:
    assert skew(told=100, sent=100.4, received=100.6) == 0
    assert skew(told=110, sent=100.4, received=100.6) == pytest.approx(9.4)
    assert skew(told=90, sent=100.4, received=100.6) == pytest.approx(-9.4)
    assert [clock_finding("clock", s).state for s in (0.9, -1.1, 29, 31, -31)] == [
        "ok",
        "note",
        "note",
        "fault",
        "fault",
    ]


# Where the data live ------------------------------------------------------------------------------------------------


def test_a_home_that_cannot_be_written_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LABRETTO_HOME", str(tmp_path / "file" / "home"))

    assert the_fault(check_home()).startswith(f"LABRETTO_HOME: {tmp_path}/file/home cannot be written: not a directory")


def test_a_home_that_is_not_there_yet_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRETTO_HOME", str(tmp_path / "new" / "home"))

    assert wrong(check_home()) == []
    assert list(tmp_path.iterdir()) == []


MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
server:/export /data/the\040share nfs4 rw 0 0
tmpfs /run tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind", "state"),
    [
        ("/home/me", "ext4", "ok"),
        ("/data/the share/labs", "nfs4", "fault"),
        ("/data/the share2", "ext4", "ok"),
        ("/run/x", "tmpfs", "note"),
    ],
)
def test_a_home_on_a_network_share_is_a_fault(path: str, kind: str, state: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert check_file_system(Path(path), kind).state == state


@pytest.mark.parametrize(("free", "state"), [(99_000_000, "fault"), (999_000_000, "note"), (2_000_000_000, "ok")])
def test_a_disk_that_is_nearly_full_is_told(free: int, state: str) -> None:
    assert check_space(Path("/data"), free).state == state


def test_a_folder_and_secrets_that_others_can_change_or_read_are_faults(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.folder.mkdir()
    for name, mode in (("owner.token", 0o640), ("tokens.json", 0o622)):
        (lab.folder / name).touch()
        (lab.folder / name).chmod(mode)
    lab.folder.chmod(0o777)

    assert wrong(check_permissions(lab)) == [
        f"permissions: {lab.folder} can be changed by others (mode 777).",
        f"permissions: {lab.folder}/tokens.json can be changed by others (mode 622).",
        f"permissions: {lab.folder}/owner.token can be read by others (mode 640).",
    ]


def test_a_ledger_that_is_damaged_or_no_database_is_a_fault(make_lab: MakeLab) -> None:
    lab = make_lab()
    ledger, journal = lab.host_folder("furnace") / "ledger.db", lab.folder / "journal.db"
    Ledger(ledger).close()
    assert wrong(check_databases(lab)) == []

    journal.write_text("not a database, but long enough to be taken for one" * 20)
    with sqlite3.connect(ledger) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    content = bytearray(ledger.read_bytes())
    content[size : 2 * size] = b"\xff" * size
    ledger.write_bytes(content)

    found = wrong(check_databases(lab))

    assert [each.partition(":")[0] for each in found] == ["journal.db", "hosts/furnace/ledger.db"]


def test_a_ledger_that_its_host_has_open_is_sound(make_lab: MakeLab) -> None:
    lab = make_lab()
    with hold(lab.host_folder("furnace") / "lock"):
        ledger = Ledger(lab.host_folder("furnace") / "ledger.db")
        found = list(check_databases(lab))
        ledger.close()

    assert [each.state for each in found] == ["ok"]


# Hub, hosts, records ------------------------------------------------------------------------------------------------

HOLDS = """
import pathlib, sys
from labretto.network.liveness import hold
with hold(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(path: Path) -> Iterator[int]:
    """Another process that holds a lock; its pid."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.communicate()


def test_a_host_that_runs_without_a_hub_is_noted_with_its_process(make_lab: MakeLab) -> None:
    lab = make_lab()
    with holding(lab.host_folder("furnace") / "lock") as pid:
        found = the_fault(check_lives(lab), "note")

    assert found == f"furnace.host: The host of furnace runs without a hub (process {pid})."


def test_what_killed_processes_left_is_noted(make_lab: MakeLab) -> None:
    lab = make_lab()
    write_file(lab.hub_file, HubFile("lab", "http://127.0.0.1:1", 1, "").as_dict())
    write_file(lab.host_folder("furnace") / "host.json", HostFile("furnace", 1, {}, "", "").as_dict())

    assert wrong(check_lives(lab), "note") == [
        "hub: The last hub of lab was killed.",
        "furnace.host: The last host of furnace was killed.",
    ]


def test_an_instrument_that_is_down_while_its_hub_runs_is_a_fault(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.host_folder("furnace").mkdir(parents=True)
    with hold(lab.hub_lock):
        assert the_fault(check_lives(lab)) == "furnace.host: furnace is not served although the hub runs."


def test_hosts_that_serve_something_else_than_lab_toml_says_are_noted(make_lab: MakeLab) -> None:
    lab = make_lab()
    now = order_in_lab(lab, "furnace").fingerprint
    for name, fingerprint in (("furnace", "old"), ("oven", "")):
        folder = lab.host_folder(name)
        write_file(folder / "host.json", HostFile(name, 7, {}, "", "", fingerprint).as_dict())
    with hold(lab.hub_lock), hold(lab.host_folder("furnace") / "lock"), hold(lab.host_folder("oven") / "lock"):
        found = [each for each in wrong(check_lives(lab), "note") if not each.startswith("hub:")]
        write_file(lab.host_folder("furnace") / "host.json", HostFile("furnace", 7, {}, "", "", now).as_dict())
        later = [each.detail for each in check_lives(lab) if each.state == "ok"]

    assert found == [
        "furnace.host: furnace is served as lab.toml was before it changed (process 7).",
        "oven.host: oven is served (process 7) and not in lab.toml.",
    ]
    assert later == ["furnace is served (process 7)."]


def record(lab: Lab, name: str, manifest: str, *events: dict[str, Any]) -> None:
    folder = lab.folder / "records" / "2026" / "11" / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(manifest)
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def test_records_that_were_not_closed_are_noted_and_damaged_ones_are_faults(make_lab: MakeLab) -> None:
    lab = make_lab()
    submitted, finished = {"kind": "submitted", "number": 1}, {"kind": "finished", "number": 2}
    record(lab, "closed", '{"finalised": 2}', submitted, finished)
    record(lab, "damaged", '{"id": ')
    record(lab, "ended", "{}", submitted, finished)
    record(lab, "open", "{}", submitted)

    findings = list(check_records(lab))

    assert wrong(findings, "note") == [
        "records: The run ended ended and its record was not closed.",
        "records: The run open is not over: the next hub goes on with it.",
    ]
    assert "damaged/run.json is no JSON object" in the_fault(findings)
    with hold(lab.hub_lock):
        assert wrong(check_records(lab), "note") == []

"""The doctor sees by day that nobody would be told at night."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labretto.lab import Lab, Mail, Notify
from labretto.network.doctor.examine import OF_THE_LAB
from labretto.network.doctor.finding import Finding
from labretto.network.doctor.outside import check_outside


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of a server that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def found(lab: Lab) -> dict[str, Finding]:
    return {finding.subject: finding for finding in check_outside(lab, within=1.0)}


def test_servers_that_take_connections_are_in_order(listening: int, tmp_path: Path) -> None:
    file = tmp_path / "chat.url"
    file.write_text(f"http://127.0.0.1:{listening}/hook/secret-word\n")
    file.chmod(0o600)
    mail = Mail(host="127.0.0.1", port=listening, sender="a@b", to=("c@d",))

    findings = found(Lab(name="x", notify=Notify(webhook_files=(file,), mail=mail)))

    assert {subject: finding.state for subject, finding in findings.items()} == {
        "notify.webhooks": "ok", "notify.mail": "ok"
    }  # fmt: skip
    assert "secret-word" not in str(findings)


def test_a_server_that_is_not_there_and_a_file_that_others_read_are_faults(free_port: int, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("geheim\n")
    file.chmod(0o644)
    mail = Mail(host="127.0.0.1", port=free_port, sender="a@b", to=("c@d",), user="lab", password_file=file)

    findings = found(Lab(name="x", notify=Notify(mail=mail)))

    assert findings["notify.mail"].state == "fault"
    assert "chmod 600" in findings["notify.mail.password_file"].way_out
    assert "geheim" not in str(findings)


def test_a_collector_wants_the_extra(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)

    findings = list(check_outside(Lab(name="x", telemetry=f"http://127.0.0.1:{listening}"), within=1.0))

    assert [finding.state for finding in findings] == ["fault", "ok"]
    assert "labretto[telemetry]" in findings[0].way_out


def test_a_lab_that_tells_nobody_has_nothing_to_look_at() -> None:
    assert list(check_outside(Lab(name="x"))) == []
    assert check_outside in OF_THE_LAB

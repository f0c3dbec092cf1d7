"""A hub that speaks HTTPS with a certificate of its own; whoever does not know it does not talk to it."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

from labretto.errors import InvalidError
from labretto.lab import parse_lab

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of this test")

FILES = ("--tls-cert", "lab.pem", "--tls-key", "lab.key")


@pytest.fixture
def certificate(command_line: Any) -> Path:
    """A certificate for this machine, signed by itself."""
    folder: Path = command_line.folder
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "lab.key", "-out", "lab.pem", "-days", "2", "-subj", "/CN=lab"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "lab.pem"


@pytest.fixture
def hub(certificate: Path, command_line: Any) -> Iterator[str]:
    with command_line.start("up", "--port", "0", *FILES) as process:
        line = process.stdout.readline()
        assert "https://" in line, command_line.errors()
        yield line.split()[1]


def test_page_interface_and_stream_are_encrypted(hub: str, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    assert httpx2.get(f"{hub}/api/lab", verify=trusting).json()["name"] == "default"
    assert "<html" in httpx2.get(f"{hub}/", verify=trusting).text
    with connect(f"{hub.replace('https', 'wss')}/live", ssl=trusting) as live:
        assert live.recv(timeout=30)


def test_who_does_not_know_the_certificate_does_not_talk_to_it(hub: str) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{hub}/api/lab")
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{hub.replace('https', 'http')}/api/lab")


def test_programs_of_ours_trust_the_certificate_that_is_named(hub: str, command_line: Any, certificate: Path) -> None:
    assert command_line.run("alarms", SSL_CERT_FILE=str(certificate)).stdout == "No alarms.\n"
    distrusting = command_line.run("alarms")
    assert distrusting.returncode == 4
    assert "certificate" in distrusting.stderr.lower()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (("--tls-cert", "lab.pem"), "go together"),
        (("--tls-cert", "nowhere.pem", "--tls-key", "lab.key"), "no certificate and its key"),
        (("--tls-cert", "lab.key", "--tls-key", "lab.pem"), "no certificate and its key"),
    ],
)
def test_files_that_are_none_are_refused(
    certificate: Path, command_line: Any, files: tuple[str, ...], why: str
) -> None:
    told = command_line.run("up", "--port", "0", *files)
    assert told.returncode == 3
    assert why in " ".join(told.stderr.split())


def test_a_lab_names_its_files_beside_it(tmp_path: Path) -> None:
    lab = parse_lab('[access]\ntls_cert = "a.pem"\ntls_key = "/b.key"', tmp_path / "lab.toml")
    assert lab.access.tls == (tmp_path / "a.pem", Path("/b.key"))
    with pytest.raises(InvalidError) as caught:
        parse_lab('[access]\ntls_cert = "a.pem"', tmp_path / "lab.toml")
    assert "go together" in str(caught.value.fields["faults"])

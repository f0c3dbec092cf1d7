"""Whether people would be told at night: the files of `[notify]`, the servers behind it, the collector of telemetry.

Nothing is sent: a server is only asked whether it takes a connection.
"""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from labretto.lab import Lab
from labretto.network.doctor.finding import Finding, fault, ok

ANSWER_WITHIN = 3.0
"""Seconds for a server to take a connection."""
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def check_outside(lab: Lab, within: float = ANSWER_WITHIN) -> Iterator[Finding]:
    """Everything outside the lab that is told of it."""
    notify = lab.notify
    addresses = list(notify.webhooks)
    for file in notify.webhook_files:
        addresses += yield from _lines("notify.webhook_files", file)
    for address in addresses:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        yield _reached("notify.webhooks", parts.hostname or "", port, within)  # the rest of it may be a secret
    if mail := notify.mail:
        if mail.password_file:
            yield from _lines("notify.mail.password_file", mail.password_file)
        yield _reached("notify.mail", mail.host, mail.port, within)
    if lab.telemetry:
        yield from _collector(lab.telemetry, within)


def _lines(subject: str, file: Path) -> Generator[Finding, None, list[str]]:
    """The lines of a file that is nobody else's business; what is wrong with it is a finding."""
    try:
        mode, text = file.stat().st_mode, file.read_text("utf-8")
    except (OSError, ValueError) as error:
        yield fault(subject, f"{file} cannot be read: {error}.", "The hub would not start.")
        return []
    if mode & 0o077:
        yield fault(subject, f"{file} can be read by others; the hub would not start.", f"chmod 600 {file}")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _reached(subject: str, host: str, port: int, within: float) -> Finding:
    try:
        with socket.create_connection((host, port), within):
            return ok(subject, f"{host}:{port} takes connections.")
    except OSError as error:
        return fault(subject, f"{host}:{port}: {error}; nobody would be told.", "Is it on, and is the address right?")


def _collector(address: str, within: float) -> Iterator[Finding]:
    try:
        there = importlib.util.find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:  # not even the package around it
        there = False
    if not there:
        yield fault("telemetry", "The exporter of spans is not installed; the hub would not start.", _INSTALL)
    parts = urlsplit(address)
    yield _reached("telemetry", parts.hostname or "", parts.port or 80, within)


_INSTALL = "pip install 'labretto[telemetry]'"

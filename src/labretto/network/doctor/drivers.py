"""Each driver of the lab, looked at in a process of its own that may hang, print, exit or crash without harm.

What is looked at there stands in `look`; here its answer becomes findings.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from labretto.instrument.describe import Description
from labretto.lab import Lab
from labretto.network.doctor.descriptions import check_description
from labretto.network.doctor.finding import Finding, fault, note, ok, problem_faults
from labretto.network.serve import Order, order_in_lab

LOOK_WITHIN = 30.0
"""Seconds for an import; those of large libraries take a few."""

_AT_ONCE = 4


def check_drivers(lab: Lab, within: float = LOOK_WITHIN) -> Iterator[Finding]:
    """Every driver that this machine serves."""
    orders = [order_in_lab(lab, name) for name, entry in lab.instruments.items() if entry.driver]
    with ThreadPoolExecutor(_AT_ONCE, "doctor") as pool:
        for findings in pool.map(lambda order: list(check_driver(order, within)), orders):
            yield from findings


def check_driver(order: Order, within: float = LOOK_WITHIN) -> Iterator[Finding]:
    """One driver: imported, arguments, description."""
    name, driver = order.instrument.name, order.instrument.driver
    found, end = answer_of(order, within)
    if found is None:
        way_out = "Import it by hand; what talks to hardware belongs into the constructor, not into the module."
        yield fault(f"{name}.driver", f"The import of {driver} {end}.", way_out)
        return
    for word, subject in (("import", "driver"), ("settings", "settings"), ("description", "driver")):
        yield from _problems(f"{name}.{subject}", found.get(word))
    if found.get("limits"):
        detail = f"The limits cannot be used, so nothing may act: {found['limits']}."
        yield fault(f"{name}.limits", detail, "Correct them; a host with such limits refuses every act.")
    if "described" in found:
        yield from _described(order, found)


def _problems(subject: str, problem: Mapping[str, Any] | None) -> Iterator[Finding]:
    for each in problem_faults(subject, problem) if problem else ():
        place = problem.get("place") if problem else ""
        told = f" ({place})" if place and str(place) not in each.detail else ""
        yield fault(subject, f"{each.detail.rstrip('.')}{told}.", each.way_out or "Correct the driver or lab.toml.")


def _described(order: Order, found: Mapping[str, Any]) -> Iterator[Finding]:
    name, driver = order.instrument.name, order.instrument.driver
    description = Description.from_dict(found["described"])
    yield ok(f"{name}.driver", f"{driver} is imported and described.")
    if "settings" not in found:
        given = ", ".join(order.instrument.settings) or "none"
        yield ok(f"{name}.settings", f"The constructor takes the settings ({given}).")
    if found.get("later"):
        detail = f"What {description.title} offers is known only once it is made; units and stop were not looked at."
        yield note(f"{name}.description", detail, f"labretto connect {name} list tells, while the lab is up.")
    else:
        yield from check_description(description, found["undeclared"])


def answer_of(order: Order, within: float) -> tuple[dict[str, Any] | None, str]:
    """What `look` answers; None, and how it ended, if it does not."""
    # Files without a name and not pipes: a pipe that nobody reads would stop a driver that talks.
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            # As a host is started (`labretto.network.life`): -P, and in the folder of lab.toml.
            [sys.executable, "-P", "-m", "labretto.network.doctor.look", str(answer.fileno())],
            cwd=order.search_path[-1] if order.search_path else None,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # nothing is written beside the driver
            pass_fds=[answer.fileno()],
            start_new_session=True,  # so that what the driver starts ends with it
        )
        end = _ended(process, order, within)
        answer.seek(0)
        told = b"" if end else answer.read()
        if told:
            return msgspec.json.decode(told), ""
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
        last = f" (it said last: {lines[-1][:200]})" if lines else ""
        return None, (end or _status(process.returncode)) + last


def _ended(process: subprocess.Popen[bytes], order: Order, within: float) -> str:
    """Wait for the process and end all that it started; says why if it had to be ended."""
    try:
        process.communicate(order.as_json().encode(), timeout=within)
    except subprocess.TimeoutExpired:
        return f"did not end within {within:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return ""


def _status(code: int) -> str:
    if code < 0:
        return f"crashed Python ({signal.Signals(-code).name})"
    return f"ended Python with the status {code}"

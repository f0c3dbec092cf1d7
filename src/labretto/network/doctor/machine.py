"""The machine as the lab needs it: Python, the packages, the number of files that may be open.

The libraries of the hub are imported in a process of their own: one that was built for another processor ends it.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata

from labretto.network.doctor.finding import Finding, fault, note, ok

IMPORTED = ("numpy", "pandas", "pyarrow", "h5py", "xarray", "jsonschema")
"""What the hub imports for its records, besides what every command needs."""

IMPORT_WITHIN = 60.0
FEWEST_FILES, FEW_FILES = 256, 1024


def check_machine() -> Iterator[Finding]:
    """Everything that does not depend on the lab."""
    yield check_python(sys.version_info[:2], metadata.metadata("labretto")["Requires-Python"] or "")
    faults = [*check_packages(metadata.requires("labretto") or [])]
    yield from faults or [ok("packages", "All packages are there and new enough, those of the hub too.")]
    missing = {found.subject.removeprefix("package ") for found in faults}
    yield from check_imports([name for name in IMPORTED if name not in missing])
    yield check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def check_python(version: tuple[int, ...], required: str) -> Finding:
    """`required` as a package says it: ">=3.11"."""
    shown = ".".join(map(str, version))
    if numbers(required.removeprefix(">=")) > version:
        return fault(
            "python", f"Python is {shown}; Labretto needs {required}.", "Make an environment with a newer one."
        )
    return ok("python", f"Python {shown} at {sys.executable}.")


def check_packages(requirements: Iterable[str]) -> Iterator[Finding]:
    """What of `requirements` ("h5py>=3.12; extra == 'hub'") is missing or too old."""
    for requirement in requirements:
        said = re.match(r"([\w.-]+)(?:\[[^\]]*\])?(?:>=([\w.]+))?", requirement)
        if not said:
            continue
        name, wanted = said[1], said[2] or "0"
        hub = "extra == " in requirement
        way_out = f"pip install '{'labretto[hub]' if hub else 'labretto'}' into {sys.prefix}"
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            need = "the hub and its records need" if hub else "every command needs"
            yield fault(f"package {name}", f"{name} is not installed; {need} it.", way_out)
            continue
        if numbers(installed) < numbers(wanted):
            yield fault(f"package {name}", f"{name} is {installed}; {wanted} or newer is needed.", way_out)


def numbers(version: str) -> tuple[int, ...]:
    """The numbers before the first letter: "2.10.0rc1" is (2, 10, 0)."""
    leading = re.match(r"\s*(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in leading[1].split(".")) if leading else ()


_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(name, "failed", type(error).__name__ + ":", str(error).splitlines()[0] if str(error) else "", flush=True)
    else:
        print(name, "imported", flush=True)
"""


def check_imports(names: Iterable[str], within: float = IMPORT_WITHIN) -> Iterator[Finding]:
    """Import each in one process apart; what ends that process, or takes too long, is found by who did not answer."""
    wanted = list(names)
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", _IMPORT, *wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False, env=environment)
        answers, end = done.stdout, f"ended Python with the status {done.returncode}"
    except subprocess.TimeoutExpired as late:
        told = late.stdout or b""
        answers, end = told.decode() if isinstance(told, bytes) else told, f"did not end within {within:g} s"
    told_of = {line.split(" ", 1)[0]: line.split(" ", 2)[1:] for line in answers.splitlines() if " " in line}
    way_out = "Install it anew, in the version for this Python and this processor."
    silent = [name for name in wanted if name not in told_of]
    for name in wanted:
        if name in silent[:1]:
            yield fault(f"import {name}", f"The import of {name} {end}.", way_out)
        elif told_of.get(name, ["imported"])[0] == "failed":
            yield fault(f"import {name}", f"{name} cannot be imported: {told_of[name][1]}.", way_out)
    if wanted and not silent and all(told[0] == "imported" for told in told_of.values()):
        yield ok("imports", f"{', '.join(wanted)} can be imported.")


def check_open_files(limit: int) -> Finding:
    """`limit`: files and sockets that one process may have open; -1 for any number."""
    way_out = "Raise it before `labretto up`: ulimit -n 4096, or LimitNOFILE=4096 in its systemd unit."
    if limit == resource.RLIM_INFINITY or limit >= FEW_FILES:
        return ok("open files", f"A process may have {limit if limit >= 0 else 'any number of'} files open.")
    found = fault if limit < FEWEST_FILES else note
    return found("open files", f"A process may have only {limit} files and sockets open.", way_out)

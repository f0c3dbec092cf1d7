"""All checks of the doctor, one after the other; what each looks at stands in its own module."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from labretto.errors import LabError
from labretto.lab import Lab, home, load_lab
from labretto.network.doctor.drivers import check_drivers
from labretto.network.doctor.elsewhere import check_elsewhere
from labretto.network.doctor.finding import Finding, fault, faults_of, ok
from labretto.network.doctor.lives import check_lives, check_records
from labretto.network.doctor.machine import check_machine
from labretto.network.doctor.outside import check_outside
from labretto.network.doctor.ports import check_ports, check_shared
from labretto.network.doctor.storage import check_databases, check_home, check_permissions

OF_THE_LAB: tuple[Callable[[Lab], Iterable[Finding]], ...] = (
    check_permissions,
    check_databases,
    check_records,
    check_lives,
    check_shared,
    check_ports,
    check_elsewhere,
    check_outside,
    check_drivers,
)


def examine(file: Path | None) -> Iterator[Finding]:
    """Look at everything, the quick things first; findings come as they are made.

    Args:
        file: the lab's; None: this machine and LABRETTO_HOME only, with the empty lab named "default".
    """
    yield from _survived("LABRETTO_HOME", check_home)
    yield from _survived("machine", check_machine)
    try:
        lab = load_lab(file)
    except LabError as error:
        yield from faults_of(str(file), error)
        return
    if file is not None:
        yield ok(str(file), f"{lab.name}: {len(lab.instruments)} instruments; its data go to {home() / lab.name}.")
    yield from examine_lab(lab)


def examine_lab(lab: Lab) -> Iterator[Finding]:
    """Look at what the lab itself needs."""
    for check in OF_THE_LAB:
        yield from _survived(check.__name__.removeprefix("check_"), functools.partial(check, lab))


def _survived(subject: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; if it breaks itself, that is a finding and the others go on."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever a machine surprises us with
        detail = f"This could not be looked at: {type(error).__name__}: {error}."
        yield fault(subject, detail, "The rest was looked at; please report this as a fault of ours.")

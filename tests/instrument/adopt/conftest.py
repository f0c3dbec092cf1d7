"""Drivers of real instruments, as their libraries ship them, over PyVISA's simulated bus; nothing of ours is replaced.

`heard` is what the simulated instruments were sent: the only witness of what was refused before any I/O.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pyvisa_sim.devices import Device

from labretto.instrument.adopt import adopt, arguments, constructor
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.instrument.overlay import Overlay
from labretto.network.load import maker

SIMULATED = Path(__file__).parent / "simulated"

Hosting = Callable[..., AbstractAsyncContextManager[Host]]


@pytest.fixture
def bus(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Settings with which a PyMeasure driver finds an instrument of `simulated/`, as it is when it is switched on."""

    def plugged(file: str) -> dict[str, Any]:
        shutil.copy(SIMULATED / file, tmp_path)  # PyVISA keeps a simulation, and what was set there, for each path
        ends = {"read_termination": "\n", "write_termination": "\n"}
        return {"adapter": "GPIB::8::INSTR", "visa_library": f"{tmp_path / file}@sim"} | ends

    return plugged


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every command that reached a simulated instrument."""
    commands: list[str] = []
    match = Device._match

    def listening(self: Device, query: bytes) -> Any:
        commands.append(query.decode())
        return match(self, query)

    monkeypatch.setattr(Device, "_match", listening)
    return commands


@pytest.fixture
def hosting(tmp_path: Path) -> Hosting:
    """`async with hosting(DriverClass, setting=...) as host`, as `labretto serve` would do it."""

    @asynccontextmanager
    async def host(driver: type, overlay: Overlay | None = None, **settings: Any) -> AsyncIterator[Host]:
        make = maker(constructor(driver), arguments(driver, settings, "it"), "it")
        make, offer = adopt(driver, make, name="it", overlay=overlay)
        async with Host(make, offer, Ledger(tmp_path / "ledger.db")) as host:
            yield host

    return host

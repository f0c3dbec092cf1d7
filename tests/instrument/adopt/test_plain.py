"""Classes of no library that is known: one's own are described as they are, installed ones as far as it goes."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labretto.errors import InvalidError
from labretto.instrument.adopt import adopt

from .conftest import Hosting

DRIVER = '''
from __future__ import annotations

class Bath:
    """A circulating bath, by somebody who never heard of annotations."""

    def __init__(self):
        self._setpoint = 20.0
        self.closed = False

    @property
    def setpoint(self):
        """Degrees."""
        return self._setpoint

    @setpoint.setter
    def setpoint(self, value):
        self._setpoint = value

    @property
    def logger(self) -> Logger:
        return "not to be resolved"

    def ramp(self, to, /, rate=1, *more, **options):
        """Ramp."""
        self._setpoint = to
        return [to, rate]

    def send(self, message: Telegram) -> Telegram:
        return message

    async def settle(self):
        return self._setpoint

    def stop(self):
        self._setpoint = 20.0

    def close(self):
        self.closed = True
'''


@pytest.fixture
def bath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """A class as it stands in an installed package."""
    file = tmp_path / "baths.py"
    file.write_text(DRIVER)
    module = ModuleType("baths")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "baths", module)
    exec(compile(DRIVER, file, "exec"), vars(module))
    found: type = module.Bath
    return found


@pytest.fixture
def installed(bath: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    monkeypatch.setattr("sysconfig.get_path", lambda key: str(tmp_path))
    return bath


def test_ones_own_class_is_refused_with_what_is_wrong(bath: type) -> None:
    with pytest.raises(InvalidError, match="Logger"):
        adopt(bath, bath, name="bath")


async def test_an_installed_class_offers_what_it_can(installed: type, hosting: Hosting) -> None:
    async with hosting(installed) as host:
        assert host.description.attributes["setpoint"].schema == {}
        assert (await host.write("setpoint", 25)).value == 25
        assert (await host.read("logger")).value == "not to be resolved"
        assert list(host.description.actions["ramp"].parameters) == ["to", "rate"]
        assert host.description.actions["send"].parameters["message"].schema == {}

        for action, parameters, result in (("ramp", {"to": 30}, [30, 1]), ("settle", {}, 30)):
            begun = await host.invoke(action, parameters)
            assert (await host.wait(begun.id)).result == result
        assert (await host.stop())["stopped"]
        assert (await host.read("setpoint")).value == 20.0


async def test_a_class_without_annotations_needs_nothing(hosting: Hosting) -> None:
    class Lamp:
        def __init__(self) -> None:
            self._on = False

        @property
        def on(self):  # type: ignore[no-untyped-def]
            return self._on

        def switch(self, on):  # type: ignore[no-untyped-def]
            self._on = on

    async with hosting(Lamp) as host:
        begun: Any = await host.invoke("switch", {"on": True})
        assert (await host.wait(begun.id)).state == "succeeded"
        assert (await host.read("on")).value is True

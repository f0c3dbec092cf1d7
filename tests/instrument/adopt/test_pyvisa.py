"""A resource of PyVISA without a driver: commands as actions, and attributes that the settings name."""

from pathlib import Path

import pytest
from pyvisa.resources import MessageBasedResource, Resource
from qcodes.instrument import sims

from labretto.errors import InvalidError, LimitError
from labretto.network.load import load_driver

from .conftest import Hosting

SETTINGS = {
    "resource": "GPIB::2::INSTR",
    "visa_library": f"{Path(sims.__file__).parent / 'lakeshore_model336.yaml'}@sim",
    "read_termination": "\r\n",
    "write_termination": "\r\n",
    "reads": {"temperature": "KRDG? A", "identity": "*IDN?"},
}


async def test_commands_are_actions_that_happen_once_and_reads_are_attributes(hosting: Hosting) -> None:
    async with hosting(load_driver("pyvisa.resources:Resource"), **SETTINGS) as host:
        assert (await host.read("temperature")).value == 100.0
        assert (await host.read("identity")).value == "QCoDeS, m0d3l, 336, 0.0.01"
        begun = await host.invoke("query", {"message": "KRDG? B"})
        assert (await host.wait(begun.id)).result == "100.0"
        assert {action.effect for action in host.description.actions.values()} == {"once"}


async def test_its_timeout_is_a_setting(hosting: Hosting) -> None:
    async with hosting(MessageBasedResource, **SETTINGS) as host:
        assert (await host.write("timeout", 500)).value == 500
        with pytest.raises(LimitError, match="0 ms"):
            await host.write("timeout", -1)


async def test_it_cannot_be_opened_without_its_name(hosting: Hosting) -> None:
    with pytest.raises(InvalidError, match="resource"):
        async with hosting(Resource, visa_library="@sim"):
            pass

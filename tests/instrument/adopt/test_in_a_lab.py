"""From a line in lab.toml to a value with its unit in a browser: drivers of PyMeasure and QCoDeS, in real processes.

The laboratory is started once for the module, because that costs seconds.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, expect
from tests.conftest import CommandLine

from .conftest import SIMULATED

LAB = """
name = "cold"
port = {port}

[instruments.lockin]
driver = "pymeasure.instruments.srs:SR830"
settings.adapter = "GPIB::8::INSTR"
settings.visa_library = "{folder}/sr830.yaml@sim"
settings.write_termination = "\\n"
overlay = "sr830.toml"
units = {{ phase = "deg" }}

[instruments.smu]
driver = "pymeasure.instruments.keithley:Keithley2400"
settings.adapter = "GPIB::8::INSTR"
settings.visa_library = "{folder}/keithley2400.yaml@sim"
settings.write_termination = "\\n"
measurement = "current"

[instruments.cryostat]
driver = "qcodes.instrument_drivers.Lakeshore:LakeshoreModel336"
settings = {{ address = "GPIB::2::INSTR", pyvisa_sim_file = "lakeshore_model336.yaml" }}
"""

SIDE = """
measurement = "x"
slow = ["id", "status"]
units = { phase = "rad", theta = "deg" }
safe = { sine_voltage = 0.004 }
descriptions = { x = "In phase with the reference." }

[effects]
auto_phase = "absolute"
"""


@pytest.fixture(scope="module")
def hub(command_line_of_the_module: CommandLine) -> Iterator[str]:
    folder = command_line_of_the_module.folder
    for file in ("sr830.yaml", "keithley2400.yaml"):
        shutil.copy(SIMULATED / file, folder)
    (folder / "sr830.toml").write_text(SIDE)
    (folder / "lab.toml").write_text(LAB.format(folder=folder, port=free_port()))
    with command_line_of_the_module.hub("lab.toml") as address:
        yield address


def free_port() -> int:
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def ask(hub: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    answer = httpx2.request(method, f"{hub}/api/instruments/{path}", json=body, timeout=30)
    return answer.status_code, answer.json()


def test_attributes_are_read_through_the_hub(hub: str) -> None:
    for path, value, unit in (
        ("lockin/attributes/x", 0.0123, "V"),
        ("smu/attributes/current", 1e-3, "A"),
        ("cryostat/attributes/A_temperature", 100.0, "K"),
    ):
        status, reading = ask(hub, "GET", path)
        assert (status, reading["value"], reading["unit"], reading["status"]) == (200, value, unit, "ok")


def test_a_value_out_of_range_is_refused_and_the_instrument_keeps_what_it_has(hub: str) -> None:
    for path, good, bad in (
        ("lockin/attributes/sine_voltage", 0.5, 7),
        ("smu/attributes/source_voltage", 1.5, 400),
        ("cryostat/attributes/output_1_setpoint", 77.0, 500),
    ):
        assert ask(hub, "PUT", path, {"value": good})[1]["value"] == good
        status, problem = ask(hub, "PUT", path, {"value": bad})
        assert (status, problem["title"]) == (422, "A value is outside its limits")
        assert ask(hub, "GET", path)[1]["value"] == good


def test_what_the_side_table_says_is_in_the_description(hub: str) -> None:
    _, lockin = ask(hub, "GET", "lockin")
    attributes = lockin["description"]["attributes"]

    assert next(iter(attributes)) == "x"
    assert attributes["x"]["measurement"]
    assert attributes["x"]["description"] == "In phase with the reference."
    assert attributes["phase"]["schema"]["unit"] == "deg"  # lab.toml comes before the file
    assert attributes["theta"]["schema"]["unit"] == "deg"
    assert attributes["id"]["slow"]
    assert lockin["description"]["actions"]["auto_phase"]["effect"] == "absolute"


def test_halting_the_lab_sets_the_safe_state(hub: str) -> None:
    ask(hub, "PUT", "lockin/attributes/sine_voltage", {"value": 2.0})
    try:
        stopped = httpx2.post(f"{hub}/api/halt", timeout=30).json()["stopped"]
        assert {each["instrument"]: each["stopped"] for each in stopped}["lockin"]
        assert ask(hub, "GET", "lockin/attributes/sine_voltage")[1]["value"] == 0.004
    finally:
        httpx2.post(f"{hub}/api/halt/reset", timeout=30)


def test_values_are_seen_with_their_units_on_the_page(hub: str, browser: Browser) -> None:
    page = browser.new_page(base_url=hub)
    page.set_default_timeout(15_000)
    expect.set_options(timeout=15_000)
    page.goto("/")
    for instrument, value in (("lockin", "12.3 mV"), ("smu", "1 mA"), ("cryostat", "100 K")):
        card = page.get_by_role("article", name=instrument)
        expect(card.get_by_role("definition").filter(has_text=value).first).to_be_visible()


def test_one_driver_is_served_alone(command_line: CommandLine, tmp_path: Path) -> None:
    shutil.copy(SIMULATED / "sr830.yaml", tmp_path)
    settings = {"adapter": "GPIB::8::INSTR", "visa_library": f"{tmp_path}/sr830.yaml@sim"}
    settings |= {"write_termination": '"\\n"'}
    given = [f"--setting={name}={value}" for name, value in settings.items()]
    with command_line.start("serve", "pymeasure.instruments.srs:SR830", "--name", "lockin", *given) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            address = next(word.rstrip(",") for word in line.split() if word.startswith("http://"))
            assert httpx2.get(f"{address}/attributes/x", timeout=30).json()["value"] == 0.0123
        finally:
            process.kill()

"""What the PC makes for a board: a program without its source keeps names, types, units and documentation."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BOARD = Path(__file__).parents[2] / "board"

ASK = """
import {name} as program
from microfastapi import TestClient
client = TestClient(program.app)
import json
print(json.dumps([client.get("/").json(), client.get("/history.csv?last=x").status_code]))
"""


def build(program: Path, folder: Path, environment: dict[str, str]) -> None:
    """`python -m microfastapi build`."""
    command = [sys.executable, "-W", "error", "-m", "microfastapi", "build", str(program), "--to", str(folder)]
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


@pytest.mark.parametrize("interpreter", ["amd64", "i386", "i386, heap 96k, compiled"], indirect=True)
def test_a_compiled_program_knows_what_its_source_said(interpreter: Any, compiled: Path, tmp_path: Path) -> None:
    program = tmp_path / "thermo.py"
    program.write_text((BOARD / "examples/thermometer/main.py").read_text())
    flash = tmp_path / "flash"
    build(program, flash, interpreter.environment | {"PYTHONPATH": str(BOARD / "src") + ":" + _path()})
    assert sorted(path.name for path in flash.iterdir()) == ["openapi.json", "thermo.api.json", "thermo.mpy"]
    (flash / "ask.py").write_text(ASK.format(name="thermo"))

    result = interpreter.run("ask.py", cwd=flash)

    assert result.returncode == 0, result.stdout + result.stderr
    described, wrong = json.loads(result.stdout.splitlines()[-1])
    assert described["attributes"]["temperature"]["schema"] == {"type": "number", "unit": "degC"}
    assert described["attributes"]["temperature"]["description"].startswith("Of the chip")
    assert described["actions"]["mean"]["parameters"]["points"]["schema"] == {"type": "integer", "default": 10}
    assert described["actions"]["record"]["stream"]["temperature"]["unit"] == "degC"
    assert wrong == 422


def test_the_package_list_for_mip_names_every_file_of_a_board() -> None:
    listed = {target for target, _ in json.loads((BOARD / "package.json").read_text())["urls"]}
    left_out = {"desktop.py", "build.py", "bundle.py", "__main__.py", "simulated.py", "testing.py"}
    source = {path.name for path in (BOARD / "src/microfastapi").glob("*.py")} - left_out
    assert listed == {f"microfastapi/{name}" for name in source | {"docs.html.gz"}}


def test_the_core_of_a_built_library_stays_below_8_kb(compiled: Path) -> None:
    """What every board pays for, whatever its program uses."""
    assert (compiled / "microfastapi/__init__.mpy").stat().st_size <= 8000


def test_the_page_that_is_sent_is_the_page_that_is_written() -> None:
    import gzip

    folder = BOARD / "src/microfastapi"
    assert gzip.decompress((folder / "docs.html.gz").read_bytes()) == (folder / "docs.html").read_bytes()


def _path() -> str:
    import os

    return os.environ.get("PYTHONPATH", "")

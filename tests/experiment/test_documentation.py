"""The reference page of the experiment file shows what is true."""

import re
from pathlib import Path

import pytest

from labretto.experiment.check import check, columns
from labretto.experiment.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES
from labretto.experiment.load import WORDS, load
from labretto.experiment.parameters import SCHEMA_WORDS
from labretto.experiment.steps import STEP_WORDS
from labretto.instrument.describe import describe
from labretto.instrument.simulated.camera import Camera
from labretto.instrument.simulated.furnace import Furnace
from labretto.instrument.simulated.potentiostat import Potentiostat
from labretto.instrument.simulated.pump import Pump
from labretto.instrument.simulated.stage import SampleStage

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference/experiment-file.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to/experiment-that-decides.md").read_text(encoding="utf-8")
EXAMPLES, PIECES = (
    re.findall(r"^```(?:yaml|json)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) for page in (PAGE, HOW_TO)
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_can_be_read(example):
    assert load(example).steps


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_of_the_how_to_can_be_run_on_the_simulated_lab(piece):
    drivers = {"stage": SampleStage, "potentiostat": Potentiostat, "furnace": Furnace, "camera": Camera, "pump": Pump}
    lab = {name: describe(driver, name=name).description.as_dict() for name, driver in drivers.items()}

    assert check(load(piece), {}, lab) == []


def test_the_first_example_can_be_run_on_the_simulated_lab():
    drivers = {"stage": SampleStage, "potentiostat": Potentiostat}
    lab = {name: describe(driver, name=name).description.as_dict() for name, driver in drivers.items()}

    assert check(load(EXAMPLES[0]), {}, lab) == []
    assert {name: schema.get("unit") for name, schema in columns(load(EXAMPLES[0]), lab).items()} == {
        "sample": None,
        "potential": "V",
        "current": "A",
        "x": "mm",
    }


def test_each_word_of_the_format_is_on_the_page():
    words = {*WORDS, *SCHEMA_WORDS, *STEP_WORDS}

    assert [word for word in sorted(words) if not re.search(rf"`{word}\b", PAGE)] == []


def test_the_limits_on_the_page_are_those_of_the_code():
    assert (MAX_BYTES, MAX_DEPTH, MAX_VALUES) == (2**20, 64, 250_000)
    assert "1 MiB, 64 levels, 250,000 values" in PAGE

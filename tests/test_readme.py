"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import labretto
from labretto.experiment.check import check
from labretto.experiment.load import load
from labretto.instrument.describe import describe
from labretto.instrument.simulated.potentiostat import Potentiostat
from labretto.instrument.simulated.stage import SampleStage

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_driver_and_the_client_of_the_readme_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The furnace is served, read, ramped, and refuses 1500 degC in the words that the README promises."""
    driver, client, _ = blocks("python")
    (tmp_path / "furnace.py").write_text(driver)
    monkeypatch.syspath_prepend(str(tmp_path))
    with labretto.start("furnace:Furnace", name="furnace"):
        lines = client.strip().splitlines()
        *allowed, refused = lines
        names: dict[str, object] = {}
        exec("\n".join(allowed), names)
        assert str(names["furnace"].temperature.get()) == "650 degC"  # type: ignore[attr-defined]

        with pytest.raises(labretto.LimitError, match=r"furnace\.ramp: to=1500 degC is above 1200(\.0)? degC"):
            exec(refused, names)


def test_the_experiment_file_of_the_readme_can_run_in_the_simulated_laboratory() -> None:
    """It is checked against the real descriptions of stage and potentiostat."""
    (text,) = blocks("yaml")
    descriptions = {
        name: describe(driver, name=name).description.as_dict()
        for name, driver in {"stage": SampleStage, "potentiostat": Potentiostat}.items()
    }

    assert check(load(text), {}, descriptions) == []


def test_the_python_experiment_of_the_readme_is_one() -> None:
    """Up to where it is submitted, which takes a laboratory with a furnace and a camera."""
    definition = blocks("python")[2].partition("run = labretto.submit")[0]
    names: dict[str, object] = {"labretto": labretto}

    exec(definition, names)

    assert callable(names["anneal"])


def test_the_two_commands_of_the_readme_are_there() -> None:
    """Both are scripts that can be executed."""
    for command in ("scripts/demo", "scripts/test"):
        assert command in README
        assert (Path(__file__).parent.parent / command).stat().st_mode & 0o111

"""lab.toml: what it may say, and that everything wrong with it is told at once, with its line."""

from pathlib import Path
from typing import get_args

import pytest

from labretto.errors import InvalidError, NotFoundError
from labretto.instrument.invocation import Effect
from labretto.lab import Effect as EffectOfLab, Lab, alone_folder, check_name, home, load_lab

FULL = """
name = "demo"
port = 8100

[instruments.stage]
driver = "labretto.instrument.simulated.stage:SampleStage"
port = 5001
settings = { velocity = 30.0 }
path = "drivers"
hidden = ["reset"]
concurrent = ["get_position"]
effects = { move = "absolute" }
units = { "move.to" = "mm", temperature = "degC" }

[instruments.motor]
url = "http://127.0.0.1:5002"
[instruments.motor.compat]
getPos = "position"

[compat]
helao = true
"""


def written(folder: Path, text: str, name: str = "lab.toml") -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    return file


def faults_of(folder: Path, text: str) -> list[dict[str, object]]:
    with pytest.raises(InvalidError) as refused:
        load_lab(written(folder, text))
    return refused.value.faults


def test_a_full_file_is_read(tmp_path: Path) -> None:
    lab = load_lab(written(tmp_path, FULL))

    stage, motor = lab.instruments["stage"], lab.instruments["motor"]
    assert (lab.name, lab.port, lab.host, lab.compat.helao) == ("demo", 8100, "127.0.0.1", True)
    assert (stage.name, stage.port, stage.settings) == ("stage", 5001, {"velocity": 30.0})
    assert stage.hidden == {"reset"}
    assert stage.units == {"move.to": "mm", "temperature": "degC"}
    assert (motor.url, motor.driver, motor.compat) == ("http://127.0.0.1:5002", None, {"getPos": "position"})


def test_a_driver_is_looked_for_in_its_path_and_beside_the_file(tmp_path: Path) -> None:
    lab = load_lab(written(tmp_path, FULL))

    assert lab.search_path("stage") == (tmp_path / "drivers", tmp_path)
    assert lab.search_path("motor") == (tmp_path,)


def test_no_file_is_an_empty_lab(labretto_home: Path) -> None:
    lab = load_lab(None)

    assert (lab.name, lab.port, dict(lab.instruments)) == ("default", 8000, {})
    assert lab.folder == labretto_home / "default"


def test_a_lab_without_a_name_is_named_after_its_folder_or_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "my scan"
    folder.mkdir()

    assert load_lab(written(folder, "")).name == "my_scan"
    assert load_lab(written(folder, "", "furnaces.toml")).name == "furnaces"


def test_data_lives_under_one_folder_per_lab(labretto_home: Path) -> None:
    assert home() == labretto_home
    assert Lab(name="demo").host_folder("stage") == labretto_home / "demo/hosts/stage"
    assert alone_folder("stage") == labretto_home / "instruments/stage"


def test_home_is_the_users_data_folder_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABRETTO_HOME")

    assert home().name == "labretto"
    assert home().is_absolute()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere\.toml cannot be read: no such file"):
        load_lab(tmp_path / "nowhere.toml")


def test_a_folder_is_no_lab_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is a directory"):
        load_lab(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_bytes(b"name = \xff")

    with pytest.raises(InvalidError, match="not text in UTF-8"):
        load_lab(file)


def test_what_is_not_toml_is_told_with_its_place(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, 'name = "demo"\nport = = 3\n')

    assert (fault["line"], fault["column"]) == (2, 8)
    assert "not TOML: invalid value" in str(fault["detail"])


def test_the_end_of_a_file_is_a_place_too(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, 'name = "demo')

    assert fault["line"] == 1


def test_an_unknown_key_gets_the_near_word(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, '[instruments.stage]\ndriver = "a:B"\n  prot = 5001\n')

    assert fault["path"] == "instruments.stage.prot"
    assert (fault["line"], fault["column"]) == (3, 3)
    assert fault["way_out"] == "Did you mean 'port'?"


def test_an_unknown_key_without_a_near_word_gets_the_known_ones(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, "[compat]\nzzz = true\n")

    assert fault["way_out"] == "Known here: helao."


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """port = 70000
[instruments.stage]
driver = "stage.py"
effects = { move = "sometimes" }
[instruments."a b"]
driver = "a:B"
[instruments.lost]
port = 5001
[instruments.motor]
url = "127.0.0.1:5000"
settings = { speed = 1 }
"""
    faults = faults_of(tmp_path, text)

    assert [(fault["path"], fault["line"]) for fault in faults] == [
        ("port", 1),
        ("instruments.stage.driver", 3),
        ("instruments.stage.effects.move", 4),
        ("instruments.a b", 5),
        ("instruments.lost", 7),
        ("instruments.motor.url", 10),
        ("instruments.motor.settings", 11),
    ]


def test_the_error_reads_as_a_list(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as refused:
        load_lab(written(tmp_path, "[instruments.stage]\ndriver = 3\n"))

    assert "lab.toml has 1 fault; nothing was started." in str(refused.value)
    assert "line 2, column 1: instruments.stage.driver=3 does not fit" in str(refused.value)


def test_a_driver_and_a_url_exclude_each_other(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, '[instruments.stage]\ndriver = "a:B"\nurl = "tcp://127.0.0.1:1"\n')

    assert "both a driver and a url" in str(fault["detail"])


def test_two_instruments_cannot_have_one_port(tmp_path: Path) -> None:
    text = '[instruments.a]\ndriver = "a:A"\nport = 8000\n[instruments.b]\ndriver = "b:B"\nport = 8001\n'
    text += '[instruments.c]\ndriver = "c:C"\nport = 8001\n'

    details = [str(fault["detail"]) for fault in faults_of(tmp_path, text)]

    assert details == ["instruments.a.port=8000 is the port of the hub already.", *details[1:]]
    assert details[1:] == ["instruments.c.port=8001 is the port of b already."]


@pytest.mark.parametrize("text", ["instruments = 3", "instruments.stage = 3", "compat = []", "name = 3", "port = 'x'"])
def test_a_value_of_a_wrong_kind_is_a_fault_and_no_crash(tmp_path: Path, text: str) -> None:
    assert faults_of(tmp_path, text)


def test_a_file_cannot_set_what_it_does_not_own(tmp_path: Path) -> None:
    paths = [f["path"] for f in faults_of(tmp_path, 'file = "x"\n[instruments.a]\ndriver = "a:B"\nname = "c"\n')]

    assert paths == ["file", "instruments.a.name"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "-a", "é", "x" * 65, "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="cannot be the name"):
        check_name(name)


def test_the_folder_of_lone_instruments_is_no_lab(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, 'name = "instruments"')

    assert "cannot be the name of a lab" in str(fault["detail"])


def test_the_effects_of_a_lab_file_are_those_of_an_invocation() -> None:
    assert get_args(EffectOfLab) == get_args(Effect)


def test_what_is_said_about_a_driver_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    """What lab.toml says itself comes before it, key by key."""
    written(tmp_path, 'slow = ["buffer"]\nunits = { phase = "rad", theta = "deg" }\nsafe = { level = 0 }', "sr830.toml")
    text = '[instruments.lockin]\ndriver = "a:B"\noverlay = "sr830.toml"\nunits = { phase = "deg" }\nmeasurement = "x"'
    lockin = load_lab(written(tmp_path, text)).instruments["lockin"]

    assert lockin.slow == {"buffer"}
    assert lockin.units == {"phase": "deg", "theta": "deg"}
    assert (lockin.safe, lockin.measurement) == ({"level": 0}, "x")
    assert lockin.overlay == tmp_path / "sr830.toml"


@pytest.mark.parametrize(
    ("side", "words"),
    [
        (None, "cannot be read"),
        ("slow = [", "cannot be read"),
        ('sloow = ["x"]', "Did you mean 'slow'?"),
        ('driver = "c:D"', "the key driver is not known"),
        ("poll = { x = -1 }", "poll"),
    ],
)
def test_a_fault_in_that_file_is_told_at_the_line_that_names_it(tmp_path: Path, side: str | None, words: str) -> None:
    if side is not None:
        written(tmp_path, side, "side.toml")
    with pytest.raises(InvalidError) as refused:
        load_lab(written(tmp_path, '[instruments.lockin]\ndriver = "a:B"\noverlay = "side.toml"'))
    (fault,) = refused.value.faults
    assert words in fault["detail"]
    assert fault["line"] in (1, 3)


def test_limits_stand_in_the_file_or_in_one_beside_it(tmp_path: Path) -> None:
    beside = load_lab(written(tmp_path, '[instruments.oven]\ndriver = "a:B"\nlimits = "limits.yaml"\noverrun = 5'))
    within = load_lab(written(tmp_path, '[instruments.oven]\ndriver = "a:B"\n[instruments.oven.limits.x]\nmaximum = 8'))

    assert beside.instruments["oven"].limits == tmp_path / "limits.yaml"
    assert beside.instruments["oven"].overrun == 5
    assert within.instruments["oven"].limits == {"x": {"maximum": 8}}


@pytest.mark.parametrize(
    ("text", "runs"),
    [("", None), ("[compat]\nhelao = true", 1), ("[compat]\nhelao = true\n[orchestrator]\nruns = 3", 3)],
)
def test_as_many_runs_act_at_once_as_the_lab_says_and_one_where_the_old_contract_is_offered(
    tmp_path: Path, text: str, runs: int | None
) -> None:
    assert load_lab(written(tmp_path, text)).runs_at_once == runs

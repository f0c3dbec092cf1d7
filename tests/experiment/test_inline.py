"""An experiment that names other files becomes one text with all of them in it."""

import pytest

from labretto.errors import InvalidError, NotFoundError
from labretto.experiment.check import check
from labretto.experiment.inline import inline
from labretto.experiment.load import load

WASH = """\
# rinse twice
description: |
  first
   then
parameters: {volume: 5}
steps:
- do: pump.dispense
  with: {volume: "${volume}"}
"""
MAIN = """\
name: main   # a comment that stays
experiments:
  wash: wash.yaml
  again: wash.yaml
  own: {steps: [{read: i.a}]}
steps:
- experiment: wash
- experiment: again
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wash.yaml").write_text(WASH)
    return tmp_path


def test_the_text_stays_as_it_is_and_the_files_follow_it_as_they_are(folder):
    text = inline(MAIN, folder)

    assert text.startswith(MAIN)
    assert text.count("# rinse twice") == 1
    experiment = load(text)
    assert list(experiment.experiments) == ["wash", "again", "own"]
    assert experiment.experiments["wash"].steps == experiment.experiments["again"].steps
    assert experiment.instruments == ("pump", "i")


def test_a_text_that_names_no_file_is_answered_unchanged(tmp_path):
    for text in ("steps: [{read: i.a}]", MAIN.replace("wash.yaml", "{steps: [{read: i.a}]}"), "experiments: [", ""):
        assert inline(text, tmp_path) == text


def test_what_is_one_text_already_stays_as_it_is(folder):
    once = inline(MAIN, folder)

    assert inline(once, folder / "elsewhere") == once


@pytest.mark.parametrize(
    "main",
    [
        '{"experiments": {"wash": "wash.yaml"}, "steps": [{"experiment": "wash"}]}',
        "{experiments: {wash: wash.yaml}, steps: [{experiment: wash}]}",
        "---\nexperiments: {wash: wash.yaml}\nsteps: [{experiment: wash}]\n...\n",
    ],
)
def test_a_text_below_which_nothing_can_stand_becomes_json(folder, main):
    assert load(inline(main, folder)).experiments["wash"].parameters["volume"].default == 5


@pytest.mark.parametrize(
    "wash",
    [
        '{"steps": [{"do": "pump.dispense"}]}',
        "---\nsteps:\n- do: pump.dispense\n",
        "steps: &s\n- do: pump.dispense\nfinally: *s\n",
        "\ufeffsteps:\n- do: pump.dispense",
        "# only a comment first\n---\nsteps: [{do: pump.dispense}]\n",
    ],
)
def test_a_file_may_be_written_as_it_likes(tmp_path, wash):
    (tmp_path / "wash.yaml").write_text(wash, encoding="utf-8")

    assert load(inline(MAIN, tmp_path)).experiments["wash"].steps[0].action == "dispense"


def test_a_file_in_another_folder_is_found_from_the_experiment(folder):
    (folder / "parts").mkdir()
    (folder / "parts" / "dry run.yaml").write_text("steps: [{read: i.a}]")

    text = inline("experiments: {dry: parts/dry run.yaml}\nsteps: [{experiment: dry}]", folder)

    assert list(load(text).experiments) == ["dry"]


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"wash.yaml cannot be read: No such file"):
        inline(MAIN, tmp_path)


def test_a_fault_in_a_file_is_placed_in_that_file(tmp_path):
    (tmp_path / "wash.yaml").write_text("steps:\n- do: pump.dispense\n  wiht: {}\n")

    with pytest.raises(InvalidError, match=r"wash.yaml: line 3, column 3: 'wiht' is not a word"):
        inline(MAIN, tmp_path)


@pytest.mark.parametrize("head", ["", "---\n"])
def test_what_the_lab_has_against_a_file_is_placed_in_that_file(tmp_path, lab, head):
    (tmp_path / "go.yaml").write_text(head + "# first\nsteps:\n- do: stage.move\n  with: {x: 500}\n")
    main = (
        "experiments: {go: go.yaml, home: home.yaml}\nsteps:\n- experiment: go\n- experiment: home\n- do: stage.fly\n"
    )
    (tmp_path / "home.yaml").write_text("steps:\n- do: stage.hom\n")

    own, in_go, in_home = check(load(inline(main, tmp_path)), {}, lab)

    assert str(own).startswith("line 5, column 3: stage has no action")
    line = 5 if head else 4
    assert f"go.yaml, line {line}, column 10: stage.move: x=500 mm is above 100 mm" in str(in_go)
    assert "home.yaml, line 2, column 3: stage has no action 'hom'" in str(in_home)

"""Reading experiments: what is understood, and what each fault says and where."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.errors import InvalidError, NotFoundError
from labretto.experiment.load import load, load_file, load_object
from labretto.experiment.model import Call, Read, Save, Sweep, Write
from labretto.experiment.reference import Reference, Where


def faults(text: str, **more: Any) -> list[dict[str, Any]]:
    with pytest.raises(InvalidError) as refused:
        load(text, **more)
    return refused.value.faults


def fault(text: str) -> dict[str, Any]:
    found = faults(text)
    assert len(found) == 1, found
    return found[0]


def one_step(text: str) -> Any:
    return load(f"steps:\n  - {text}\n").steps[0]


def value(text: str) -> Any:
    return one_step(f"set: a.b\n    to: {text}").value


def test_the_main_job_is_read_into_steps_that_know_their_place(scan):
    experiment = load(scan)

    assert experiment.name == "scan of a sample library"
    assert experiment.instruments == ("stage", "potentiostat")
    sweep = experiment.steps[0]
    assert isinstance(sweep, Sweep)
    assert (sweep.grid, sweep.mode, sweep.where) == ({"sample": ["A1", "A2", "A3"]}, "grid", Where(5, 5))
    move, cv, x, save = sweep.steps
    assert isinstance(move, Call)
    assert move.parameters == {"sample": Reference(("sample",))}
    assert move.places["sample"] == Where(8, 16)
    assert isinstance(cv, Call)
    assert cv.name == "cv"
    assert isinstance(x, Read)
    assert (x.instrument, x.attribute) == ("stage", "x")
    assert isinstance(save, Save)
    assert save.row["potential"] == Reference(("cv", "potential"))


def test_the_parameters_make_the_schema_of_a_form(scan):
    assert load(scan).schema == {
        "type": "object",
        "properties": {"scan_rate": {"type": "number", "default": 0.1, "unit": "V/s", "minimum": 0.01, "maximum": 1.0}},
        "required": [],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("text", "schema", "required"),
    [
        ("5", {"type": "number", "default": 5}, False),
        ("true", {"type": "boolean", "default": True}, False),
        ("A1", {"type": "string", "default": "A1"}, False),
        ("[1, 2]", {"type": "array", "default": [1, 2]}, False),
        ("{type: integer, minimum: 1}", {"type": "integer", "minimum": 1}, True),
        ("", {}, True),
    ],
)
def test_a_parameter_is_a_default_or_a_schema(text, schema, required):
    parameter = load(f"parameters:\n  p: {text}\nsteps:\n- read: a.b").parameters["p"]

    assert (parameter.schema, parameter.required) == (schema, required)


def test_json_is_read_as_yaml_is_with_its_places(scan):
    from_json = load('{"steps": [\n\t{"do": "stage.move", "with": {"label": "\\ud83d\\ude00", "x": 1e1}}]}')

    call = from_json.steps[0]
    assert call == Call("stage", "move", {"label": "😀", "x": 10.0}, Where(2, 2))
    assert call.places["x"] == Where(2, 57)


def test_an_object_is_read_and_its_source_is_its_json():
    body = {"name": "one", "steps": [{"read": "stage.x"}]}

    experiment = load_object(body)

    assert json.loads(experiment.source) == body
    assert load(experiment.source).hash == experiment.hash


@pytest.mark.parametrize("body", [{"steps": [object()]}, {"steps": [float("nan")]}, {1: {2}}])
def test_an_object_that_is_not_json_is_refused(body):
    with pytest.raises(InvalidError, match="not a JSON object"):
        load_object(body)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("true", True),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-7", -7),
        ("1_000", "1_000"),
        ("~", None),
        ('"5"', "5"),
        ("!!str 5", "5"),
        ("!!float 5", 5),
    ],
)
def test_scalars_follow_yaml_1_2(text, meant):
    found = value(text)

    assert (found, type(found)) == (meant, type(meant))


def test_a_reference_is_a_whole_value_also_inside_lists():
    found = value('["${scan.points.-1}", "$${plain}", {a: "${ x }"}]')

    assert found == [Reference(("scan", "points", "-1")), "${plain}", {"a": Reference(("x",))}]


def test_grid_and_zip_may_stand_in_one_sweep():
    sweep = one_step("sweep: {a: [1, 2]}\n    zip: {b: [3, 4], c: [5, 6]}\n    steps:\n    - read: a.b")

    assert (sweep.mode, sweep.grid, sweep.zipped) == ("both", {"a": [1, 2]}, {"b": [3, 4], "c": [5, 6]})


def test_a_write_knows_where_its_value_stands():
    step = one_step("set: furnace.setpoint\n    to: 650")

    assert isinstance(step, Write)
    assert (step.value, step.place) == (650, Where(3, 9))


def test_all_faults_come_at_once_each_with_its_place():
    text = """\
name: [1]
paramters: {}
steps:
  - do: stage
  - doo: stage.move
  - do: stage.move
    with: 5
  - sweep: {x: []}
    steps: []
"""
    assert [(each["line"], each["column"]) for each in faults(text)] == [
        *((1, 7), (2, 1), (4, 9), (5, 5), (7, 11), (8, 13), (9, 12))
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("steps:\n- reed: stage.x", 2, 3, "Did you mean read?"),
        ("steps:\n- do: stage.move\n  whit: {x: 1}", 3, 3, "Did you mean with?"),
        ("steps:\n- paralel: []", 2, 3, "Did you mean parallel"),
        ("steps:\n- do: a.b\n  read: a.c", 3, 3, "one step cannot be `do` and `read`"),
        ("steps:\n- {}", 2, 3, "does nothing"),
        ("steps:\n- 5", 2, 3, "a step is a mapping"),
        ("steps:\n- do: a.b\n  do: a.c", 3, 3, "'do' is given twice; first in line 2"),
        ("steps: 5", 1, 8, "is a list of steps"),
        ("steps:", 1, 7, "is a list of steps"),
        ("name: x", 1, 1, "has no `steps`"),
        ("", 1, 1, "here is nothing"),
        ("- 1", 1, 1, "here is a list"),
        ("steps:\n- do: a.b\n  name: a.b", 3, 9, "cannot name a step"),
        ("steps:\n- do: a.b\n  name: 5", 3, 9, "a name is a text"),
        ("steps:\n- do: a.b\n  with: {x: 'at ${x}'}", 3, 13, "mixes text and a reference"),
        ("steps:\n- do: a.b\n  with: {x: '${x + 1}'}", 3, 13, "does not calculate"),
        ("steps:\n- do: a.b\n  with: {x: '${}'}", 3, 13, "is not a reference"),
        ("steps:\n- set: a.b", 2, 3, "`set` needs `to`"),
        ("steps:\n- save: {a/b: 1}", 2, 10, "cannot name a column"),
        ("steps:\n- sweep: {x: 5}\n  steps:\n  - read: a.b", 2, 11, "needs a list"),
        ("steps:\n- zip: {}\n  steps:\n  - read: a.b", 2, 3, "no variable"),
        ("steps:\n- sweep: {x: [1]}", 2, 3, "needs `steps`"),
        ("steps:\n- sweep: {x: [1]}\n  zip: {x: [1]}\n  steps: [{read: a.b}]", 3, 9, "in `sweep` and in `zip`"),
        ("steps:\n- {do: a.b, name: x}\n- {do: a.b, name: x}", 3, 3, "the name x is given already in line 2"),
        ("steps:\n- sweep: {x: [1]}\n  steps:\n  - {do: a.b, name: x}", 4, 5, "given already in line 2"),
        ("parameters: {p: {pattern: a}}\nsteps: [{read: a.b}]", 1, 18, "'pattern' is not a word of the parameter p"),
        ("parameters: {a b: 1}\nsteps: [{read: a.b}]", 1, 14, "cannot name a parameter"),
        ("parameters: 5\nsteps: [{read: a.b}]", 1, 13, "is a mapping of names"),
        ("steps:\n- set: a.b\n  to: .inf", 3, 7, "not a finite number"),
        ("steps:\n- set: a.b\n  to: 99999999999999999999", 3, 7, "64 bits"),
        ("steps: [{read: a.b}", 2, 1, "not readable"),
        ("steps:\n\t- read: a.b", 2, 1, "a tab; indent with blanks"),
        ("steps:\n- read: a.b\n  <<: {name: x}", 3, 3, "merge keys"),
        ("steps:\n- ? [a]\n  : b", 2, 5, "a key must be a text"),
        ("steps: !!python/object:os.system [a]", 1, 8, "the tag"),
        ("steps: [{read: a.b}]\n---\na: 1", 2, 1, "a second document"),
        ("steps: *missing", 1, 8, "not defined before"),
        ("steps: &a [*a]", 1, 12, "stands inside itself"),
        ("steps:\n- read: 'a\0b'", 2, 11, "no YAML may contain"),
        ("steps:\n- read: a\ud800", 2, 10, "surrogate"),
    ],
)
def test_a_fault_says_what_and_where(text, line, column, said):
    found = fault(text)

    assert (found["line"], found["column"]) == (line, column), found
    assert said in f"{found['detail']} {found['way_out']}"


def test_nesting_without_end_is_refused_in_either_language():
    for text in ("[" * 10_000 + "]" * 10_000, "- " * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000):
        assert "nested deeper than 64 levels" in fault(text)["detail"]


def test_aliases_that_stand_for_billions_of_values_are_refused():
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    assert "250000 values" in fault("\n".join(lines))["detail"]


def test_a_text_of_more_than_a_mebibyte_is_not_read():
    assert "1048576 are read" in fault("# " + "x" * 1024 * 1024)["detail"]


def test_a_list_of_many_values_is_read_in_the_order_written():
    numbers = list(range(100_000))

    assert value(json.dumps(numbers)) == numbers


def test_an_anchor_saves_writing_a_value_twice():
    experiment = load("steps:\n- do: a.b\n  with: &w {x: 1}\n- do: a.c\n  with: *w")

    assert [step.parameters for step in experiment.steps] == [{"x": 1}, {"x": 1}]


def test_the_error_names_the_file_and_the_first_fault():
    with pytest.raises(InvalidError, match=r"scan.yaml: line 1, column 8: `steps` is a list of steps"):
        load("steps: 5", file="scan.yaml")


def test_a_file_is_read_and_names_an_experiment_without_name(tmp_path):
    path = tmp_path / "anneal.yaml"
    path.write_bytes(b"\xef\xbb\xbfsteps: [{read: stage.x}]")

    experiment = load_file(path)

    assert (experiment.name, experiment.file) == ("anneal", str(path))


def test_a_file_that_is_not_utf_8_is_refused_with_the_place(tmp_path):
    path = tmp_path / "anneal.yaml"
    path.write_bytes("steps: []\nname: café".encode("latin-1"))

    with pytest.raises(InvalidError) as refused:
        load_file(path)

    assert (refused.value.faults[0]["line"], refused.value.faults[0]["column"]) == (2, 10)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_what_cannot_be_opened_is_not_found(tmp_path, name):
    with pytest.raises(NotFoundError, match="cannot be read"):
        load_file(tmp_path / name)


WORDS = st.sampled_from(
    [
        *("steps", "do", "read", "set", "to", "save", "sweep", "zip", "with", "name", "parameters", "soe", "params"),
        *(
            "a.b",
            "${x}",
            "$${x}",
            "[",
            "]",
            "{",
            "}",
            ": ",
            ", ",
            "- ",
            "\n",
            "  ",
            "&a ",
            "*a",
            "!!str ",
            '"',
            "'",
            "|",
        ),
        *("1", "1e999", "<<", "? ", "#", "---\n", "%YAML 1.2\n", "\t", "motor/move_1", "\ud800", "\0", "é"),
    ]
)


@given(st.one_of(st.text(), st.lists(WORDS).map("".join)))
def test_any_text_is_an_experiment_or_invalid(text):
    found = []
    try:
        assert load(text).steps
    except InvalidError as error:
        json.dumps(error.problem(), allow_nan=False)
        found = error.faults or [{"line": 0}]
    assert all(each["line"] >= 1 and each["column"] >= 1 for each in found)


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    LEAVES | st.text().filter(lambda text: "${" not in text),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda k: k != "<<"), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(PLAIN, st.booleans())
def test_any_json_value_comes_back_as_it_was_sent(value, ascii_only):
    text = json.dumps({"steps": [{"set": "a.b", "to": value}]}, ensure_ascii=ascii_only)

    assert load(text).steps[0].value == value


DOCUMENTS = st.recursive(LEAVES | WORDS, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner), max_leaves=20)


@given(st.dictionaries(WORDS, DOCUMENTS))
def test_any_object_is_an_experiment_or_invalid(body):
    with contextlib.suppress(InvalidError):
        load_object(body)


def test_a_hopeless_text_ends_after_two_hundred_faults():
    assert len(faults("steps:\n" + "- reed: a.b\n" * 1000)) == 200


def test_an_object_with_long_tables_still_fits():
    body = {"steps": [{"set": "a.b", "to": list(range(100_000))}]}

    assert len(load_object(body).steps[0].value) == 100_000

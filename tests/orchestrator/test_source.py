"""The source of an experiment: what it needs, and nothing else."""

import types

import pytest

from labretto.errors import InvalidError
from labretto.orchestrator.source import needed, source_of


def names_of(text: str) -> set[str]:
    module = types.ModuleType("taken")
    exec(compile(text, "taken", "exec"), module.__dict__)
    return {name for name in vars(module) if not name.startswith("__")}


def test_only_what_the_function_needs_is_sent():
    text = """
import math
import os
LIMIT = 3
OTHER = os.getcwd()
def half(x): return math.floor(x / 2)
async def scan(run, n=LIMIT): return half(n)
print("not this")
"""
    assert names_of(needed(text, "scan")) == {"math", "LIMIT", "half", "scan"}


def test_a_statement_that_shares_a_variables_name_is_not_sent():
    """The README submits into a variable called `run`; the hub must not submit again."""
    text = """
import labretto
async def anneal(run, temperatures):
    for k in temperatures: run.save(k=k, hub=k)
hub = labretto.Hub()
run = hub.submit(anneal, temperatures=[1])
for k in range(3): hub.submit(anneal)
"""
    assert names_of(needed(text, "anneal")) == {"anneal"}


def test_two_imports_from_one_package_are_both_sent():
    text = "import xml.dom\nimport xml.sax\nasync def scan(run): return xml.dom, xml.sax\n"

    assert "xml.dom" in needed(text, "scan")
    assert "xml.sax" in needed(text, "scan")


def test_imports_inside_try_and_of_everything_are_sent():
    guarded = "try:\n    import fast\nexcept ImportError:\n    fast = None\n"
    text = f"from math import *\n{guarded}async def scan(run): return fast, pi\n"

    assert {"fast", "pi", "scan"} <= names_of(needed(text, "scan"))


def test_a_value_that_is_built_up_is_sent_with_all_its_steps():
    text = "LIST = [1]\nLIST += [2]\nasync def scan(run): return LIST\n"

    assert needed(text, "scan").count("LIST") == 3


def test_types_in_annotations_are_sent_also_where_they_are_written_as_text():
    text = (
        "from typing import Annotated\nVolt = float\nAmpere = float\nasync def scan(run, v: 'Volt', a: Ampere): pass\n"
    )

    assert {"Volt", "Ampere"} <= names_of(needed(text, "scan"))


def test_decorators_and_form_feeds_do_not_cut_it_off():
    text = "def mark(f): return f\n\f\n@mark\nasync def scan(run):\n    return 1\n"

    assert "@mark\nasync def scan" in needed(text, "scan")


def test_a_closure_is_refused_with_the_way_out():
    limit = 3

    async def scan(run: object) -> int:
        return limit

    with pytest.raises(InvalidError, match="around it"):
        source_of(scan)


def test_a_notebooks_cells_are_joined_the_last_definition_counts_and_magic_is_left_out():
    module = types.ModuleType("notebook")
    module.In = [
        "",
        "%matplotlib inline\nimport math",
        "async def scan(run): return 1",
        "async def scan(run): return math.pi",
        "!ls",
        "broken(",
    ]
    import sys

    sys.modules["notebook"] = module
    try:
        exec("import math\nasync def scan(run): return math.pi", module.__dict__)
        text = source_of(module.scan)
    finally:
        del sys.modules["notebook"]

    assert text == "import math\n\nasync def scan(run): return math.pi\n"


def test_a_function_without_a_source_is_refused():
    namespace: dict[str, object] = {"__name__": "nowhere"}
    exec("async def scan(run): pass", namespace)

    with pytest.raises(InvalidError, match="cannot be found"):
        source_of(namespace["scan"])  # type: ignore[arg-type]

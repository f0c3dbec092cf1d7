"""A driver is named by text; what is wrong with the text, the module or the arguments is told first."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labretto.errors import InvalidError, LimitError, NotFoundError
from labretto.network.load import load_driver, maker

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a module into tmp_path; forgets it and the search path afterwards."""
    modules, path = set(sys.modules), list(sys.path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


DRIVER = """
from typing import Annotated
from annotated_types import Interval, Unit

class Furnace:
    def __init__(self, limit: Annotated[float, Unit("degC"), Interval(ge=0, le=1200)] = 900.0, *, address: str) -> None:
        self.limit, self.address = limit, address
    class Inner: ...

def function(): ...
"""


def test_a_class_is_found_in_the_search_path(write: Write, tmp_path: Path) -> None:
    write("furnace", DRIVER)

    assert load_driver("furnace:Furnace", [tmp_path]).__name__ == "Furnace"
    assert load_driver("furnace:Furnace.Inner", [tmp_path]).__name__ == "Inner"


@pytest.mark.parametrize("text", ["furnace", "furnace:", ":Furnace", ""])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="module:Class"):
        load_driver(text)


def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"no module 'no_such_driver'; looked in {tmp_path}"):
        load_driver("no_such_driver:Furnace", [tmp_path])


def test_the_file_of_a_module_is_not_its_name(write: Write, tmp_path: Path) -> None:
    write("lamp", "class Lamp: ...")
    with pytest.raises(NotFoundError, match=r"Write 'lamp': it is the module that is named"):
        load_driver("lamp.py:Lamp", [tmp_path])


def test_a_package_that_is_there_without_the_module_is_not_blamed(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no module 'labretto\.nothing'"):
        load_driver("labretto.nothing:Furnace", [tmp_path])


def test_what_a_driver_needs_and_is_not_installed_is_named(write: Write, tmp_path: Path) -> None:
    write("needy", "import no_such_vendor_library")

    with pytest.raises(InvalidError, match="'needy' needs 'no_such_vendor_library', which is not installed"):
        load_driver("needy:Furnace", [tmp_path])


@pytest.mark.parametrize("line", ["1 / 0", "raise RuntimeError('no dongle')", "import sys; sys.exit('no dongle')"])
def test_a_module_that_raises_is_quoted_with_its_line(write: Write, tmp_path: Path, line: str) -> None:
    write("raising", f"\n{line}\n")

    with pytest.raises(InvalidError, match=r"(division by zero|no dongle) \(.*raising\.py, line 2\)") as refused:
        load_driver("raising:Furnace", [tmp_path])
    assert "Traceback" in refused.value.fields["traceback"]


def test_a_syntax_error_says_where(write: Write, tmp_path: Path) -> None:
    write("broken", "class Furnace\n")

    with pytest.raises(InvalidError, match=r"SyntaxError: expected ':' \(broken\.py, line 1\)"):
        load_driver("broken:Furnace", [tmp_path])


def test_a_misspelled_class_gets_the_near_one(write: Write, tmp_path: Path) -> None:
    write("furnace", DRIVER)

    with pytest.raises(NotFoundError, match="Did you mean 'Furnace'"):
        load_driver("furnace:Furnance", [tmp_path])


def test_a_function_is_no_driver(write: Write, tmp_path: Path) -> None:
    write("furnace", DRIVER)

    with pytest.raises(InvalidError, match="is a function, not a class"):
        load_driver("furnace:function", [tmp_path])


@pytest.fixture
def furnace(write: Write, tmp_path: Path) -> type:
    write("furnace", DRIVER)
    return load_driver("furnace:Furnace", [tmp_path])


def test_settings_become_arguments_of_their_types(furnace: type) -> None:
    made = maker(furnace, {"limit": 800, "address": "GPIB::4"}, "furnace")()

    assert vars(made) == {"limit": 800.0, "address": "GPIB::4"}


def test_a_missing_or_unknown_setting_is_named_with_what_there_is(furnace: type) -> None:
    with pytest.raises(InvalidError, match=r"missing a required argument: 'address'.*It takes limit"):
        maker(furnace, {}, "furnace")
    with pytest.raises(InvalidError, match="unexpected keyword argument 'colour'"):
        maker(furnace, {"address": "x", "colour": 1}, "furnace")


def test_a_setting_of_a_wrong_type_or_outside_its_limits_is_refused(furnace: type) -> None:
    with pytest.raises(InvalidError, match="furnace: Furnace: address=4"):
        maker(furnace, {"address": 4}, "furnace")
    with pytest.raises(LimitError, match="limit=2000 is above 1200"):
        maker(furnace, {"address": "x", "limit": 2000}, "furnace")


def test_a_class_without_a_constructor_takes_no_settings() -> None:
    class Plain: ...

    assert isinstance(maker(Plain, {}, "plain")(), Plain)
    with pytest.raises(InvalidError, match="It takes no arguments"):
        maker(Plain, {"x": 1}, "plain")


def test_annotations_that_cannot_be_resolved_are_the_drivers_own_business() -> None:
    class Odd:
        def __init__(self, x: "NoSuchName") -> None:  # type: ignore[name-defined]  # noqa: F821
            self.x = x

    assert maker(Odd, {"x": 1}, "odd")().x == 1  # type: ignore[attr-defined]

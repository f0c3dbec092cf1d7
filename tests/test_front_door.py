"""The front door: what `import labretto` offers, and that it costs nothing until it is used."""

import inspect
import subprocess
import sys

import pytest

import labretto

INSTRUMENTS = {"connect", "open_instrument", "Reading", "Quantity"}
DRIVERS = {"start", "effect", "concurrent", "describe", "polled"}
ROOMS = {"bluesky"}
EXPERIMENTS = {"experiment", "Run", "submit", "start_lab", "Hub", "RunHandle", "Record", "open_record", "File"}
ERRORS = {
    "LabError",
    "RefusedError",
    "InvalidError",
    "LimitError",
    "NotFoundError",
    "BusyError",
    "ConflictError",
    "UnreachableError",
    "FailedError",
    "DriverError",
}
PUBLIC = ROOMS | INSTRUMENTS | DRIVERS | EXPERIMENTS | ERRORS


def loaded_by(program: str) -> set[str]:
    """The modules that a fresh interpreter has after a program."""
    command = [sys.executable, "-c", f"{program}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_public_names_are_exactly_these() -> None:
    assert set(labretto.__all__) == PUBLIC
    assert {name for name in dir(labretto) if not name.startswith("_")} >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(labretto, name)

    assert callable(thing) or name in ROOMS
    assert inspect.getdoc(thing)


@pytest.mark.parametrize("name", ["Hub", "RunHandle", "Record", "Run", "Reading", "Quantity", "LabError"])
def test_each_public_method_is_documented(name: str) -> None:
    members = inspect.getmembers(
        getattr(labretto, name), lambda member: inspect.isfunction(member) or is_property(member)
    )
    own = {key: member for key, member in members if not key.startswith("_")}

    assert [key for key, member in own.items() if not inspect.getdoc(member)] == []


def is_property(member: object) -> bool:
    return isinstance(member, property)


def test_a_name_that_is_not_offered_is_an_ordinary_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'labretto' has no attribute 'nonsense'"):
        labretto.nonsense  # noqa: B018 - that it raises is what is tested


def test_importing_it_loads_no_room_and_no_library() -> None:
    fresh, loaded = loaded_by("pass"), loaded_by("import labretto")

    ours = {name for name in loaded if name.startswith("labretto")}
    foreign = {name.partition(".")[0] for name in loaded - fresh - ours} - set(sys.stdlib_module_names)
    assert ours == {"labretto"}
    assert foreign == set()


@pytest.mark.parametrize("name", ["connect", "LabError", "Reading", "effect", "Hub", "submit", "start"])
def test_the_instrument_side_of_the_front_door_loads_no_hub(name: str) -> None:
    heavy = {"numpy", "pandas", "pyarrow", "xarray", "h5py", "labretto.hub", "labretto.web", "labretto.catalog"}

    assert heavy & loaded_by(f"from labretto import {name}") == set()

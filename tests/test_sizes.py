"""Two sizes (docs/decisions/0011): the instrument side stays small, the hub stays without torch, imports stay lazy.

Read from the declared dependencies and from what an import really loads; nothing is built or fetched.
"""

import subprocess
import sys
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HUB_ONLY = {"numpy", "pandas", "pyarrow", "xarray", "h5py", "jsonschema"}

INSTRUMENT_SIDE = [
    "labretto",
    "labretto.errors",
    "labretto.lab",
    "labretto.access",
    "labretto.instrument.describe",
    "labretto.instrument.host",
    "labretto.network.client",
    "labretto.network.http",
    "labretto.network.zmq",
    "labretto.cli",
]
"""What a machine with nothing but `pip install labretto` must be able to import."""


def distributions(name: str, *extras: str) -> set[str]:
    """Names of all distributions that installing `name[extras]` here brings, itself included."""
    found: set[tuple[str, str]] = set()
    open_ends = [(canonicalize_name(name), extra) for extra in ("", *extras)]
    while open_ends:
        name, extra = open_ends.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for requirement in map(Requirement, requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                open_ends += [(needed, needed_extra) for needed_extra in ("", *requirement.extras)]
    return {name for name, _ in found}


def run_python(program: str) -> str:
    """What the program prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_instrument_side_brings_none_of_the_hubs_libraries() -> None:
    assert distributions("labretto") & HUB_ONLY == set()


def test_the_instrument_side_is_fewer_than_forty_distributions() -> None:
    assert len(distributions("labretto")) < 40


def test_the_hub_is_fewer_than_sixty_distributions_without_torch() -> None:
    hub = distributions("labretto", "hub")

    assert hub >= HUB_ONLY
    assert "torch" not in hub
    assert len(hub) < 60


def test_importing_labretto_loads_no_heavy_library() -> None:
    heavy = {"numpy", "pandas", "pyarrow", "xarray", "h5py", "fastapi", "zmq"}

    loaded = run_python("import labretto, sys; print(*sys.modules)").split()

    assert heavy & set(loaded) == set()


@pytest.mark.parametrize("module", INSTRUMENT_SIDE)
def test_the_instrument_side_imports_where_the_hubs_libraries_are_not_installed(module: str) -> None:
    """Their absence is acted: None in sys.modules makes an import fail as if nothing were there."""
    run_python(f"import sys; sys.modules |= dict.fromkeys({sorted(HUB_ONLY)}); import {module}")

"""A rig on every wire."""

import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import http, memory, zmq
from labretto.network.client import Instrument, open_instrument

RIG = Path(__file__).parent / "rig.py"


def _loaded(path: Path) -> ModuleType:
    """The module at `path`; a folder of tests is no package, so it cannot simply be imported."""
    spec = importlib.util.spec_from_file_location("labretto_test_rig", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Rig = _loaded(RIG).Rig
SERVE: dict[str, Callable[..., Any]] = {"memory": memory.serve, "http": http.serve, "zmq": zmq.serve}


@pytest.fixture(params=list(SERVE))
def transport(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs once on each wire."""
    return str(request.param)


@pytest.fixture
def rig() -> Any:
    """The driver itself, to look behind the wire."""
    return Rig()


@pytest.fixture
async def host(rig: Any) -> AsyncIterator[Host]:
    """The host of the rig, in this process; what blocks is let go at the end."""
    async with Host(lambda: rig, describe(Rig, name="rig"), Ledger()) as host:
        yield host
        rig._released.set()


@pytest.fixture
async def address(host: Host, transport: str) -> AsyncIterator[str]:
    """Where the rig is served."""
    async with SERVE[transport](host) as address:
        yield address


@pytest.fixture
async def instrument(address: str) -> AsyncIterator[Instrument]:
    """The rig, seen from the other end of the wire."""
    async with await open_instrument(address) as instrument:
        yield instrument


@pytest.fixture
def served(transport: str) -> Callable[..., contextlib.AbstractAsyncContextManager[str]]:
    """`served(host)` serves a host on this wire."""
    return SERVE[transport]

"""What a host does from its start to its end, in this process; whole processes are in tests/system."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labretto.errors import ConflictError, DriverError, InvalidError, LeaseError, LimitError, NotFoundError
from labretto.instrument.describe import Overlay
from labretto.lab import Compat, Lab, LabInstrument, alone_folder
from labretto.network.client import open_instrument
from labretto.network.directory import find, read_host
from labretto.network.liveness import held, hold
from labretto.network.serve import Order, order_alone, order_in_lab, overlay, serving

STAGE = "labretto.instrument.simulated.stage:SampleStage"


class Lamp:
    """A lamp."""

    def __init__(self, brightness: float = 0.5) -> None:
        self._brightness = brightness
        self.closed = False

    @property
    def brightness(self) -> float:
        return self._brightness

    def close(self) -> None:
        self.closed = True


class Broken:
    """Its hardware does not answer."""

    def __init__(self) -> None:
        raise OSError("no device on /dev/ttyUSB0")


def order(**words: Any) -> Order:
    return order_alone(LabInstrument(name="lamp", driver="lamps:Lamp", **words))


async def test_an_instrument_answers_on_every_wire_it_names() -> None:
    async with serving(order(settings={"brightness": 0.25}), Lamp) as served:
        for wire in ("http", "zmq"):
            async with await open_instrument(served.file.addresses[wire]) as lamp:
                assert (await lamp.read("brightness")).value == 0.25


class Dimmer(Lamp):
    """A lamp that can be set."""

    def dim(self, to: float) -> float:
        """Set it."""
        return to


async def test_what_the_lab_allows_is_read_where_the_host_starts(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    for limits in ({"dim.to": {"maximum": 0.5}}, file):
        file.write_text("[dim.to]\nmaximum = 0.5\n")
        async with (
            serving(Order.from_json(order(limits=limits).as_json()), Dimmer) as served,
            await open_instrument(served.file.address) as lamp,
        ):
            assert lamp.description.actions["dim"].parameters["to"].schema["maximum"] == 0.5
            with pytest.raises(LimitError, match="a limit of this lab"):
                await lamp.invoke("dim", {"to": 0.75})
    file.write_text("[dimm.to]\nmaximum = 0.5\n")
    async with serving(order(limits=file), Dimmer) as served, await open_instrument(served.file.address) as lamp:
        with pytest.raises(ConflictError, match=r"there is no 'dimm.to'"):
            await lamp.invoke("dim", {"to": 0.25})


async def test_a_lease_outlives_the_host_under_which_it_was_taken() -> None:
    async with serving(order(), Dimmer) as served, await open_instrument(served.file.address) as lamp:
        number = (await lamp.take("run 7")).number
    async with serving(order(), Dimmer) as served, await open_instrument(served.file.address) as lamp:
        with pytest.raises(LeaseError, match="run 7 has lamp since"):
            await lamp.invoke("dim", {"to": 0.25})
        assert (await lamp.invoke("dim", {"to": 0.25}, lease=number)).state == "succeeded"


async def test_it_is_found_by_its_name_while_it_answers() -> None:
    async with serving(order(), Lamp) as served:
        assert find("lamp") == served.file.address
        assert read_host(alone_folder("lamp")) == served.file
    with pytest.raises(NotFoundError):
        find("lamp")


async def test_nothing_but_ledger_and_lock_is_left(labretto_home: Path) -> None:
    async with serving(order(), Lamp):
        pass

    left = {path.name for path in (labretto_home / "instruments/lamp").iterdir()}
    assert left == {"ledger.db", "lock"}
    assert not held(labretto_home / "instruments/lamp/lock")


async def test_the_port_asked_for_is_taken(free_port: int) -> None:
    async with serving(order(port=free_port), Lamp) as served:
        assert served.file.addresses["http"] == f"http://127.0.0.1:{free_port}"


async def test_a_port_in_use_is_told_before_the_driver_is_made() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConflictError, match=f"Port {port} cannot be used: address already in use"):
            async with serving(order(port=port), Broken):
                pass
    assert not held(alone_folder("lamp") / "lock")


async def test_former_ports_are_taken_again_where_they_are_free(free_ports: Callable[[int], list[int]]) -> None:
    http, zmq, events = free_ports(3)
    former = replace(order(), ports={"http": http, "zmq": zmq, "events": events})

    async with serving(former, Lamp) as served:
        assert served.file.addresses == {
            "http": f"http://127.0.0.1:{http}",
            "zmq": f"tcp://127.0.0.1:{zmq}",
            "events": f"tcp://127.0.0.1:{events}",
        }


async def test_former_ports_that_others_have_now_are_replaced(free_ports: Callable[[int], list[int]]) -> None:
    http, zmq, events = free_ports(3)
    former = replace(order(), ports={"http": http, "zmq": zmq, "events": events})

    other = replace(former, folder=former.folder.with_name("other"))

    async with (
        serving(former, Lamp),
        serving(other, Lamp) as second,
        await open_instrument(second.file.address) as lamp,
    ):
        assert (await lamp.read("brightness")).value == 0.5


async def test_two_hosts_never_own_one_ledger() -> None:
    async with serving(order(), Lamp):
        with pytest.raises(ConflictError, match=f"served already: .* held by the process {os.getpid()}.*another name"):
            async with serving(order(), Lamp):
                pass


async def test_a_constructor_that_raises_is_quoted() -> None:
    with pytest.raises(DriverError, match="lamp: the driver raised OSError: no device on /dev/ttyUSB0"):
        async with serving(order(), Broken):
            pass
    assert not held(alone_folder("lamp") / "lock")


async def test_an_instance_is_served_and_closed() -> None:
    lamp = Lamp(0.75)

    async with serving(order(), lamp) as served:
        assert (await served.host.read("brightness")).value == 0.75
        assert not lamp.closed
    assert lamp.closed


async def test_the_file_of_a_killed_host_does_not_pass_for_the_new_one() -> None:
    (alone_folder("lamp")).mkdir(parents=True)
    (alone_folder("lamp") / "host.json").write_text("{}")

    with pytest.raises(InvalidError):
        async with serving(order(settings={"colour": 1}), Lamp):
            pass
    assert not (alone_folder("lamp") / "host.json").exists()


async def test_nobody_else_gets_the_ledger_while_the_driver_is_busy() -> None:
    """A thread cannot be killed: what it does belongs to this ledger until it returns."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Busy:
        def work(self) -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    async def serve_until_begun() -> None:
        async with serving(order(), Busy) as served:
            await served.host.invoke("work", {})

    leaving = asyncio.create_task(serve_until_begun())
    await asyncio.sleep(0)
    done, _ = await asyncio.wait([leaving], timeout=0.3)
    assert not done
    with pytest.raises(ConflictError), hold(alone_folder("lamp") / "lock"):
        pass
    release.set()
    await leaving
    assert not held(alone_folder("lamp") / "lock")


def test_an_order_survives_its_way_to_the_process(tmp_path: Path) -> None:
    entry = LabInstrument(name="stage", driver=STAGE, settings={"velocity": 3.0}, hidden=frozenset({"home"}))
    lab = Lab(name="demo", instruments={"stage": entry}, compat=Compat(helao=True), file=tmp_path / "lab.toml")
    sent = order_in_lab(lab, "stage", ports={"http": 5001}, grace=2.5)

    assert Order.from_json(sent.as_json()) == sent
    assert Order.from_json(sent.as_json()).fingerprint == sent.fingerprint
    alone = order_alone(entry)
    assert Order.from_json(alone.as_json()) == alone


def test_a_change_of_settings_changes_the_fingerprint() -> None:
    assert order().fingerprint == order().fingerprint
    assert order().fingerprint != order(settings={"brightness": 1.0}).fingerprint


def test_the_side_table_of_lab_toml_reaches_the_description() -> None:
    entry = LabInstrument(
        name="stage",
        driver=STAGE,
        hidden=frozenset({"home"}),
        concurrent=frozenset({"move"}),
        effects={"move": "once"},
        units={"x": "um"},
    )

    assert overlay(entry) == Overlay(frozenset({"home"}), {"move": "once"}, {"x": "um"}, frozenset({"move"}))


def test_a_host_imports_no_library_that_only_clients_or_other_files_need() -> None:
    """Each would make its start longer by a twentieth."""
    program = "import sys; import labretto.network.serve, labretto.network.http; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert not {"httpx2", "yaml", "zmq.asyncio", "zeroconf", "numpy"} & {*done.stdout.split()}

"""The blocking face: a plain script at one end, an async host in another thread at the other."""

import inspect
import pydoc
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
import numpy as np
import pytest

from labretto.errors import DriverError, LeaseError, LimitError, UnreachableError
from labretto.instrument.host import Host
from labretto.instrument.reading import Quantity
from labretto.network.blocking import BlockingInstrument, connect_blocking


@pytest.fixture
async def face(address: str) -> AsyncIterator[BlockingInstrument]:
    """The rig, for plain code."""
    face = await anyio.to_thread.run_sync(connect_blocking, address)
    yield face
    await anyio.to_thread.run_sync(face.close)


in_thread = anyio.to_thread.run_sync


async def test_an_attribute_is_got_and_set(face: Any) -> None:
    reading = await in_thread(face.x.get)

    assert (reading.value, reading.unit) == (1.5, "mm")
    assert (await in_thread(face.x.set, 7)).value == 7.0


async def test_an_assignment_is_refused_with_what_to_write_instead(face: Any) -> None:
    with pytest.raises(AttributeError, match=r"Write x\.set\(7\)"):
        face.x = 7


async def test_an_action_is_called_and_answers_its_result_with_its_unit(face: Any) -> None:
    result = await in_thread(lambda: face.move(5.0, speed=2.0))

    assert isinstance(result, Quantity)
    assert (result, result.unit) == (5.0, "mm")


async def test_while_somebody_else_has_it_a_script_is_told_who_and_since_when(face: Any, host: Host) -> None:
    lease = host.take("run 7")

    for act in (lambda: face.move(5.0), lambda: face.x.set(5.0)):
        with pytest.raises(LeaseError, match=r"run 7 has rig since .* was refused") as refused:
            await in_thread(act)
        assert refused.value.fields["holder"] == "run 7"
    assert (await in_thread(face.x.get)).value == 1.5
    host.give_back(lease.number)
    assert await in_thread(lambda: face.move(5.0)) == 5.0


async def test_an_array_answers_with_the_units_of_its_columns(face: Any) -> None:
    table = await in_thread(face.scan, 3)

    np.testing.assert_allclose(table["current"], [0, 1e-3, 2e-3])


async def test_what_the_host_refuses_is_raised(face: Any, rig: Any) -> None:
    with pytest.raises(LimitError, match="500"):
        await in_thread(face.move, 500.0)
    assert rig._moves == []


async def test_an_action_that_failed_raises_what_happened_with_its_id(face: Any) -> None:
    with pytest.raises(DriverError, match="the shutter is stuck") as told:
        await in_thread(face.fail)

    assert told.value.fields["invocation"]


async def test_wrong_arguments_are_a_type_error_as_of_any_function(face: Any) -> None:
    with pytest.raises(TypeError, match=r"move\(to, speed=1\.0\): missing a required argument: 'to'"):
        await in_thread(lambda: face.move())
    with pytest.raises(TypeError, match="unexpected keyword"):
        await in_thread(lambda: face.move(to=1.0, too=2.0))
    with pytest.raises(TypeError, match="unexpected keyword argument 'too'"):
        await in_thread(lambda: face.move(too=2.0))


async def test_an_attribute_that_is_not_there_is_an_attribute_error(face: Any) -> None:
    with pytest.raises(AttributeError, match="temperature"):
        _ = face.temperature


async def test_stop_is_there_on_every_face(face: Any, rig: Any) -> None:
    assert (await in_thread(face.stop))["stopped"] is True
    assert rig._stopped.is_set()


async def test_dir_help_and_repr_know_the_instrument(face: Any) -> None:
    text = pydoc.plain(pydoc.render_doc(type(face)))

    assert {"x", "firmware", "move", "scan", "stop", "close"} <= set(dir(face))
    assert "Go to a place." in text
    assert "Position of the rig. (mm, 0 to 100)" in text
    assert str(inspect.signature(face.move)) == "(to, speed=1.0)"
    assert "to: mm, 0 to 100" in face.move.__doc__
    assert "actions move(to, speed=1.0)" in repr(face)
    assert "Position of the rig" in repr(face.x)


async def test_where_nobody_answers_there_is_no_face(host: Host, free_port: int) -> None:
    with pytest.raises(UnreachableError):
        await in_thread(connect_blocking, f"tcp://127.0.0.1:{free_port}")

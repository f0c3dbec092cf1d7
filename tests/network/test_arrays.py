"""Arrays on the wires: every shape and kind of number comes back as it was, whichever format carries it."""

import io
import json
import struct
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import msgspec
import numpy as np
import pyarrow as pa
import pytest
import xarray as xr
import zmq as pyzmq
from annotated_types import Unit

from labretto.errors import DriverError
from labretto.instrument import codec
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.invocation import new_id
from labretto.instrument.ledger import Ledger
from labretto.network import http, http_formats, zmq
from labretto.network.client import Instrument

OCTETS = {"accept": "application/octet-stream"}
LARGE = np.arange(4_000, dtype=np.float64).reshape(40, 100)
ARRAYS: dict[str, np.ndarray] = {
    "large": LARGE,
    "small": np.array([1.5, np.nan, -0.0]),
    "zero-length": np.zeros((0, 3)),
    "not contiguous": LARGE[::2, 1::3],
    "transposed": LARGE.T,
    "big-endian": LARGE.astype(">f8"),
    "complex": LARGE + 1j * LARGE[::-1],
    "single": LARGE.astype(np.float32),
    "half": LARGE.astype(np.float16),
    "booleans": LARGE % 3 == 0,
    "counts": LARGE.astype(np.uint16),
    "one axis of one": np.array([7], dtype=np.int8),
}


class Camera:
    """Shows what a test puts before it."""

    def __init__(self) -> None:
        self._scene: Any = LARGE

    @property
    def frame(self) -> Annotated[np.ndarray, ("y", "x"), Unit("counts")]:
        """What is seen now."""
        return self._scene  # type: ignore[no-any-return]

    @effect("read")
    def photograph(self) -> dict[str, Any]:
        """Two images and where they are of."""
        return {"image": self._scene, "dark": [np.zeros(3), np.ones(3)], "place": "left", "exposure": 0.5}

    @effect("read")
    def fail(self) -> float:
        """Does not succeed."""
        raise ValueError("no film")


@pytest.fixture
def camera() -> Camera:
    return Camera()


@pytest.fixture
async def host(camera: Camera) -> AsyncIterator[Host]:
    async with Host(lambda: camera, describe(Camera, name="camera"), Ledger()) as host:
        yield host


@pytest.fixture
async def client(host: Host) -> AsyncIterator[httpx2.AsyncClient]:
    async with http.serve(host) as url, httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


def same(one: Any, other: Any) -> bool:
    """In kind, shape and every number; bytes may lie the other way round."""
    kinds = np.dtype(one.dtype).newbyteorder("=") == np.dtype(other.dtype).newbyteorder("=")
    return bool(kinds and one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))


# Our own client -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARRAYS)
async def test_our_client_gets_an_array_as_it_was(instrument: Instrument, camera: Camera, name: str) -> None:
    camera._scene = ARRAYS[name]

    value = (await instrument.read("frame")).value
    result = (await instrument.invoke("photograph", {})).result

    assert same(value, ARRAYS[name])
    assert value.dtype == ARRAYS[name].dtype
    assert same(result["image"], ARRAYS[name])
    assert [list(each) for each in result["dark"]] == [[0.0] * 3, [1.0] * 3]


async def test_an_array_knows_its_unit_on_every_wire_and_becomes_an_xarray(
    instrument: Instrument, transport: str
) -> None:
    value = (await instrument.read("frame")).value

    if transport != "memory":
        assert (value.unit, value.dims) == ("counts", ("y", "x"))
    assert xr.DataArray(value, dims=["y", "x"]).sum("x").shape == (40,)


async def test_an_array_with_fields_is_refused_in_words(instrument: Instrument, camera: Camera) -> None:
    camera._scene = np.zeros(600, dtype=[("x", "f8"), ("y", "i4")])

    with pytest.raises(DriverError, match="cannot be sent"):
        await instrument.read("frame")
    failed = await instrument.invoke("photograph", {})
    assert failed.state == "failed"
    assert "cannot be kept" in failed.error["detail"]  # type: ignore[index]


async def test_an_array_without_axes_is_a_number(instrument: Instrument, camera: Camera) -> None:
    camera._scene = np.array(2.5)

    assert (await instrument.read("frame")).value == 2.5


async def test_what_the_driver_writes_into_its_buffer_later_is_not_seen(
    instrument: Instrument, camera: Camera, host: Host
) -> None:
    camera._scene = LARGE.copy()
    before = (await host.read("frame")).value
    seen = (await instrument.read("frame")).value
    camera._scene[:] = 0.0

    assert same(before, LARGE)
    assert same(seen, LARGE)


# HTTP -----------------------------------------------------------------------------------------------------------------


def from_octets(response: httpx2.Response) -> np.ndarray:
    """What anybody makes of the bytes and their headers."""
    shape = response.headers["labretto-shape"]
    lengths = [int(each) for each in shape.split(",")] if shape else []
    return np.frombuffer(response.content, response.headers["labretto-dtype"]).reshape(lengths)


@pytest.mark.parametrize("name", ARRAYS)
async def test_octets_and_npy_are_the_numbers_as_they_lie_in_memory(
    client: httpx2.AsyncClient, camera: Camera, name: str
) -> None:
    camera._scene = ARRAYS[name]

    octets = await client.get("/attributes/frame", headers=OCTETS)
    npy = await client.get("/attributes/frame", headers={"accept": "application/x-npy"})

    assert (octets.headers["content-type"], octets.headers["labretto-unit"]) == ("application/octet-stream", "counts")
    assert octets.headers["labretto-status"] == "ok"
    assert octets.headers.get("labretto-dims") == ("y,x" if ARRAYS[name].ndim == 2 else None)
    assert same(from_octets(octets), ARRAYS[name])
    assert same(np.load(io.BytesIO(npy.content), allow_pickle=False), ARRAYS[name])


@pytest.mark.parametrize("name", [name for name in ARRAYS if name not in ("complex", "zero-length", "booleans")])
async def test_arrow_is_a_stream_that_any_reader_of_it_opens(
    client: httpx2.AsyncClient, camera: Camera, name: str
) -> None:
    camera._scene = ARRAYS[name]

    response = await client.get("/attributes/frame", headers={"accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(response.content).read_all()
    column = table.column("value").combine_chunks()
    read = column.to_numpy_ndarray() if ARRAYS[name].ndim > 1 else column.to_numpy(zero_copy_only=False)

    assert same(read, ARRAYS[name])
    assert json.loads(table.schema.metadata[b"shape"]) == list(ARRAYS[name].shape)
    assert table.schema.metadata[b"unit"] == b"counts"


async def test_what_arrow_cannot_say_and_what_is_no_array_is_406_with_the_way_out(
    client: httpx2.AsyncClient, camera: Camera
) -> None:
    for scene, accept in (
        (LARGE * 1j, "application/vnd.apache.arrow.stream"),
        ("a text", "application/octet-stream"),
        (None, "application/x-npy"),
    ):
        camera._scene = scene
        response = await client.get("/attributes/frame", headers={"accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (406, "application/problem+json")
        assert "Accept" in response.json()["way_out"]


async def test_who_accepts_more_gets_what_can_carry_the_value(client: httpx2.AsyncClient, camera: Camera) -> None:
    camera._scene = "a text"
    accept = {"accept": "application/octet-stream, application/msgpack;q=0.2, application/json;q=0.7"}

    assert (await client.get("/attributes/frame", headers=accept)).json()["value"] == "a text"


async def test_without_pyarrow_at_the_instrument_arrow_is_not_acceptable(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "labretto.network.http_arrow", None)

    response = await client.get("/attributes/frame", headers={"accept": "application/vnd.apache.arrow.stream"})

    assert response.status_code == 406
    assert "pyarrow is not installed" in response.json()["detail"]


async def test_one_number_is_an_array_without_axes(client: httpx2.AsyncClient, camera: Camera) -> None:
    camera._scene = 2.5

    response = await client.get("/attributes/frame", headers=OCTETS)

    assert (response.headers["labretto-shape"], struct.unpack("<d", response.content)) == ("", (2.5,))


async def test_one_place_in_a_result_is_asked_for_by_its_path(client: httpx2.AsyncClient) -> None:
    where = f"/actions/photograph/{new_id()}"
    await client.put(where, json={})

    image = await client.get(f"{where}/result/image", headers=OCTETS)
    dark = await client.get(f"{where}/result/dark/1", headers=OCTETS)

    assert same(from_octets(image), LARGE)
    assert image.headers["labretto-invocation"] in where
    assert list(from_octets(dark)) == [1.0] * 3
    assert (await client.get(f"{where}/result/place")).json() == "left"
    assert (await client.get(f"{where}/result")).json()["exposure"] == 0.5
    missing = await client.get(f"{where}/result/film")
    assert missing.status_code == 404
    assert "image" in missing.json()["way_out"]


async def test_a_result_that_is_not_there_says_why(client: httpx2.AsyncClient) -> None:
    where = f"/actions/fail/{new_id()}"
    assert (await client.get(f"{where}/result")).status_code == 404
    await client.put(where, json={})

    failed = await client.get(f"{where}/result/image", headers=OCTETS)

    assert failed.status_code == 502
    assert "no film" in failed.json()["detail"]


async def test_the_frames_of_a_body_are_checked(client: httpx2.AsyncClient) -> None:
    response = await client.get("/attributes/frame", headers={"accept": http_formats.FRAMES})

    frames = http_formats.unframed(response.content)
    assert same(codec.decode_framed(frames)["value"], LARGE)
    for broken in (b"", response.content[:20], response.content[:-64], b"\xff" * 40, bytes(64)):
        with pytest.raises(Exception, match="frames"):
            http_formats.unframed(broken)


# ZMQ ------------------------------------------------------------------------------------------------------------------


async def asked(address: str, *tail: bytes) -> list[bytes]:
    """What a plain client is answered."""
    import zmq.asyncio

    with zmq.asyncio.Context() as context, context.socket(pyzmq.DEALER) as dealer:
        dealer.connect(address)
        request = msgspec.msgpack.encode({"ask": "read", "attribute": "frame"})
        await dealer.send_multipart([b"1", request, *tail])
        return list(await dealer.recv_multipart())[1:]


async def test_the_header_of_a_framed_array_says_all_that_its_bytes_do_not(host: Host) -> None:
    async with zmq.serve(host) as address:
        frames = await asked(address, b"", b"frames")

    def told(code: int, data: memoryview) -> Any:
        return code, msgspec.msgpack.decode(data)

    (reading, problem) = msgspec.msgpack.decode(frames[0], ext_hook=told)
    assert problem is None
    assert reading["value"] == (1, ["<f8", [40, 100], 1, ["y", "x"], "counts"])
    assert same(np.frombuffer(frames[1]).reshape(40, 100), LARGE)


async def test_who_does_not_ask_for_frames_gets_one(host: Host) -> None:
    async with zmq.serve(host) as address:
        frames = await asked(address)

    assert len(frames) == 1
    assert same(codec.decode(frames[0])[0]["value"], LARGE)


def test_a_frame_that_is_missing_or_too_short_is_refused() -> None:
    message, frame = codec.encode_framed({"value": LARGE})

    for frames in ([message], [message, bytes(frame)[:-1]], [message, b""], [message[:-1], frame]):
        with pytest.raises(Exception, match="not msgpack of ours"):
            codec.decode_framed(frames)


async def test_who_asks_for_image_after_image_and_takes_none_is_refused_and_costs_no_memory(
    host: Host, camera: Camera
) -> None:
    camera._scene = np.zeros(1_000_000)
    async with zmq.serve(host) as address:
        context = pyzmq.Context()
        greedy = context.socket(pyzmq.DEALER)
        greedy.setsockopt(pyzmq.RCVHWM, 1)
        greedy.setsockopt(pyzmq.RCVBUF, 4_096)
        greedy.connect(address)
        request = msgspec.msgpack.encode({"ask": "read", "attribute": "frame"})
        for number in range(100):
            greedy.send_multipart([number.to_bytes(2, "big"), request, b"", b"frames"])
        other = await asked(address, b"", b"frames")
        assert len(other) == 2
        lengths = [len(await _received(greedy)) for _ in range(100)]
        greedy.close(linger=0)
        context.term()

    assert 0 < lengths.count(3) < 100
    assert lengths.count(2) == 100 - lengths.count(3)


async def _received(socket: Any) -> list[bytes]:
    import asyncio

    return await asyncio.to_thread(socket.recv_multipart)

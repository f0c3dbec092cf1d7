"""The same small instrument in the words of others: `python peers.py KIND PORT`, in the environment of `peers.txt`.

KIND is "labthings", "hololinked" (HTTP), "hololinked-zmq" or "tango". The last two have wires that only their own
clients speak, so `python peers.py measure-KIND PORT SECONDS` measures them and prints one JSON line.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

IMAGE = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)


def labthings(port: int) -> None:
    import labthings_fastapi as lt
    import uvicorn

    class Picture(lt.blob.Blob):
        media_type: str = "application/octet-stream"

    class Bench(lt.Thing):
        _count = 0.0

        @lt.property
        def count(self) -> float:
            self._count += 1.0
            return self._count

        @lt.action
        def move(self, to: float) -> float:
            return to

        @lt.action
        def block(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

        @lt.action
        def photograph(self) -> Picture:
            return Picture.from_bytes(IMAGE.copy().tobytes())

    server = lt.ThingServer({"things": {"bench": Bench}})
    uvicorn.run(server.app, host="127.0.0.1", port=port, log_level="critical", access_log=False)


def _hololinked_bench() -> Any:
    import logging

    from hololinked.core import Thing, action
    from hololinked.core.properties import Number

    class Bench(Thing):
        count = Number(default=0.0, doc="another value at each look")
        _count = 0.0

        @count.getter
        def get_count(self) -> float:
            self._count += 1.0
            return self._count

        @action()
        def move(self, to: float) -> float:
            return to

        @action()
        def block(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

    logging.disable(logging.CRITICAL)
    return Bench(id="bench")


def tango_server(port: int) -> None:
    from tango import AttrWriteType
    from tango.server import Device, attribute, command

    class Bench(Device):
        _count = 0.0

        @attribute(dtype=float)
        def count(self) -> float:
            self._count += 1.0
            return self._count

        @attribute(dtype=((float,),), max_dim_x=1000, max_dim_y=1000, access=AttrWriteType.READ)
        def image(self) -> Any:
            return IMAGE.copy()

        @command(dtype_in=float, dtype_out=float)
        def move(self, to: float) -> float:
            return to

        @command(dtype_in=float, dtype_out=float)
        def block(self, seconds: float) -> float:
            time.sleep(seconds)
            return seconds

    endpoint = f"giop:tcp:127.0.0.1:{port}"
    Bench.run_server(["Bench", "one", "-nodb", "-ORBendPoint", endpoint, "-dlist", "labretto/bench/1"])


def _times(call: Callable[[], object], seconds: float) -> dict[str, float]:
    for _ in range(50):
        call()
    took, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    took.sort()
    return {"p50": took[len(took) // 2] * 1e6, "p99": took[int(len(took) * 0.99)] * 1e6}


def _throughput(make: Callable[[], Callable[[], object]], clients: int, seconds: float) -> float:
    calls = [make() for _ in range(clients)]
    counts, end = [0] * clients, time.perf_counter() + seconds

    def work(place: int) -> None:
        call = calls[place]
        while time.perf_counter() < end:
            call()
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(place,)) for place in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _during(block: Callable[[], object], call: Callable[[], object]) -> dict[str, float] | None:
    """Reads while another client's action blocks for two seconds; None where there are none."""
    thread = threading.Thread(target=block)
    thread.start()
    time.sleep(0.2)
    began = time.perf_counter()
    try:
        call()
    except Exception:  # noqa: BLE001 - whatever their client raises, the read did not come back
        thread.join()
        return None
    if time.perf_counter() - began > 0.5:
        thread.join()
        return {"p50": (time.perf_counter() - began) * 1e6, "p99": (time.perf_counter() - began) * 1e6}
    figures = _times(call, 1.0)
    thread.join()
    return figures


def measure_tango(port: int, seconds: float, *, long: bool) -> dict[str, Any]:
    import tango

    def client() -> Any:
        return tango.DeviceProxy(f"tango://127.0.0.1:{port}/labretto/bench/1#dbase=no")

    bench = client()
    if not long:
        return {
            "read": _times(lambda: bench.read_attribute("count").value, seconds),
            "action": _times(lambda: bench.command_inout("move", 1.0), seconds),
            "array": _times(lambda: bench.read_attribute("image").value, seconds),
        }

    def reader() -> Callable[[], object]:
        own = client()
        return lambda: own.read_attribute("count").value

    other = client()
    other.set_timeout_millis(10_000)
    return {
        "throughput": _throughput(reader, 32, seconds),
        "during": _during(lambda: other.command_inout("block", 2.0), lambda: bench.read_attribute("count").value),
    }


def measure_hololinked(port: int, seconds: float, *, long: bool) -> dict[str, Any]:
    from hololinked.client import ClientFactory

    def client() -> Any:
        return ClientFactory.zmq(server_id="bench", thing_id="bench", access_point=f"tcp://127.0.0.1:{port}")

    bench = client()
    if not long:
        return {
            "read": _times(lambda: bench.read_property("count"), seconds),
            "action": _times(lambda: bench.invoke_action("move", to=1.0), seconds),
        }
    return {"throughput": _throughput(lambda: (lambda own: lambda: own.read_property("count"))(client()), 8, seconds)}


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "labthings":
        labthings(port)
    elif kind == "hololinked":
        _hololinked_bench().run_with_http_server(port=port)
    elif kind == "hololinked-zmq":
        _hololinked_bench().run_with_zmq_server(access_points=f"tcp://127.0.0.1:{port}")
    elif kind == "tango":
        tango_server(port)
    else:
        measure = measure_tango if "tango" in kind else measure_hololinked
        print("figures " + json.dumps(measure(port, float(sys.argv[3]), long="long" in sys.argv)), flush=True)
        os._exit(0)  # threads of their client library would go on talking

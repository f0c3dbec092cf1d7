"""The baselines without an instrument in them: `python bare.py KIND PORT`, each the least that its library needs.

KIND is "fastapi", "starlette" (one route, msgspec) or "router" (a loop around a ZMQ ROUTER). They hold no ledger, check
no limit and ask no driver's thread; what they answer is a number and a time, as ours does. An image is a new one each
time, as a camera makes them.
"""

import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

IMAGE = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)


def _reading(value: float) -> dict[str, Any]:
    return {"value": value, "unit": None, "time": datetime.now(UTC).isoformat(), "status": "ok"}


def fastapi_app() -> Any:
    from fastapi import FastAPI, Response
    from pydantic import BaseModel

    app, state = FastAPI(), {"count": 0.0}

    class Parameters(BaseModel):
        to: float = 0.0
        seconds: float = 0.0

    @app.get("/attributes/count")
    async def count() -> dict[str, Any]:
        state["count"] += 1.0
        return _reading(state["count"])

    @app.get("/threaded/count")
    def threaded() -> dict[str, Any]:
        state["count"] += 1.0
        return _reading(state["count"])

    @app.put("/actions/{action}/{identity}")
    def act(action: str, identity: str, parameters: Parameters) -> dict[str, Any]:
        if action == "block":
            time.sleep(parameters.seconds)
        return {"id": identity, "state": "succeeded", "result": parameters.to}

    @app.get("/attributes/image")
    async def image() -> Response:
        return Response(IMAGE.copy().tobytes(), media_type="application/octet-stream")

    return app


def starlette_app() -> Any:
    import msgspec
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    state, encode = {"count": 0.0}, msgspec.json.Encoder().encode

    async def count(_: Any) -> Response:
        state["count"] += 1.0
        return Response(encode(_reading(state["count"])), media_type="application/json")

    return Starlette(routes=[Route("/attributes/count", count)])


def router(port: int) -> None:
    import msgspec
    import zmq

    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(f"tcp://127.0.0.1:{port}")
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    count = 0.0
    while True:
        peer, correlation, data, *_ = socket.recv_multipart()
        asked = decode(data)
        if asked.get("attribute") == "image":
            header = encode({"dtype": IMAGE.dtype.str, "shape": IMAGE.shape})
            socket.send_multipart([peer, correlation, header, IMAGE.copy()], copy=False)
        else:
            count += 1.0
            socket.send_multipart([peer, correlation, encode([_reading(count), None])])


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "router":
        router(port)
    else:
        import uvicorn

        made = fastapi_app() if kind == "fastapi" else starlette_app()
        uvicorn.run(made, host="127.0.0.1", port=port, log_level="critical", access_log=False)

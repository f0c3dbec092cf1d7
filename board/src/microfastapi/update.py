"""New files over the network: `PUT /files/{name}` behind the token, written aside and renamed, so a cut line changes
nothing.

`?restart=1` resets the board afterwards, with its hardware brought to rest first (`safe=`).
"""

import os

from .answer import HTTPException
from .files import File
from .parameters import Parameter
from .port import spawn, wait


def accept(app, folder: str) -> None:
    """Registers the routes below `/files` of `app`."""
    if not app.token:
        raise ValueError("updates need a token: MicroFastApi(token=...), else everybody may replace the program")

    async def put(name: str, request, restart: bool = False):
        place = _place(folder, name)
        count = await _receive(request, place + ".new")
        try:
            os.rename(place + ".new", place)
        except OSError:  # a FAT flash does not rename onto a file
            os.remove(place)
            os.rename(place + ".new", place)
        if restart:
            spawn(_restart(app))
        return {"name": name, "bytes": count, "restart": restart}

    def get(name: str, request):
        return File(_place(folder, name), request)

    def listing():
        return sorted(name for name in os.listdir(folder) if name[-4:] != ".new")

    def delete(name: str):
        try:
            os.remove(_place(folder, name))
        except OSError:
            raise HTTPException(404, "there is no such file")

    name = _named("name", Parameter(str, where="path"))
    request = _named("request", Parameter(where="request"))
    restart = _named("restart", Parameter(bool, False, where="query"))
    app.add("PUT", "/files/{name}", put, name, request, restart, raw=True)
    app.add("GET", "/files/{name}", get, name, request, guarded=True)
    app.add("GET", "/files", listing, guarded=True)
    app.add("DELETE", "/files/{name}", delete, name, status_code=204)


def _named(name: str, parameter: Parameter) -> Parameter:
    parameter.name = name
    return parameter


def _place(folder: str, name: str) -> str:
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise HTTPException(404, "files have plain names here")
    return folder + "/" + name


async def _receive(request, place: str) -> int:
    """Writes the body to a file as it comes; answers how many bytes."""
    count = len(request.body)
    block = bytearray(512)
    view = memoryview(block)
    with open(place, "wb") as file:
        file.write(request.body)
        while request.left > 0:
            more = await request.connection.read(view[: min(512, request.left)])
            file.write(view[:more])
            request.left -= more
            count += more
    return count


async def _restart(app) -> None:
    await wait(300)  # so that the answer has gone
    if app.safe:
        app.safe()
    import machine

    machine.reset()

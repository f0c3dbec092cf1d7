"""Files from the flash: in blocks, with a type, an ETag and, where `name.gz` lies beside and the client reads it,
compressed.
"""

import os

from .answer import HTTPException
from .parameters import Parameter
from .response import Response

_BLOCK = 512
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "ico": "image/x-icon",
    "txt": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}


def File(path: str, request=None) -> Response:  # noqa: N802  reads as what it is in a handler: `return File("log.csv")`
    """A file as an answer; with `request` also 304 and the compressed twin. 404 where there is none."""
    kind = _KINDS.get(path.rsplit(".", 1)[-1], "application/octet-stream")
    headers = {}
    if request and "gzip" in request.header("accept-encoding", ""):
        try:
            os.stat(path + ".gz")
            path += ".gz"
            headers["Content-Encoding"] = "gzip"
        except OSError:
            pass
    try:
        facts = os.stat(path)
        if facts[0] & 0x4000:
            raise OSError
        tag = '"%x-%x"' % (facts[6], int(facts[8]))
        headers["ETag"] = tag
        if request and request.header("if-none-match") == tag:
            return Response(b"", 304, headers)
        return Response(_Blocks(open(path, "rb")), 200, headers, kind, length=facts[6])
    except OSError:
        raise HTTPException(404, "there is no such file")


def serve(app, path: str, folder: str) -> None:
    """Registers the files of `folder` below `path` of `app`."""

    def file(name: str, request):
        if ".." in name.split("/") or name[:1] == "/" or "\\" in name:
            raise HTTPException(404, "there is no such file")
        return File(folder + "/" + (name or "index.html"), request)

    name = Parameter(str, where="path")
    name.name = "name"
    request = Parameter(where="request")
    request.name = "request"
    app.add("GET", path.rstrip("/") + "/{name:path}", file, name, request, hidden=True)


class _Blocks:
    """The blocks of an open file; `close` is called by who sends them, however that ends."""

    def __init__(self, file):
        self.file = file
        self.close = file.close

    def __iter__(self):
        return self

    def __next__(self) -> bytes:
        block = self.file.read(_BLOCK)
        if not block:
            raise StopIteration
        return block

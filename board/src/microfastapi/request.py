"""A request as a handler may ask for it: method, path, query, headers, body. Made only for handlers that need one.

The bytes of the head are kept as they came; a header is looked up when somebody asks for it.
"""

from .parameters import read_json
from .response import HTTPException


class Request:
    """One request; a handler that has a parameter named `request` is given it."""

    def __init__(self, connection, head: bytes, lower: bytes, line: bytes):
        self.connection = connection
        self.head = head
        self.lower = lower
        self.body = b""
        method, _, target = line.partition(b" ")
        path, _, query = target.partition(b"?")
        if path[:1] != b"/":
            raise HTTPException(400, "the target of a request is a path that begins with /")
        self.method = method
        self.raw_path = path
        self.raw_query = query
        self.parts = {}
        self._query = self._fields = None

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query(self) -> dict:
        """The query string by name; of a name that comes twice, the last value."""
        if self._query is None:
            self._query = {}
            if self.raw_query:
                for pair in self.raw_query.split(b"&"):
                    name, _, value = pair.partition(b"=")
                    self._query[unquote(name, True)] = unquote(value, True)
        return self._query

    def header(self, name: str, default=None):
        """A header's value as text, whatever the case of its name."""
        at = self.lower.find(b"\n" + name.lower().encode() + b":")
        if at < 0:
            return default
        at += len(name) + 2
        return self.head[at : self.head.find(b"\r", at)].decode().strip()

    @property
    def headers(self) -> dict:
        """All headers, names in lower case."""
        from .trouble import headers

        return headers(self.head)

    def json(self):
        """The body, read as JSON; 422 where it is none."""
        return read_json(self.body)

    def fields(self) -> dict:
        """The fields of a JSON object in the body; no body is an empty object."""
        if self._fields is None:
            fields = read_json(self.body) if self.body else {}
            if not isinstance(fields, dict):
                from .trouble import no_object

                raise no_object(fields)
            self._fields = fields
        return self._fields


def unquote(text: bytes, plus: bool = False) -> str:
    """Percent-encoded bytes as text; in a query `+` is a space. 400 where it is not UTF-8."""
    try:
        if plus and b"+" in text:
            text = text.replace(b"+", b" ")
        if b"%" in text:
            first, *rest = text.split(b"%")
            for piece in rest:
                first += bytes([int(piece[:2], 16)]) + piece[2:]
            text = first
        return text.decode()
    except ValueError:
        raise HTTPException(400, "not percent-encoded UTF-8")

"""A request as a handler may ask for it: method, path, query, headers, body. Made only for handlers that need one.

The bytes of the head are kept as they came; a header is looked up when somebody asks for it.
"""

from .answer import HTTPException
from .parameters import read_json


class Request:
    """One request; a handler that has a parameter named `request` is given it."""

    body = b""
    parts = None  # of the path, by name
    left = 0  # bytes of the body that a handler which reads it itself has not read
    coded = heads = False  # the query has a percent sign or a plus
    values = _fields = None  # of the query, by name; of the body

    def __init__(self, connection, head: bytes, lower: bytes, line: bytes):
        self.connection = connection
        self.head = head
        self.lower = lower
        at = line.find(b"?")
        if at >= 0:
            self.raw_query = line[at + 1 :]
            line = line[:at]
        else:
            self.raw_query = b""
        self.key = line  # b"GET /path"
        self.heads = line[:5] == b"HEAD "
        at = line.find(b" /")
        if at < 1 or b" " in line[:at]:
            raise HTTPException(400, "the target of a request is a path that begins with /")

    def __getattr__(self, name: str):
        """`method`, `path`, `query`, `headers`, `json`: see `asked`."""
        from .asked import Asked

        return getattr(Asked(self), name)

    def value(self, name: bytes):
        """The last value of a name in the query string, as text; `...` where there is none.

        Names are compared as bytes: making a text costs this interpreter more than all the rest.
        """
        values = self.values
        if values is None:
            values = self.values = {}
            text = self.raw_query
            if text:
                self.coded = b"%" in text or b"+" in text
                for pair in text.split(b"&"):
                    word, _, value = pair.partition(b"=")
                    values[unquote(word, True).encode() if self.coded else word] = value
        value = values.get(name)
        if value is None:
            return ...
        if self.coded:
            return unquote(value, True)
        try:
            return value.decode()
        except ValueError:
            return unquote(value)  # which says what is wrong with it

    def header(self, name: str, default=None):
        """A header's value as text, whatever the case of its name."""
        at = self.lower.find(b"\n" + name.lower().encode() + b":")
        if at < 0:
            return default
        at += len(name) + 2
        return self.head[at : self.head.find(b"\r", at)].decode().strip()

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

"""What a handler may ask a request for beyond header, value and body; loaded when it does (`Request.__getattr__`)."""

from .parameters import read_json
from .request import unquote


class Asked:
    """The rest of `Request`."""

    def __init__(self, request):
        self.request = request

    @property
    def method(self) -> bytes:
        return self.request.key.split(b" ", 1)[0]

    @property
    def raw_path(self) -> bytes:
        return self.request.key.split(b" ", 1)[1]

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def query(self) -> dict:
        """The query string by name; of a name that comes twice, the last value."""
        request = self.request
        request.value(b"")
        return {unquote(word): request.value(word) for word in request.values if word}

    @property
    def headers(self) -> dict:
        """All headers, names in lower case."""
        answer = {}
        for line in self.request.head.decode().split("\r\n")[1:]:
            name, colon, value = line.partition(":")
            if colon:
                answer[name.lower()] = value.strip()
        return answer

    def json(self):
        """The body, read as JSON; 422 where it is none."""
        return read_json(self.request.body)

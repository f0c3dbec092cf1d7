"""What every answer is made with: results as JSON, and `HTTPException` for a refusal.

Answers that say more than JSON with status 200 are made and sent by `response`; the words of a refusal are `trouble`.
"""

import json

from .port import NOT_FINITE

_NAN, _INF = NOT_FINITE


class HTTPException(Exception):  # noqa: N818  FastAPI's spelling
    """A refusal, to be raised by a handler; answered as problem details (RFC 9457), which FastAPI's clients read
    too.
    """

    def __init__(self, status_code: int, detail="", headers: "dict | None" = None, **fields):
        super().__init__(detail)
        self.status = status_code
        self.detail = detail
        self.headers = headers
        self.fields = fields


def encode(value) -> bytes:
    """JSON, as UTF-8. What JSON has no word for (NaN, infinity) becomes null; arrays become lists, bytes base64."""
    if type(value) is bytes:
        return value
    try:
        text = json.dumps(value)
        # MicroPython writes `nan`, `<object>` and `array(...)` without complaint; a text like that is looked at.
        if not (_NAN in text or _INF in text or "<" in text or "(" in text):
            return text.encode()
    except TypeError:
        pass
    from .plain import plain

    return json.dumps(plain(value)).encode()

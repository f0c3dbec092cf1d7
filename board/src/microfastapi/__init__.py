"""MicroFastApi: a web framework for MicroPython in FastAPI's spelling; a board is an instrument of the laboratory.

The front door. A name is loaded when it is first asked for, so a board keeps in memory only what its program uses.
"""

__version__ = "0.1.0"

_HOMES = {
    "MicroFastApi": "app",
    "Response": "response",
    "HTTPException": "answer",
    "Request": "request",
    "Parameter": "parameters",
    "Query": "limits",
    "Path": "limits",
    "Body": "limits",
    "Quantity": "limits",
    "effect": "describe",
    "Rows": "describe",
    "File": "files",
    "Events": "stream",
    "Wifi": "wifi",
    "TestClient": "testing",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(name)
    module = __import__("microfastapi." + _HOMES[name], None, None, [name])
    value = globals()[name] = getattr(module, name)
    return value

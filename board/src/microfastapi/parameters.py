"""Parameters of a handler: what each is called, where it comes from, its type and limits; and the 422 when it does not fit.

How a handler's parameters are learnt is decided in `signature`. All faults of a request are told at once, in FastAPI's shape.
"""

import json

from .response import HTTPException


class Parameter:
    """One parameter of a handler or of an action; also the value of an attribute and the result of an action.

    Args:
        kind: int, float, str, bool, dict, list or bytes; or, as in FastAPI, the default value, whose type it then has.
        default: left out = the parameter must be given.
        ge, gt, le, lt: limits of a number.
        unit: as in UCUM or as the laboratory writes it, for people and for the hub.
        choices: the values allowed.
    """

    def __init__(
        self,
        kind=None,
        default=...,
        *,
        ge=None,
        gt=None,
        le=None,
        lt=None,
        unit=None,
        choices=None,
        description=None,
        where=None,
    ):
        if kind is not None and kind is not ... and not isinstance(kind, type):
            kind, default = None, kind
        self.kind = kind if kind is not ... else None
        self.default = default
        self.limits = (ge, gt, le, lt)
        self.unit = unit
        self.choices = choices
        self.description = description
        self.where = where
        self.name = ""

    def settle(self) -> None:
        """Takes the type from the default where none was written: text where there is none either."""
        if self.kind is None:
            self.kind = str if self.default is ... or self.default is None else type(self.default)

    def take(self, text: str):
        """The value a text from a path or a query stands for; ValueError where it is none."""
        kind = self.kind
        if kind is int:
            if "_" in text:
                raise ValueError
            return int(text)
        if kind is float:
            value = float(text)
            if value - value != 0:
                raise ValueError  # neither nan nor infinity is a quantity
            return value
        if kind is bool:
            text = text.lower()
            if text in ("1", "true", "yes", "on"):
                return True
            if text in ("0", "false", "no", "off"):
                return False
            raise ValueError
        return text

    def accept(self, value):
        """A value that came as JSON, as the type wanted; ValueError where it does not fit."""
        kind = self.kind
        if kind is None or type(value) is kind or (value is None and self.default is None):
            return value
        if isinstance(value, str) and kind in (int, float, bool):
            return self.take(value)
        if kind is float and type(value) is int:
            return float(value)
        if kind is int and isinstance(value, float) and value == int(value):
            return int(value)
        raise ValueError

    def fault(self, value) -> "tuple[str, str] | None":
        """Type and message of the limit that `value` is beyond, or None."""
        if value is None:
            return None
        if self.choices and value not in self.choices:
            return "literal_error", "Input should be " + " or ".join([repr(choice) for choice in self.choices])
        ge, gt, le, lt = self.limits
        if ge is not None and value < ge:
            return "greater_than_equal", "Input should be greater than or equal to %s" % ge
        if gt is not None and value <= gt:
            return "greater_than", "Input should be greater than %s" % gt
        if le is not None and value > le:
            return "less_than_equal", "Input should be less than or equal to %s" % le
        if lt is not None and value >= lt:
            return "less_than", "Input should be less than %s" % lt
        return None

    def misfit(self) -> "tuple[str, str]":
        kind = self.kind
        if kind is dict or kind is list:
            return ("dict_type", "Input should be an object") if kind is dict else ("list_type", "Input should be a list")
        word = {int: "integer", float: "number", bool: "boolean", str: "string"}.get(kind, "value")
        return word[:3] + "_parsing" if kind is int else word + "_parsing", "Input should be a valid " + word


def Query(kind=..., default=..., **facts):  # noqa: N802  FastAPI's spelling
    """A parameter of the query string."""
    return Parameter(kind, default, where="query", **facts)


def Path(kind=..., default=..., **facts):  # noqa: N802
    """A parameter of the path."""
    return Parameter(kind, default, where="path", **facts)


def Body(kind=..., default=..., **facts):  # noqa: N802
    """A field of the JSON body; of kind dict, list or bytes: the whole body."""
    return Parameter(kind, default, where="body", **facts)


def Quantity(unit: str, kind=float, **facts):  # noqa: N802  written as a type: `volume: Quantity("mL", ge=0, le=10)`
    """A number with a unit."""
    return Parameter(kind, unit=unit, **facts)


def gather(parameters: list, request) -> dict:
    """The values for a handler by name.

    Raises:
        HTTPException: 422 with every fault.
    """
    values = {}
    faults = None
    for parameter in parameters:
        where = parameter.where
        name = parameter.name
        if where == "request":
            values[name] = request
            continue
        if where == "content":
            value = request.body if parameter.kind is bytes else request.json()
        else:
            value = (request.parts if where == "path" else request.query if where == "query" else request.fields()).get(name)
        if value is None and (where != "body" or name not in request.fields()):
            if parameter.default is not ...:
                values[name] = parameter.default
                continue
            fault = ("missing", "Field required")
        else:
            try:
                value = values[name] = parameter.take(value) if where in ("path", "query") else parameter.accept(value)
                fault = parameter.fault(value)
            except (ValueError, OverflowError):
                fault = parameter.misfit()
        if fault:
            faults = faults or []
            faults.append({"type": fault[0], "loc": _place(where, name), "msg": fault[1], "input": value})
    if faults:
        raise HTTPException(422, faults)
    return values


def _place(where: str, name: str) -> list:
    return ["body"] if where == "content" else [where, name]


def read_json(body: bytes):
    """The value a JSON text stands for; 422 where it is none.

    MicroPython 1.25 reads a text that was cut off as if it were whole, so brackets are counted before it is believed.
    """
    try:
        if body.count(b"{") != body.count(b"}") or body.count(b"[") != body.count(b"]") or b":}" in body:
            _check_brackets(body)
        return json.loads(body)
    except ValueError:  # a UnicodeError is one too
        raise HTTPException(422, [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error", "input": {}}])


def _check_brackets(body: bytes) -> None:
    """ValueError unless every bracket outside a text is closed and every key has its value."""
    opened = []
    quoted = escaped = False
    before = 0
    for byte in body:
        if quoted:
            if escaped:
                escaped = False
            elif byte == 92:
                escaped = True
            elif byte == 34:
                quoted = False
        elif byte == 34:
            quoted = True
        elif byte in b"{[":
            opened.append(byte + 2)
        elif byte in b"}]" and (not opened or opened.pop() != byte or before == 58):
            raise ValueError
        if byte > 32:
            before = byte
    if opened or quoted:
        raise ValueError

"""Parameters of a handler: what each is called, where it comes from, its type and limits; and the 422 when it does
not fit.

How a handler's parameters are learnt is decided in `signature`. All faults of a request are told at once, in
FastAPI's shape.
"""

import json


class Parameter:
    """One parameter of a handler or of an action; also the value of an attribute and the result of an action.

    Args:
        kind: int, float, str, bool, dict, list or bytes; or, as in FastAPI, the default value, whose type it then has.
        default: left out = the parameter must be given.
        ge, gt, le, lt: limits of a number.
        unit: as in UCUM or as the laboratory writes it, for people and for the hub.
        choices: the values allowed.
    """

    limits = (None, None, None, None)  # here once, not in each of them: a board's memory
    unit = choices = description = where = None
    name = ""
    key = b""  # the name, as it stands in a query
    plain = False  # no limits and no choices

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
        limits = (ge, gt, le, lt)
        if limits != self.limits:
            self.limits = limits
        if unit:
            self.unit = unit
        if choices:
            self.choices = choices
        if description:
            self.description = description
        if where:
            self.where = where

    def settle(self) -> None:
        """Takes the type from the default where none was written: text where there is none either."""
        if self.kind is None:
            self.kind = str if self.default is ... or self.default is None else type(self.default)
        self.key = self.name.encode()
        self.plain = self.limits == (None, None, None, None) and not self.choices

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

    def allows(self, value) -> bool:
        """Whether a value of the right type is within the limits and among the choices."""
        if value is None:
            return True
        ge, gt, le, lt = self.limits
        return not (
            (ge is not None and value < ge)
            or (gt is not None and value <= gt)
            or (le is not None and value > le)
            or (lt is not None and value >= lt)
            or (self.choices and value not in self.choices)
        )


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
    misfits = None
    for parameter in parameters:
        where = parameter.where
        name = parameter.name
        if where == "query":
            value = request.value(parameter.key)
        elif where == "path":
            value = request.parts.get(name, ...)
        elif where == "request":
            values[name] = request
            continue
        elif where == "content":
            value = request.body if parameter.kind is bytes else request.json() if request.body else ...
        else:
            value = request.fields().get(name, ...)
        if value is ...:
            values[name] = parameter.default
            fits = parameter.default is not ...
        else:
            try:
                if where != "query" and where != "path":
                    found = parameter.accept(value)
                else:
                    found = value if parameter.kind is str else parameter.take(value)
                values[name] = found
                fits = parameter.plain or parameter.allows(found)
            except (ValueError, OverflowError):
                fits = False
        if not fits:
            misfits = misfits or []
            misfits.append((parameter, value))
    if misfits:
        from .trouble import faults

        raise faults(misfits)
    return values


def read_json(body: bytes):
    """The value a JSON text stands for; 422 where it is none.

    MicroPython 1.25 reads a text that was cut off as if it were whole, so brackets are counted before it is believed.
    """
    try:
        if body.count(b"{") != body.count(b"}") or body.count(b"[") != body.count(b"]") or b":}" in body:
            from .trouble import check_brackets

            check_brackets(body)
        return json.loads(body)
    except ValueError:  # a UnicodeError is one too
        from .trouble import no_json

        raise no_json()

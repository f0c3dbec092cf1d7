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
            kind = parameter.kind
            try:
                if type(value) is not kind:  # a text is one already
                    if kind is int and where != "body" and value.isdigit():
                        value = int(value)
                    else:
                        from .limits import accept, take

                        value = (take if where in ("path", "query") else accept)(parameter, value)
                values[name] = value
                fits = parameter.plain
                if not fits:
                    from .limits import allows

                    fits = allows(parameter, value)
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

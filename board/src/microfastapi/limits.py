"""Parameters that say more than a type: FastAPI's spellings, units, limits and choices."""

from .parameters import Parameter


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


def allows(parameter, value) -> bool:
    """Whether a value of the right type is within the limits and among the choices."""
    if value is None:
        return True
    ge, gt, le, lt = parameter.limits
    return not (
        (ge is not None and value < ge)
        or (gt is not None and value <= gt)
        or (le is not None and value > le)
        or (lt is not None and value >= lt)
        or (parameter.choices and value not in parameter.choices)
    )


def take(parameter, text: str):
    """The value a text from a path or a query stands for; ValueError where it is none."""
    kind = parameter.kind
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


def accept(parameter, value):
    """A value that came as JSON, as the type wanted; ValueError where it does not fit."""
    kind = parameter.kind
    if kind is None or type(value) is kind or (value is None and parameter.default is None):
        return value
    if isinstance(value, str) and kind in (int, float, bool):
        return take(parameter, value)
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and isinstance(value, float) and value == int(value):
        return int(value)
    raise ValueError

"""What a driver (an object of any class) offers: its attributes and actions, as data, and in the hub's words.

Public properties are attributes, public methods are actions; `stop` and `close` are the host's own. Units and limits
stand in
the types: `volume: Quantity("mL", ge=0, le=10)`. How names and types are learnt is decided in `signature`.
"""

from .parameters import Parameter

_TYPES = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    dict: "object",
    list: "array",
    bytes: "string",
}
_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_EFFECTS = ("read", "absolute", "checkable", "once")
_effects = {}  # function -> effect, because functions have no attributes here


def effect(kind: str):
    """Decorator: what repeating an action would do; undeclared means "once"."""
    if kind not in _EFFECTS:
        raise ValueError("effect(%r) is not known; use one of %s" % (kind, ", ".join(_EFFECTS)))

    def mark(function):
        _effects[function] = kind
        return function

    return mark


class Rows:
    """What a generator yields while it measures, written as its result: `-> Rows(temperature=Quantity("degC"))`."""

    def __init__(self, **columns):
        self.rows = columns


class Action:
    """One thing a driver does."""

    def __init__(self, name: str, known, effect: str):
        self.name = name
        self.parameters = known.parameters
        self.result = known.result
        self.doc = known.doc
        self.nature = known.nature
        self.effect = effect

    @property
    def rows(self) -> "dict | None":
        return getattr(self.result, "rows", None)

    def described(self) -> dict:
        rows = self.rows
        stream = {name: schema(rows[name]) for name in rows} if rows else None
        return {
            "description": self.doc,
            "effect": self.effect,
            "exclusive": True,
            "parameters": {p.name: {"schema": schema(p), "required": p.default is ...} for p in self.parameters},
            "result": {"type": "object", "properties": stream} if rows else schema(self.result),
            "stream": stream,
        }


class Attribute:
    """One named value of a driver."""

    def __init__(self, name: str, known, writable: bool):
        self.name = name
        self.value = known.result if known and known.result else Parameter()
        self.doc = known.doc if known else ""
        self.writable = writable

    def described(self) -> dict:
        return {"description": self.doc, "schema": schema(self.value), "writable": self.writable}


def schema(parameter) -> dict:
    """JSON Schema of a parameter, with its unit."""
    answer = {}
    if parameter is None:
        return answer
    if parameter.kind in _TYPES:
        answer["type"] = _TYPES[parameter.kind]
    for word, limit in zip(_BOUNDS, parameter.limits):
        if limit is not None:
            answer[word] = limit
    for word in ("unit", "description"):
        if getattr(parameter, word):
            answer[word] = getattr(parameter, word)
    if parameter.choices:
        answer["enum"] = list(parameter.choices)
    if parameter.default is not ...:
        answer["default"] = parameter.default
    return answer


def offers(driver) -> "tuple[dict, dict]":
    """The attributes and the actions of a driver by name."""
    from .signature import settle, signature

    attributes = {}
    actions = {}
    for owner, name, member in _members(type(driver)):
        if name[0] == "_" or name in attributes or name in actions or name in ("stop", "close"):
            continue
        if isinstance(member, property):
            known = signature(getattr(member, "fget", None), owner=owner, name=name)
            attributes[name] = Attribute(name, known, _settable(member))
        elif callable(member):
            known = signature(member, owner=owner, name=name)
            for parameter in known.parameters:
                settle(parameter)
            kind = _effects.get(member) or getattr(member, "__labretto_effect__", "once")
            actions[name] = Action(name, known, kind)
    return attributes, actions


def _members(cls):
    """(class, name, member) of a class and those it is made of, nearest first."""
    if cls is object:
        return
    for name in cls.__dict__:
        yield cls, name, cls.__dict__[name]
    for base in cls.__bases__:
        yield from _members(base)


def _settable(member) -> bool:
    """Whether a property has a setter; MicroPython tells only in the object's third word."""
    if hasattr(property, "fset"):
        return member.fset is not None
    try:
        import sys

        import uctypes

        from .signature import address

        width = 8 if sys.maxsize > 1 << 32 else 4
        nothing = uctypes.bytes_at(address(member) + 3 * width, width)  # no property here has a deleter
        return uctypes.bytes_at(address(member) + 2 * width, width) != nothing
    except ImportError:
        return True

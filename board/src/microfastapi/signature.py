"""How a function's parameters are learnt on an interpreter that has forgotten them. Needed once, at start, then
dropped.

MicroPython keeps no annotations. In this order: `inspect` (CPython); what the decorator says; a table that
`python -m microfastapi build` wrote beside the .mpy; the `def` lines of the source on the flash; the function object
itself,
which knows names and defaults. A type nobody could tell is taken from the default, else it is text.
"""

import json
import sys

from .parameters import Parameter
from .port import MICROPYTHON

_KINDS = {"int": int, "float": float, "str": str, "bool": bool, "dict": dict, "list": list, "bytes": bytes}


class Signature:
    """What is known of a function: its parameters in order, what it returns, its first line of documentation, its
    nature.
    """

    def __init__(self, parameters: list, result=None, doc: str = "", nature: str = "plain"):
        self.parameters = parameters
        self.result = result
        self.doc = doc
        self.nature = nature  # "plain", "async" or "generator"
        self.name = ""


def prepare(app) -> None:
    """Learns the parameters of all handlers and fills the tables of an application."""
    if app.docs:
        app.add("GET", "/openapi.json", lambda: _document(app), hidden=True)
        app.add("GET", "/docs", _page, hidden=True)
    for preparation in app.preparations:
        preparation()
    for route in app.all:
        if route.parameters is None:
            learn(route)
        for parameter in route.parameters:
            settle(parameter)
        guarded = app.guard_reads or route.guarded or route.method != b"GET"
        route.guarded = bool(app.token and guarded)
        route.needs = bool(route.parameters or route.raw or route.status_code != 200 or route.guarded)
        if "{" in route.path:
            fixed, _, rest = route.path.partition("{")
            words = [_segment(part) for part in ("{" + rest).split("/")]
            name = words[0] if len(words) == 1 and words[0][0] != "*" else None
            app.patterns.append((route.method + b" " + fixed.encode(), name, words, route))
        else:
            app.table.setdefault(route.method + b" " + route.path.encode(), route)


def _document(app):
    from .openapi import document

    return document(app)


def _page():
    from .openapi import page

    return page()


def settle(parameter) -> None:
    """Takes the type from the default where none was written: text where there is none either."""
    if parameter.kind is None:
        parameter.kind = str if parameter.default is ... or parameter.default is None else type(parameter.default)
    parameter.key = parameter.name.encode()
    parameter.plain = parameter.limits == (None, None, None, None) and not parameter.choices


def _segment(part: str):
    """A word of a path as bytes, or the name of the parameter that stands there; `*name` takes all the rest."""
    if part[:1] != "{":
        return part.encode()
    return "*" + part[1:-6] if part.endswith(":path}") else part[1:-1]


def learn(route) -> None:
    """Fills in the parameters of a route."""
    path, typed = _split_path(route.path)
    known = signature(route.handler, route.written)
    if known is None:
        if not route.spec:
            raise ValueError(
                "the parameters of %s cannot be read on this board; write them in the decorator: "
                "@app.%s(%r, name=int, other=Query(float, 1.0))"
                % (_name(route.handler), route.method.decode().lower(), path)
            )
        known = Signature([_named(name, Parameter()) for name in route.spec])
    route.path = path
    route.summary = known.doc
    for parameter in known.parameters:
        said = route.spec.get(parameter.name, typed.get(parameter.name))
        if said is not None:
            _override(parameter, said)
        _place(parameter, route)
    route.parameters = known.parameters
    missing = [name for name in typed if name not in [parameter.name for parameter in known.parameters]]
    if missing:
        raise ValueError("%s has no parameter %s, which its path %s names" % (_name(route.handler), missing[0], path))


def signature(function, path: str = "", owner=None, name: str = "") -> "Signature | None":
    """What can be known of `function`; `path` (of its decorator) or `owner` (its class) tell it from others of its
    name.
    """
    if not MICROPYTHON:
        from .desktop import inspect_signature

        return inspect_signature(function)
    own = _from_object(function)
    name = name or _name(function)
    key = owner.__name__ + "." + name if owner else name
    for module in [__import__("__main__")] + list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or "microfastapi/" in file or "asyncio" in file:
            continue
        entry = _table(file).get(key)
        known = _from_entry(entry) if entry else _from_source(file, name, path, owner, module)
        if known and (own is None or len(own.parameters) == len(known.parameters)):
            return known
    return own


def _split_path(path: str) -> "tuple[str, dict]":
    """`/items/{item_id:int}` as (`/items/{item_id}`, {"item_id": int})."""
    typed = {}
    pieces = []
    for piece in path.split("/"):
        if piece[:1] == "{":
            name, _, kind = piece[1:-1].partition(":")
            typed[name] = None if kind in ("", "path") else _KINDS[kind]
            if kind != "path":
                piece = "{" + name + "}"
        pieces.append(piece)
    return "/".join(pieces), typed


def _override(parameter: Parameter, said) -> None:
    """What a decorator or a path says wins over what was read."""
    if isinstance(said, Parameter):
        for fact in ("kind", "limits", "unit", "choices", "description", "where"):
            setattr(parameter, fact, getattr(said, fact))
        if said.default is not ...:
            parameter.default = said.default
    elif isinstance(said, type):
        parameter.kind = said
    else:
        parameter.default = said


def _place(parameter: Parameter, route) -> None:
    """Where the value comes from: the path if that has its name; an object or list is the body; else the query."""
    settle(parameter)
    if parameter.name == "request":
        parameter.where = "request"
    elif "{" + parameter.name + "}" in route.path or "{" + parameter.name + ":" in route.path:
        parameter.where = "path"
    elif parameter.where is None:
        parameter.where = "content" if parameter.kind in (dict, list, bytes) else "query"
    elif parameter.where == "body" and parameter.kind in (dict, list, bytes):
        parameter.where = "content"


def _name(function) -> str:
    return getattr(function, "__name__", "") or _from_object(function).name


def _named(name: str, parameter: Parameter) -> Parameter:
    parameter.name = name
    return parameter


# The table written on the PC


def _table(file: str) -> dict:
    try:
        with open(file.rsplit(".", 1)[0] + ".api.json") as table:
            return json.load(table)
    except (OSError, ValueError):
        return {}


def _from_entry(entry: dict) -> Signature:
    result = entry.get("result")
    parameters = [_parameter(facts) for facts in entry["parameters"]]
    return Signature(parameters, result and _parameter(result), entry.get("doc", ""), entry.get("nature", "plain"))


def _parameter(facts: dict) -> Parameter:
    """A parameter from its entry in the table; the opposite is `build.entry`."""
    if "rows" in facts:
        from .describe import Rows

        return Rows(**{name: _parameter(fact) for name, fact in facts["rows"].items()})
    name = facts.pop("name", "")
    kind = facts.pop("kind", None)
    return _named(name, Parameter(kind and _KINDS.get(kind), facts.pop("default", ...), **facts))


# The def lines of the source


def _from_source(file: str, name: str, path: str, owner, module) -> "Signature | None":
    if file.endswith(".mpy"):
        return None
    try:
        for wanted in (path, "") if path else ("",):  # a function may have been registered without a decorator
            with open(file) as lines:
                known = _search(lines, name, wanted, owner.__name__ if owner else None, module)
            if known:
                return known
    except OSError:
        pass
    return None


def _search(lines, name: str, path: str, owner: "str | None", module) -> "Signature | None":
    """The first `def` of this name in the class `owner`, or below a decorator that names `path`."""
    inside = None
    decorators = ""
    for line in lines:
        text = line.strip()
        if not text or text[0] == "#":
            continue
        if line[0] not in " \t)@":
            inside = text[6:].split(":")[0].split("(")[0].strip() if text[:6] == "class " else None
        if text[0] == "@":
            decorators += text
            continue
        word = text[6:] if text[:6] == "async " else text
        if word.startswith("def " + name + "(") and inside == owner and path in decorators:
            return _read_def(word, text[0] == "a", len(line) - len(line.lstrip()), lines, module)
        if decorators[-1:] not in "(,":  # else a decorator that goes over several lines
            decorators = ""
        elif decorators:
            decorators += text
    return None


def _read_def(head: str, is_async: bool, indent: int, lines, module) -> Signature:
    """Reads a `def` to its end and on into its body, as far as the documentation and a `yield`."""
    opening = head.index("(")
    closing = _closing(head, opening)
    while closing < 0:
        head = head.split(" #")[0] + " " + next(lines).strip()
        closing = _closing(head, opening)
    result = head[closing + 1 :].split("#")[0].strip()
    result = _worth(result[2:].rstrip(":").strip(), module) if result[:2] == "->" else None
    doc, nature = _read_body(lines, indent)
    parameters = [_argument(text, module) for text in _pieces(head[opening + 1 : closing], ",")]
    parameters = [parameter for parameter in parameters if parameter.name not in ("self", "*", "/", "")]
    if isinstance(result, type):
        result = Parameter(result)
    return Signature(parameters, result, doc, "async" if is_async else nature)


def _read_body(lines, indent: int) -> "tuple[str, str]":
    doc = None
    nature = "plain"
    for line in lines:
        text = line.strip()
        if not text:
            continue
        if len(line) - len(line.lstrip()) <= indent:
            break
        if doc is None:
            doc = text.strip('"').strip() if text[:3] == '"""' else ""
        if "yield" in text.split("#")[0].split("(")[0].split(" "):
            nature = "generator"
    return doc or "", nature


def _closing(text: str, at: int) -> int:
    """Where the bracket that opens at `at` is closed; -1 where it is not."""
    depth = 0
    quote = ""
    for place in range(at, len(text)):
        sign = text[place]
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
            if not depth:
                return place
    return -1


def _pieces(text: str, mark: str, most: int = 100) -> list:
    """`text` split at `mark` wherever that stands outside brackets and quotes."""
    pieces = [""]
    at = 0
    while at < len(text):
        sign = text[at]
        end = at
        if sign in "([{":
            end = _closing(text, at)
        elif sign in "'\"":
            end = text.index(sign, at + 1)
        if sign == mark and len(pieces) < most:
            pieces.append("")
        else:
            pieces[-1] += text[at : end + 1]
        at = end + 1
    return [piece.strip() for piece in pieces]


def _argument(text: str, module) -> Parameter:
    """`name: annotation = default` as a Parameter."""
    left, *default = _pieces(text, "=", 2)
    name, *annotation = _pieces(left, ":", 2)
    kind = _worth(annotation[0], module) if annotation else None
    value = _worth(default[0], module) if default else ...
    return _named(name, made(kind, value))


def made(kind, default) -> Parameter:
    """A parameter from its annotation and its default, either of which may be a Parameter that says more."""
    if isinstance(default, Parameter):
        parameter = default
        if isinstance(kind, type):
            parameter.kind = kind
        return parameter
    if isinstance(kind, Parameter):
        parameter = Parameter(
            kind.kind, unit=kind.unit, choices=kind.choices, description=kind.description, where=kind.where
        )
        parameter.limits = kind.limits
        parameter.default = kind.default if default is ... else default
        return parameter
    return Parameter(kind if isinstance(kind, type) else None, default)


def _worth(text: str, module):
    """What an expression in a `def` line stands for, in the names of its module and ours; None where that is not
    known.
    """
    text = text.split(" | ")[0].strip("'\"")
    if text[:9] == "Optional[":
        text = text[9:-1]
    from .limits import Body, Path, Quantity, Query

    names = {"Annotated": _Annotated(), "Unit": _unit, "Interval": _interval, "Rows": _rows}
    names.update({"Body": Body, "Parameter": Parameter, "Path": Path, "Quantity": Quantity, "Query": Query})
    for name in dir(module):
        names[name] = getattr(module, name)
    for expression in (text, text.split("[")[0]):  # `dict[str, int]` cannot be said to this interpreter, `dict` can
        try:
            return eval(expression, names)
        except Exception:
            pass  # a name that only a type checker knows
    return None


class _Annotated:
    """`Annotated[float, Unit("mm"), Interval(ge=0, le=100)]` as a Parameter, for drivers that are at home on both
    sides.
    """

    def __getitem__(self, parts):
        facts = {}
        for part in parts[1:]:
            facts.update(part)
        return Parameter(parts[0], **facts)


def _unit(unit: str) -> dict:
    return {"unit": unit}


def _interval(**limits) -> dict:
    return limits


def _rows(**columns):
    from .describe import Rows

    return Rows(**columns)


# The function object


def _from_object(function) -> "Signature | None":
    """Names and defaults out of the compiled function, as py/objfun.h and py/bc.h of MicroPython 1.19 to 1.29 lay
    them out.
    """
    try:
        import uctypes
    except ImportError:
        return None  # a port without it: the decorator, the table or the source have to say
    width = 8 if sys.maxsize > 1 << 32 else 4
    function = getattr(function, "__func__", function)
    if type(function).__name__ not in ("function", "generator"):
        return None

    def word(address: int) -> int:
        return int.from_bytes(uctypes.bytes_at(address, width), "little")

    here = address(function)
    code = _bytes(uctypes, word(here + 3 * width))
    first = next(code)
    positional, keyword_only, defaults, shift = first & 3, 0, 0, 0
    while first & 0x80:
        first = next(code)
        positional |= (first & 4) << shift
        keyword_only |= ((first & 8) >> 3) << shift
        defaults |= (first & 1) << shift
        shift += 1
    while next(code) & 0x80:
        pass
    numbers = [_number(code) for _ in range(1 + positional + keyword_only)]
    table = word(word(here + width) + 2 * width)
    cell = [None]
    memory = uctypes.bytearray_at(word(address(cell) + 3 * width), width)

    def read(bits: bytes):
        memory[:] = bits
        value = cell[0]
        memory[:] = none
        return value

    none = bytes(memory)
    names = []
    for number in numbers:  # the first is the function's own name
        short = int.from_bytes(uctypes.bytes_at(table + 2 * number, 2), "little")
        names.append(read((short << 3 | 2).to_bytes(width, "little")))
    values = [read(uctypes.bytes_at(here + (4 + at) * width, width)) for at in range(defaults)]
    values = [...] * (positional - defaults) + values + [None] * keyword_only
    parameters = [_named(name, made(None, value)) for name, value in zip(names[1:], values) if name != "self"]
    known = Signature(parameters, nature="plain" if type(function).__name__ == "function" else "async")
    known.name = names[0]
    return known


def address(thing) -> int:
    """Where an object lies; `id` folds addresses between 1 and 2 GiB into negative small integers on 32 bits."""
    place = id(thing)
    return place if place >= 0 else place & 0x7FFFFFFF


def _bytes(uctypes, address: int):
    """The bytes from an address on, never one more than is asked for: behind them the memory may end."""
    while True:
        yield uctypes.bytes_at(address, 1)[0]
        address += 1


def _number(code) -> int:
    value = 0
    while True:
        byte = next(code)
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value

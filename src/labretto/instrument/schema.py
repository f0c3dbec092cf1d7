"""An annotation becomes a JSON Schema with units, and a validator: `Annotated[float, Unit("degC"), Interval(ge=20)]`.

Which members of a class are looked at is decided in `labretto.instrument.describe`. A unit is the word "unit" of the
schema it belongs to, the names of an array's axes are the word "dims". Numpy is recognised, never imported here.
"""

from __future__ import annotations

import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin

import annotated_types
import pydantic
import typing_extensions  # pydantic's own, and the only one whose TypedDict it takes before Python 3.12
from pydantic import TypeAdapter

from labretto.errors import InvalidError

Schema = dict[str, Any]

_LISTS = frozenset({list, set, frozenset, deque, Sequence, MutableSequence, Iterable})
_MAPPINGS = frozenset({dict, Mapping})
_UNIONS = frozenset({typing.Union, types.UnionType})
_QUALIFIERS = frozenset({typing.Final, typing.ClassVar, typing.Required, typing.NotRequired})


def hints(thing: Any, place: str, *, within: type | None = None) -> dict[str, Any]:
    """The annotations of a function or class, resolved.

    Args:
        within: the class in which a method stands: its nested names are looked up where the module does not know them.

    Raises:
        InvalidError: a name cannot be resolved, or the annotation is no type; names it.
    """
    try:
        try:
            return typing.get_type_hints(thing, include_extras=True)
        except NameError:
            if within is None:
                raise
            return typing.get_type_hints(thing, localns=_names_within(within), include_extras=True)
    except Exception as error:  # an annotation is any expression, and may raise anything
        raise _unresolved(place, error) from error


def own_hints(cls: type, *, hidden: frozenset[str], place: str) -> dict[str, Any]:
    """Public annotations of the body of `cls`, each resolved by itself: a private one may name what is not there."""
    names = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    found: dict[str, Any] = {}
    for member, annotation in vars(cls).get("__annotations__", {}).items():
        if not member.startswith("_") and member not in hidden:
            carrier = type(cls.__name__, (), {"__annotations__": {member: annotation}})
            try:
                found |= typing.get_type_hints(carrier, names, _names_within(cls), include_extras=True)
            except Exception as error:
                raise _unresolved(f"{place}.{member}", error) from error
    return found


def _names_within(cls: type) -> dict[str, Any]:
    return {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}


def _unresolved(place: str, error: Exception) -> InvalidError:
    what = repr(error.name) if isinstance(error, NameError) else f"({type(error).__name__}: {error})"
    return InvalidError(
        f"{place}: the annotation {what} cannot be resolved.",
        way_out="Import it at the top of the driver's module, not inside a TYPE_CHECKING block or a function.",
    )


def schema_of(annotation: Any, place: str) -> Schema:
    """JSON Schema of `annotation`, without references, with "unit" and "dims".

    Raises:
        InvalidError: it has none.
    """
    try:
        return _schema(annotation)
    except Exception as error:  # pydantic has a dozen kinds, and TypeError for a limit on a text
        raise no_schema(place, error) from error


def both(one: Any, other: Any) -> Any:
    """An annotation with the marks of both, if they are of one type; else the second."""
    bare, marks = _bare(other)
    if _bare(one)[0] != bare:
        return other
    together = [*_bare(one)[1], *marks]
    return Annotated[bare, *together] if together else bare


def _bare(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    return (
        (get_args(annotation)[0], get_args(annotation)[1:]) if get_origin(annotation) is Annotated else (annotation, ())
    )


def adapter_of(annotation: Any, place: str) -> TypeAdapter[Any]:
    """What checks a value that comes from a wire, and makes of it what the annotation says.

    Raises:
        InvalidError: there is no way to check that.
    """
    try:
        return TypeAdapter(_checkable(annotation))
    except Exception as error:
        raise no_schema(place, error) from error


def no_schema(place: str, error: Exception) -> InvalidError:
    """Why a member cannot be offered."""
    first = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, RecursionError):
        first = "it contains itself"
    return InvalidError(
        f"{place}: the annotation has no JSON Schema ({first}).",
        way_out="Use numbers, text, lists, dictionaries, Literal, Enum, dataclasses or numpy arrays; or hide it.",
    )


def _schema(annotation: Any) -> Schema:
    unit, dims, bare, marks = _split(annotation)
    if get_origin(bare) in _UNIONS:
        return _union(bare, get_args(annotation)[1:] if bare is not annotation else ())
    schema = _structure(bare)
    if schema is None:
        schema = _inlined(_adapter(bare, marks).json_schema())
    elif marks and (origin := get_origin(bare)) in _LISTS | _MAPPINGS:
        said = _adapter(origin, marks).json_schema()
        schema |= {word: value for word, value in said.items() if word not in ("type", "items")}
    return schema | ({"unit": unit} if unit else {}) | ({"dims": list(dims)} if dims else {})


def _adapter(bare: Any, marks: Sequence[Any]) -> TypeAdapter[Any]:
    annotation: Any = Annotated[bare, *marks] if marks else bare
    return TypeAdapter(annotation)


def _split(annotation: Any) -> tuple[str | None, tuple[str, ...] | None, Any, list[Any]]:
    """Unit, names of axes, the type itself, and what else is said of it."""
    if get_origin(annotation) in _QUALIFIERS:
        return _split(get_args(annotation)[0])
    if get_origin(annotation) is not Annotated:
        return None, None, annotation, []
    bare, *marks = get_args(annotation)
    unit = next((mark.unit for mark in marks if isinstance(mark, annotated_types.Unit)), None)
    dims = next((mark for mark in marks if isinstance(mark, tuple)), None)
    return unit, dims, bare, [mark for mark in marks if not isinstance(mark, tuple | annotated_types.Unit)]


def _union(bare: Any, marks: Sequence[Any]) -> Schema:
    """Alternatives; what is said of all is said of each that is not None, and a unit they share is said of all."""
    kinds = [kind for kind in get_args(bare) if kind is not type(None)]
    each = [_schema(Annotated[kind, *marks] if marks else kind) for kind in kinds]
    units = {schema.get("unit") for schema in each}
    unit = units.pop() if len(units) == 1 else None
    alternatives = each + ([{"type": "null"}] if len(kinds) < len(get_args(bare)) else [])
    return {"anyOf": alternatives} | ({"unit": unit} if unit else {})


def _structure(bare: Any) -> Schema | None:
    """The schema of what is made of parts, which may have units of their own; None for what is not."""
    origin, inner = get_origin(bare), get_args(bare)
    if bare is None or bare is type(None):
        return {"type": "null"}
    if is_array(bare):
        return {"type": "array", "items": {"type": "number"}}
    if has_fields(bare):
        return _fields_schema(bare)
    if origin in _LISTS and inner:
        unique: Schema = {"uniqueItems": True} if origin in (set, frozenset) else {}
        return {"type": "array", "items": _schema(inner[0])} | unique
    if origin is tuple and inner and Ellipsis not in inner:
        return _row_schema([_schema(kind) for kind in inner])
    if origin is tuple and len(inner) == 2:
        return {"type": "array", "items": _schema(inner[0])}
    if origin in _MAPPINGS and len(inner) == 2 and inner[0] is str:
        return {"type": "object", "additionalProperties": _schema(inner[1])}
    return None


def _fields_schema(bare: type) -> Schema:
    schemas = {name: _schema(hint) for name, hint in field_hints(bare).items()}
    if hasattr(bare, "_fields"):  # a NamedTuple goes over the wire as what it is, a row
        return _row_schema([schema | {"title": name} for name, schema in schemas.items()])
    return {"type": "object", "properties": schemas}


def _row_schema(schemas: list[Schema]) -> Schema:
    return {"type": "array", "prefixItems": schemas, "minItems": len(schemas), "maxItems": len(schemas)}


def _inlined(schema: Schema) -> Schema:
    """The schema with what it refers to in its place: it will stand inside others, where a reference points nowhere."""
    definitions = schema.pop("$defs", {})

    def place(part: Any) -> Any:
        if isinstance(part, list):
            return [place(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            target = definitions[part["$ref"].rpartition("/")[2]]
            return place(target | {word: value for word, value in part.items() if word != "$ref"})
        return {word: place(value) for word, value in part.items()}

    inlined: Schema = place(schema)
    return inlined


def has_fields(annotation: Any) -> bool:
    """A NamedTuple, a TypedDict or a dataclass."""
    is_class = isinstance(annotation, type)
    return is_class and (
        typing_extensions.is_typeddict(annotation) or hasattr(annotation, "_fields") or is_dataclass(annotation)
    )


def field_hints(row: Any) -> dict[str, Any]:
    """Field → annotation of a NamedTuple, a TypedDict or a dataclass."""
    found = hints(row, row.__name__)
    return {field.name: found[field.name] for field in fields(row)} if is_dataclass(row) else found


def columns_of(row: Any, place: str) -> dict[str, Schema]:
    """Columns of a stream of such rows: arrays along "point", whatever one yield brings (a number or a chunk).

    Raises:
        InvalidError: the columns have no names.
    """
    if not has_fields(row):
        raise InvalidError(
            f"{place}: a generator action yields {row!r}, whose columns have no names.",
            way_out="Yield a NamedTuple, a TypedDict or a dataclass whose fields are annotated with their units.",
        )
    return {name: _column(schema_of(hint, f"{place} -> {name}")) for name, hint in field_hints(row).items()}


def _column(schema: Schema) -> Schema:
    item = schema.get("items", {}) if schema.get("type") == "array" else schema
    unit = schema.get("unit") or item.get("unit")
    kind = item.get("type", "number")
    return {"type": "array", "items": {"type": kind}, "dims": ["point"]} | ({"unit": unit} if unit else {})


def is_array(annotation: Any) -> bool:
    """A numpy array type, recognised without importing numpy (which an instrument need not have)."""
    bare = get_origin(annotation) or annotation
    return getattr(bare, "__module__", "").startswith("numpy") and getattr(bare, "__name__", "") == "ndarray"


def _checkable(annotation: Any) -> Any:
    """The annotation with numpy arrays, of which pydantic knows nothing, replaced by a check of ours at every place."""
    if annotation is None:
        return type(None)
    if is_array(annotation):
        return Annotated[Any, pydantic.BeforeValidator(_to_array(annotation))]
    if typing_extensions.is_typeddict(annotation):
        return _typed_dict(annotation)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in _QUALIFIERS:
        return _checkable(inner[0])
    if origin is Annotated:
        marks = [mark for mark in inner[1:] if not isinstance(mark, tuple | annotated_types.Unit)]
        return Annotated[_checkable(inner[0]), *marks] if marks else _checkable(inner[0])
    if origin in _UNIONS:
        return typing.Union[tuple(map(_checkable, inner))]  # noqa: UP007 - the members are only known here
    if origin in _LISTS | _MAPPINGS | {tuple} and inner:
        return origin[tuple(kind if kind is Ellipsis else _checkable(kind) for kind in inner)]
    return annotation


def _typed_dict(annotation: Any) -> Any:
    required = annotation.__required_keys__
    keys = {
        name: (typing.Required if name in required else typing.NotRequired)[_checkable(hint)]
        for name, hint in field_hints(annotation).items()
    }
    return typing_extensions.TypedDict(annotation.__name__, keys)  # type: ignore[operator]


def _to_array(annotation: Any) -> Callable[[Any], Any]:
    """Makes the array that a driver expects, of what a wire brings: an array, or lists of numbers."""
    named = [kind for part in get_args(annotation) for kind in get_args(part) if isinstance(kind, type)]
    # `np.floating` and `Any` leave the choice to the values; only a type without kinds of its own is one.
    dtype = next((kind for kind in named if kind.__module__ == "numpy" and not kind.__subclasses__()), None)

    def convert(value: Any) -> Any:
        import numpy as np

        if isinstance(value, str | bytes | Mapping | None):
            raise ValueError("it is no array of numbers")
        array = np.asarray(value)
        if array.dtype.kind == "O":
            array = array.astype(float)  # JSON spells NaN as null
        if array.dtype.kind not in "biufc":
            raise ValueError("it is no array of numbers")
        return array if dtype is None else array.astype(dtype)

    def refused_in_words(value: Any) -> Any:
        try:
            return convert(value)
        except TypeError as error:  # which pydantic would not catch
            raise ValueError(str(error)) from error

    return refused_in_words

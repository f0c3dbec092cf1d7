"""Any plain class is described without running any of it: strange classes are the rule in laboratories."""

import abc
import collections.abc
import enum
import functools
import typing
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import pydantic
import pytest
from annotated_types import Interval, Len, MultipleOf, Unit

from labretto.errors import InvalidError
from labretto.instrument import codec
from labretto.instrument.describe import Action, Attribute, Description, Offer, Overlay, concurrent, describe, effect

Millimetre = Annotated[float, Unit("mm"), Interval(ge=0, le=100)]
Volt = Annotated[float, Unit("V")]
T = TypeVar("T")


class Row(NamedTuple):
    potential: Volt
    current: Annotated[npt.NDArray[np.float64], Unit("A")]


class Stage:
    """Moves a sample."""

    serial: str = "A1"
    limit = 100.0

    def __init__(self, port: str = "COM1") -> None:
        raise AssertionError("describing makes no driver")

    @property
    def x(self) -> Millimetre:
        """Along the bench."""
        raise AssertionError("describing reads nothing")

    @x.setter
    def x(self, value: float) -> None: ...

    @effect("absolute")
    def move(self, to: Millimetre, speed: Annotated[float, Unit("mm/s")] = 1.0) -> Millimetre:
        """Move there."""
        raise AssertionError("describing calls nothing")

    @concurrent
    def blink(self) -> None: ...

    def measure(self, points: int) -> Iterator[Row]:
        """Measure while moving."""
        yield from ()

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def _private(self, x: "nowhere.Nothing") -> None: ...  # noqa: F821

    @staticmethod
    def from_file(path: str) -> "Stage": ...

    @classmethod
    def find(cls) -> "Stage": ...


def of(driver: type, **overlay: Any) -> Description:
    return describe(driver, name="it", overlay=Overlay(**overlay) if overlay else None).description


def action(driver: type, name: str = "act") -> Action:
    return of(driver).actions[name]


def parameter(annotation: Any) -> dict[str, Any]:
    """The schema of one parameter with that annotation."""

    def act(self: object, value: Any) -> None: ...

    act.__annotations__ = {"value": annotation}
    return dict(action(type("Driver", (), {"act": act})).parameters["value"].schema)


def test_a_plain_class_is_described_as_the_wire_shows_it() -> None:
    mm = {"type": "number", "minimum": 0, "maximum": 100, "unit": "mm"}
    assert of(Stage).as_dict() == {
        "name": "it",
        "title": "Stage",
        "description": "Moves a sample.",
        "driver": f"{__name__}:Stage",
        "stop": True,
        "attributes": {
            "serial": {"description": "", "schema": {"type": "string"}, "writable": False},
            "x": {"description": "Along the bench.", "schema": mm, "writable": True},
        },
        "actions": {
            "move": {
                "description": "Move there.",
                "effect": "absolute",
                "exclusive": True,
                "parameters": {
                    "to": {"schema": mm, "required": True},
                    "speed": {"schema": {"type": "number", "unit": "mm/s", "default": 1.0}, "required": False},
                },
                "result": mm,
                "stream": None,
            },
            "blink": {
                "description": "",
                "effect": "once",
                "exclusive": False,
                "parameters": {},
                "result": {"type": "null"},
                "stream": None,
            },
            "measure": {
                "description": "Measure while moving.",
                "effect": "once",
                "exclusive": True,
                "parameters": {"points": {"schema": {"type": "integer"}, "required": True}},
                "result": {"type": "object", "properties": COLUMNS},
                "stream": COLUMNS,
            },
        },
    }


COLUMNS = {
    "potential": {"type": "array", "items": {"type": "number"}, "dims": ["point"], "unit": "V"},
    "current": {"type": "array", "items": {"type": "number"}, "dims": ["point"], "unit": "A"},
}


@pytest.mark.parametrize(
    "wire", [lambda b: codec.decode(codec.encode(b)), lambda b: codec.decode_json(codec.encode_json(b))]
)
def test_a_description_comes_back_from_every_wire(wire: Callable[[Any], Any]) -> None:
    assert Description.from_dict(wire(of(Stage).as_dict())) == of(Stage)


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass
class Peak:
    at: Volt
    height: float


class Corner(NamedTuple):
    x: Millimetre
    y: float


class Settings(TypedDict, total=False):
    rate: typing.Required[Volt]
    mode: Mode


class Model(pydantic.BaseModel):
    peak: Peak
    mode: Mode | None = None


MM = {"type": "number", "minimum": 0, "maximum": 100, "unit": "mm"}
MODE = {"enum": ["fast", "slow"], "title": "Mode", "type": "string"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (Any, {}),
        (None, {"type": "null"}),
        (Millimetre, MM),
        (Annotated[int, Unit("counts"), MultipleOf(5)], {"type": "integer", "multipleOf": 5, "unit": "counts"}),
        (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (typing.Optional[Millimetre], {"anyOf": [MM, {"type": "null"}], "unit": "mm"}),  # noqa: UP045
        (Annotated[float | None, Unit("V"), Interval(ge=1)],
            {"anyOf": [{"type": "number", "minimum": 1, "unit": "V"}, {"type": "null"}], "unit": "V"}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Mode, MODE),
        (Mode | None, {"anyOf": [MODE, {"type": "null"}]}),
        (list[Millimetre], {"type": "array", "items": MM}),
        (Annotated[list[Millimetre], Len(1, 4)], {"type": "array", "items": MM, "minItems": 1, "maxItems": 4}),
        (collections.abc.Sequence[Volt], {"type": "array", "items": {"type": "number", "unit": "V"}}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (tuple[Volt, ...], {"type": "array", "items": {"type": "number", "unit": "V"}}),
        (dict[str, Millimetre], {"type": "object", "additionalProperties": MM}),
        (dict[str, list[Peak]], {"type": "object", "additionalProperties": {"type": "array", "items": {
            "type": "object", "properties": {"at": {"type": "number", "unit": "V"}, "height": {"type": "number"}}}}}),
        (tuple[Millimetre, int],
            {"type": "array", "prefixItems": [MM, {"type": "integer"}], "minItems": 2, "maxItems": 2}),
        (Corner, {"type": "array", "minItems": 2, "maxItems": 2,
            "prefixItems": [MM | {"title": "x"}, {"type": "number", "title": "y"}]}),
        (Settings, {"type": "object", "properties": {"rate": {"type": "number", "unit": "V"}, "mode": MODE}}),
        (npt.NDArray[np.float64], {"type": "array", "items": {"type": "number"}}),
        (np.ndarray, {"type": "array", "items": {"type": "number"}}),
        (npt.NDArray[np.float64] | None, {"anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}]}),
        (Annotated[npt.NDArray[np.float64], Unit("A"), ("y", "x")],
            {"type": "array", "items": {"type": "number"}, "unit": "A", "dims": ["y", "x"]}),
    ],
)  # fmt: skip
def test_an_annotation_says_type_unit_limits_and_choices(annotation: Any, schema: dict[str, Any]) -> None:
    assert parameter(annotation) == schema


def test_a_schema_has_no_references_because_it_will_stand_inside_others() -> None:
    assert "$" not in codec.encode_json(parameter(Model)).decode()
    assert parameter(Model)["properties"]["mode"]["anyOf"][0] == MODE


class Tree(pydantic.BaseModel):
    branches: "list[Tree]"


@dataclass
class Knot:
    other: "Knot | None"


@pytest.mark.parametrize("annotation", [socket := type("Socket", (), {}), Callable[[int], int], Tree, Knot,
    3, complex | socket])  # fmt: skip
def test_what_has_no_schema_is_refused_naming_method_and_parameter(annotation: Any) -> None:
    with pytest.raises(InvalidError, match=r"Driver.act\(value\): the annotation") as refused:
        parameter(annotation)
    assert "hide it" in refused.value.way_out or "Import it" in refused.value.way_out


def test_missing_annotations_promise_nothing_and_refuse_nothing() -> None:
    class Driver:
        @property
        def level(self): ...

        def act(self, a, b=2): ...

    description = of(Driver)
    assert description.attributes["level"].schema == {}
    assert {name: (p.schema, p.required) for name, p in description.actions["act"].parameters.items()} == {
        "a": ({}, True),
        "b": ({"default": 2}, False),
    }
    assert description.actions["act"].effect == "once"


class Forward:
    mode: "Mode"

    def act(self, other: "Later", mode: "Kind") -> "Later | None": ...

    class Kind(enum.Enum):
        A = "a"


@dataclass
class Later:
    x: Volt


def test_forward_references_and_names_of_the_class_itself_are_resolved() -> None:
    description = of(Forward)
    volt = {"type": "object", "properties": {"x": {"type": "number", "unit": "V"}}}

    assert description.attributes["mode"].schema == MODE
    assert description.actions["act"].parameters["other"].schema == volt
    assert description.actions["act"].parameters["mode"].schema["enum"] == ["a"]
    assert description.actions["act"].result == {"anyOf": [volt, {"type": "null"}]}


FUTURE = """
from __future__ import annotations
import enum
from dataclasses import dataclass, field, InitVar
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Iterator, NamedTuple
from annotated_types import Interval, Unit
if TYPE_CHECKING:
    import serial
class Row(NamedTuple):
    potential: Annotated[float, Unit("V")]
@dataclass
class Driver:
    port: InitVar[str]
    voltage: Annotated[float, Unit("V")] = 0.0
    version: ClassVar[str] = "1"
    name: Final[str] = "it"
    _line: serial.Serial | None = None
    class Mode(enum.Enum):
        A = "a"
    @property
    def mode(self) -> Mode: ...
    def ramp(self, to: Annotated[float, Interval(ge=0, le=5)]) -> Iterator[Row]: ...
"""


def compiled(source: str, name: str = "Driver") -> Any:
    """A class of a module of its own, as a user's file is."""
    import sys
    import types

    module = types.ModuleType("a_users_driver")
    sys.modules[module.__name__] = module
    exec(compile(source, "a_users_driver.py", "exec", dont_inherit=True), vars(module))
    return vars(module)[name]


def test_a_module_with_annotations_from_the_future_is_described_the_same() -> None:
    description = of(compiled(FUTURE))

    assert set(description.attributes) == {"voltage", "name", "mode"}
    assert description.attributes["voltage"].unit == "V"
    assert description.attributes["mode"].schema["enum"] == ["a"]
    assert description.actions["ramp"].parameters["to"].schema == {"type": "number", "minimum": 0, "maximum": 5}
    assert set(description.actions["ramp"].stream or {}) == {"potential"}


@pytest.mark.parametrize(
    ("member", "named"),
    [
        ("def act(self, x: Nowhere): ...", r"Driver.act: the annotation 'Nowhere'"),
        ("def act(self) -> serial.Serial: ...", r"Driver.act: the annotation 'serial'"),
        ("def act(self, x: 1 / 0): ...", r"Driver.act: the annotation \(ZeroDivisionError"),
        ("def act(self, x: 'a b'): ...", r"Driver.act: the annotation \(SyntaxError"),
        ("@property\n    def x(self) -> Nowhere: ...", r"Driver.x: the annotation 'Nowhere'"),
        ("x: Nowhere", r"Driver.x: the annotation 'Nowhere'"),
    ],
)
def test_an_annotation_that_cannot_be_resolved_is_refused_by_name(member: str, named: str) -> None:
    driver = compiled(f"from __future__ import annotations\nclass Driver:\n    {member}\n")
    with pytest.raises(InvalidError, match=named) as refused:
        of(driver)
    assert "TYPE_CHECKING" in refused.value.way_out


def test_a_member_that_cannot_be_described_can_be_hidden() -> None:
    driver = compiled(
        "from __future__ import annotations\nclass Driver:\n    x: Nope\n    def act(self, y: Nope): ...\n"
    )

    assert of(driver, hidden=frozenset({"x", "act"})).as_dict()["actions"] == {}


def test_static_and_class_methods_and_bare_class_attributes_are_not_offered() -> None:
    assert {"from_file", "find", "limit"}.isdisjoint({*of(Stage).actions, *of(Stage).attributes})


class Base(abc.ABC, Generic[T]):
    """A family of instruments."""

    y: float

    @property
    def x(self) -> float: ...

    def act(self) -> int:
        """What the base says."""
        raise NotImplementedError

    def inherited(self) -> None: ...

    def withdrawn(self) -> None: ...


class Derived(Base[int]):
    x: Millimetre  # type: ignore[assignment]  # a narrower word for the property of the base

    @property  # type: ignore[no-redef]
    def y(self) -> Volt: ...

    @y.setter
    def y(self, value: float) -> None: ...

    def act(self) -> float: ...

    withdrawn = None  # type: ignore[assignment]


def test_a_derived_class_says_the_last_word() -> None:
    description = of(Derived)

    assert set(description.actions) == {"act", "inherited"}
    assert description.actions["act"].result == {"type": "number"}
    assert description.actions["act"].description == "What the base says."
    assert (description.attributes["y"].unit, description.attributes["y"].writable) == ("V", True)
    assert description.description == ""


class Registered:
    subclasses: ClassVar[list[type]] = []

    def __init_subclass__(cls, **words: Any) -> None:
        Registered.subclasses.append(cls)

    def __class_getitem__(cls, item: Any) -> Any:
        raise AssertionError("describing subscribes nothing")


class Plugged(Registered):
    def act(self) -> None: ...


class Chatty:
    """Everything asked of it is sent to the hardware."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"describing asked for {name}")

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"describing asked for {name}")

    def act(self) -> None: ...


class Noisy:
    def __get__(self, instance: object, owner: type) -> Any:
        raise AssertionError("describing ran a descriptor")


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        raise AssertionError(f"describing asked the class for {name}")


class WithDescriptor(metaclass=Meta):
    voltage = Noisy()

    def act(self) -> None: ...


@pytest.mark.parametrize("driver", [Plugged, Chatty, WithDescriptor])
def test_describing_runs_nothing_of_the_class(driver: type) -> None:
    known = list(Registered.subclasses)

    assert set(of(driver).actions) == {"act"}
    assert Registered.subclasses == known


@dataclass
class Pump:
    flow: Annotated[float, Unit("mL/min")] = 0.0
    line: socket | None = None  # type: ignore[valid-type]
    on_empty: Callable[[], None] | None = None
    seed: InitVar[int] = 0
    kind: ClassVar[str] = "syringe"
    history: list[float] = field(default_factory=list)


def test_a_dataclass_offers_its_fields_but_not_its_parts() -> None:
    """Of a serial line or a callback there is no value that could be shown."""
    description = of(Pump)

    assert set(description.attributes) == {"flow", "history"}
    assert description.attributes["flow"] == Attribute("flow", {"type": "number", "unit": "mL/min"})
    assert description.description == ""


def test_a_constant_of_the_class_is_no_attribute() -> None:
    class Driver:
        bare: ClassVar = 3
        typed: ClassVar[int] = 3
        final: Final[int] = 3

    assert set(of(Driver).attributes) == {"final"}


def test_a_cached_property_is_an_attribute() -> None:
    class Driver:
        @functools.cached_property
        def serial(self) -> str:
            """Asked once."""

    assert of(Driver).attributes == {"serial": Attribute("serial", {"type": "string"}, "Asked once.")}


def test_a_property_made_of_anything_callable_is_an_attribute() -> None:
    class Driver:
        level = property(functools.partial(getattr, 1), lambda self, value: None)

    assert of(Driver).attributes["level"].writable


def test_the_limits_of_a_setter_are_the_attributes() -> None:
    class Driver:
        @property
        def x(self) -> Annotated[float, Unit("mm")]: ...

        @x.setter
        def x(self, value: Annotated[float, Interval(le=5)]) -> None: ...

    offer = describe(Driver, name="it")
    assert offer.description.attributes["x"].schema == {"type": "number", "unit": "mm", "maximum": 5}
    with pytest.raises(pydantic.ValidationError):
        offer.values["x"].validate_python(6)


def test_a_setter_without_limits_keeps_those_of_the_getter() -> None:
    """Most setters say only `value: float`; that must not open the door."""
    with pytest.raises(pydantic.ValidationError):
        describe(Stage, name="it").values["x"].validate_python(101)


def test_a_setter_that_takes_another_type_says_alone_what_may_be_written() -> None:
    class Driver:
        @property
        def x(self) -> Millimetre: ...

        @x.setter
        def x(self, value: Literal["home"]) -> None: ...

    assert describe(Driver, name="it").values["x"].validate_python("home") == "home"


def test_a_decorated_method_is_what_it_wraps() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    class Driver:
        @logged
        @effect("read")
        def act(self, value: Millimetre) -> Iterator[Row]:
            """Documented."""
            yield from ()

    described = action(Driver)
    assert (described.description, described.effect) == ("Documented.", "read")
    assert described.parameters["value"].schema == MM
    assert described.stream == COLUMNS


@pytest.mark.parametrize(
    "returned",
    [Iterator[Row], Generator[Row, None, None], typing.Iterator[Row], AsyncIterator[Row], Iterable[Row],
     typing.Generator[Row, None, int], collections.abc.AsyncGenerator[Row, None]],
)  # fmt: skip
def test_a_generator_streams_the_columns_of_its_rows(returned: Any) -> None:
    def act(self: object) -> Any:
        yield

    act.__annotations__ = {"return": returned}
    assert action(type("Driver", (), {"act": act})).stream == COLUMNS


class Texts(TypedDict):
    label: str
    counts: typing.NotRequired[Annotated[int, Unit("counts")]]
    spectrum: list[Volt]


def test_columns_have_the_type_and_unit_of_their_fields() -> None:
    class Driver:
        async def act(self) -> AsyncIterator[Texts]:
            yield {"label": "a", "spectrum": []}

    array = {"type": "array", "dims": ["point"]}
    assert action(Driver).stream == {
        "label": array | {"items": {"type": "string"}},
        "counts": array | {"items": {"type": "integer"}, "unit": "counts"},
        "spectrum": array | {"items": {"type": "number"}, "unit": "V"},
    }


@pytest.mark.parametrize("returned", [None, Iterator, typing.Iterator, Generator])
def test_a_generator_that_does_not_say_its_columns_streams_what_comes(returned: Any) -> None:
    def act(self: object) -> Any:
        yield

    act.__annotations__ = {"return": returned} if returned else {}
    described = action(type("Driver", (), {"act": act}))
    assert (described.stream, described.result) == ({}, {"type": "object"})


def test_columns_without_names_are_refused() -> None:
    class Driver:
        def act(self) -> Iterator[float]: ...

    with pytest.raises(InvalidError, match="no names") as refused:
        of(Driver)
    assert "NamedTuple" in refused.value.way_out


@pytest.mark.parametrize("parameters", ["*values", "**values", "value, /"])
def test_a_parameter_that_cannot_be_given_by_name_is_refused(parameters: str) -> None:
    driver = compiled(f"class Driver:\n    def act(self, {parameters}): ...\n")
    with pytest.raises(InvalidError, match="cannot be given by name"):
        of(driver)


@pytest.mark.parametrize(
    ("default", "spelled"),
    [(1.5, 1.5), (None, None), (Mode.FAST, "fast"), ((1, 2), [1, 2]), (Peak(1, 2), {"at": 1, "height": 2})],
)
def test_a_default_is_shown_as_json_spells_it(default: Any, spelled: Any) -> None:
    def act(self: object, value: Any = default) -> None: ...

    assert action(type("Driver", (), {"act": act})).parameters["value"].schema["default"] == spelled


@pytest.mark.parametrize("default", [object(), b"\xff", np.array([1.0]), socket, "\ud800"], ids=repr)
def test_a_default_that_json_cannot_spell_is_used_unseen(default: Any) -> None:
    def act(self: object, value: Any = default) -> None: ...

    described = action(type("Driver", (), {"act": act})).parameters["value"]
    assert (described.schema, described.required) == ({}, False)


def test_the_side_table_says_what_the_class_does_not() -> None:
    class Driver:
        level: float

        def act(self, to: float) -> None: ...

        def look(self) -> None: ...

        def secret(self) -> None: ...

    description = of(
        Driver,
        hidden=frozenset({"secret"}),
        effects={"act": "absolute"},
        units={"level": "mm", "act.to": "V"},
        concurrent=frozenset({"look"}),
    )
    assert set(description.actions) == {"act", "look"}
    assert (description.actions["act"].effect, description.actions["look"].exclusive) == ("absolute", False)
    assert description.attributes["level"].unit == "mm"
    assert description.actions["act"].parameters["to"].schema == {"type": "number", "unit": "V"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({"hidden": frozenset({"secrt"})}, "'secrt'"),
        ({"effects": {"moove": "read"}}, "'moove'"),
        ({"effects": {"move": "reed"}}, "'reed'"),
        ({"units": {"move.too": "mm"}}, "'move.too'"),
        ({"units": {"z": "mm"}}, "'z'"),
        ({"concurrent": frozenset({"x"})}, "'x'"),
    ],
)
def test_a_side_table_that_names_what_is_not_there_is_refused(words: Any, fault: str) -> None:
    """A misspelled effect would make a machine ask a person, a misspelled unit would lie."""
    with pytest.raises(InvalidError, match=fault):
        of(Stage, **words)


def test_an_effect_is_one_of_four() -> None:
    with pytest.raises(InvalidError, match="absolute, checkable, once"):
        effect("twice")  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", [lambda: Stage, "module:Class", object()])
def test_only_a_class_can_be_described(thing: Any) -> None:
    with pytest.raises(InvalidError, match="no class"):
        of(thing)


def test_what_has_no_stop_says_so() -> None:
    class Derivative(Stage):
        stop = None  # type: ignore[assignment]

    assert of(Stage).stop
    assert not of(Derivative).stop
    assert not of(Peak).stop


def offer(source: str) -> Offer:
    return describe(compiled(source), name="it")


@pytest.mark.parametrize(
    ("member", "asynchronous"),
    [
        ("async def act(self): ...", True),
        ("async def stop(self): ...", True),
        ("async def act(self):\n        yield 1", True),
        ("def act(self):\n        yield 1", False),
        ("def act(self): ...", False),
    ],
)
def test_a_class_with_coroutines_is_asynchronous(member: str, asynchronous: bool) -> None:
    assert offer(f"class Driver:\n    {member}\n").asynchronous is asynchronous


class Spoken(Protocol):
    def act(self) -> int: ...


def test_a_protocol_and_a_generic_class_are_classes_too() -> None:
    assert set(of(Spoken).actions) == {"act"}
    assert set(of(Base).actions) == {"act", "inherited", "withdrawn"}

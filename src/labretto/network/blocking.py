"""The blocking face of an instrument: for scripts, notebooks and a Python prompt.

    furnace = connect_blocking("tcp://127.0.0.1:5555")
    furnace.temperature.get()
    furnace.ramp(650, rate=10)

It is the async client in one background thread that serves every such face; there is no second client. Each instrument
gets a class of its own, made from its description, so that `help`, `dir` and completion know it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from labretto.errors import LabError, from_problem
from labretto.instrument.describe import Action, Attribute, Description
from labretto.instrument.invocation import Invocation
from labretto.instrument.reading import Reading, with_units
from labretto.network import directory
from labretto.network.client import Instrument, open_instrument
from labretto.network.openapi import in_words

T = TypeVar("T")


def connect(name: str, *, token: str | None = None) -> BlockingInstrument:
    """The instrument of this name (or "lab/name") on this machine, or at this address.

    Args:
        name: such as "furnace", "lab/furnace", "http://192.0.2.7:5001".
        token: shown there if it asks for one; default: LABRETTO_TOKEN, or this machine's own.

    Raises:
        NotFoundError: nothing of this name lives here; says what does.
        UnreachableError: nobody answers there.
    """
    return connect_blocking(directory.find(name), token=token)


def describe(instrument: BlockingInstrument) -> Description:
    """What an instrument offers; a function, because its own attributes may have any name."""
    return instrument._instrument.description  # noqa: SLF001 - of this module


def read_all(instrument: BlockingInstrument) -> dict[str, Reading]:
    """Every attribute in one request; one that cannot be read has the status "error"."""
    return in_background(instrument._instrument.read_all())  # noqa: SLF001 - of this module


def connect_blocking(address: str, *, token: str | None = None) -> BlockingInstrument:
    """The instrument at `address`: "http://...", "tcp://..." (ZMQ) or "memory:NAME".

    Raises:
        UnreachableError: nobody answers there.
        InvalidError: the address is none.
    """
    instrument = in_background(open_instrument(address, token=token))
    return _face_of(instrument)(instrument)


class BlockingInstrument:
    """An instrument whose attributes have `get()` and `set(value)` and whose actions are called.

    An action waits for its end and answers its result with units; interrupting the wait (Ctrl-C) does not end the
    action. Closed with `close()` or by `with`.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument

    def stop(self) -> dict[str, Any]:
        """Call the driver's `stop()` at once, past everything that runs."""
        return in_background(self._instrument.stop())

    def close(self) -> None:
        """Let the connection go."""
        in_background(self._instrument.close())

    def __enter__(self) -> BlockingInstrument:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __dir__(self) -> list[str]:
        described = self._instrument.description
        return [*described.attributes, *described.actions, "stop", "close"]

    def __repr__(self) -> str:
        described = self._instrument.description
        actions = [f"{name}{_signature(action)}" for name, action in described.actions.items()]
        return f"<{described.name} ({described.title}) at {self._instrument.address}: " + (
            f"attributes {', '.join(described.attributes) or 'none'}; actions {', '.join(actions) or 'none'}>"
        )


class BlockingAttribute:
    """A named value of an instrument."""

    def __init__(self, instrument: Instrument, attribute: Attribute) -> None:
        self._instrument = instrument
        self._attribute = attribute
        self.__doc__ = _attribute_doc(attribute)

    def get(self) -> Reading:
        """One look at it: value, unit, time and status."""
        return in_background(self._instrument.read(self._attribute.name))

    def set(self, value: Any) -> Reading:
        """Set it; answers it read back."""
        return in_background(self._instrument.write(self._attribute.name, value))

    def __repr__(self) -> str:
        return f"<{self._instrument.name}.{self._attribute.name}: {self.__doc__}>"


def outcome(invocation: Invocation, action: Action) -> Any:
    """The result of an ended invocation, with units.

    Raises:
        LabError: what the invocation ended with, if it did not succeed; its id is in `fields["invocation"]`.
    """
    if invocation.state == "succeeded":
        return with_units(invocation.result, action.result)
    if invocation.error is None:
        raise LabError(f"{invocation.instrument}.{invocation.action} is {invocation.state}.", invocation=invocation.id)
    raise from_problem({**invocation.error, "invocation": invocation.id})


def in_background(work: Coroutine[Any, Any, T]) -> T:
    """The answer of `work`, done in the background loop; interrupting the wait ends it."""
    coming = begin_in_background(work)
    try:
        return coming.result()
    except BaseException:
        coming.cancel()
        raise


def begin_in_background(work: Coroutine[Any, Any, T]) -> Future[T]:
    """The same, not waited for."""
    return asyncio.run_coroutine_threadsafe(work, _background())


async def elsewhere(work: Coroutine[Any, Any, T]) -> T:
    """The same for one who is in another event loop, which goes on meanwhile."""
    return await asyncio.wrap_future(begin_in_background(work))


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def _background() -> asyncio.AbstractEventLoop:
    """The one loop of all blocking faces; its thread ends with the process."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="labretto client", daemon=True).start()
        return _loop


def _face_of(instrument: Instrument) -> type[BlockingInstrument]:
    """A class with the instrument's attributes and actions; where a name is also one of ours, theirs is meant."""
    described = instrument.description
    members: dict[str, Any] = {"__doc__": described.description, "__module__": __name__}
    members |= {name: _property_of(attribute) for name, attribute in described.attributes.items()}
    members |= {name: _method_of(action) for name, action in described.actions.items()}
    return type(described.title, (BlockingInstrument,), members)


def _property_of(attribute: Attribute) -> property:
    def see(self: BlockingInstrument) -> BlockingAttribute:
        return BlockingAttribute(self._instrument, attribute)

    def refuse(self: BlockingInstrument, value: Any) -> None:
        raise AttributeError(f"Write {attribute.name}.set({value!r}); an assignment would hide that it can fail.")

    return property(see, refuse, doc=_attribute_doc(attribute))


def _method_of(action: Action) -> Callable[..., Any]:
    signature = _signature(action)

    def call(self: BlockingInstrument, *positional: Any, **named: Any) -> Any:
        try:
            given = signature.bind(*positional, **named).arguments
        except TypeError as error:
            unknown = [name for name in named if name not in signature.parameters]
            # What is wrong is a better answer than what is missing because of it.
            why = f"got an unexpected keyword argument {unknown[0]!r}" if unknown else error
            raise TypeError(f"{action.name}{signature}: {why}") from None
        invocation = in_background(self._instrument.invoke(action.name, given))
        return outcome(invocation, action)

    call.__name__ = call.__qualname__ = action.name
    call.__doc__ = _action_doc(action)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    call.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])  # type: ignore[attr-defined]
    return call


def _signature(action: Action) -> inspect.Signature:
    """Parameters with a default after one without are given by name only, as Python has it."""
    optional_seen = False
    parameters = []
    for name, parameter in action.parameters.items():
        by_name_only = parameter.required and optional_seen
        kind = inspect.Parameter.KEYWORD_ONLY if by_name_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        optional_seen = optional_seen or not parameter.required
        default = inspect.Parameter.empty if parameter.required else parameter.schema.get("default")
        parameters.append(inspect.Parameter(name, kind, default=default))
    parameters.sort(key=lambda p: p.kind)
    return inspect.Signature(parameters)


def _attribute_doc(attribute: Attribute) -> str:
    words = ", ".join(word for word in (in_words(attribute.schema), "" if attribute.writable else "read-only") if word)
    return f"{attribute.description} ({words})".strip() if words else attribute.description


def _action_doc(action: Action) -> str:
    lines = [action.description, ""]
    for name, parameter in action.parameters.items():
        words = in_words(parameter.schema) or str(parameter.schema.get("type", ""))
        default = "" if parameter.required else f", default {parameter.schema.get('default')!r}"
        lines.append(f"{name}: {words}{default}")
    unit = action.result.get("unit")
    return "\n".join([*lines, f"Effect: {action.effect}." + (f" Answers {unit}." if unit else "")]).strip()

"""PyVISA resources: an instrument without a driver, reached by its commands.

`query` and `write` are actions, and what a command does nobody here can know: their effect is `once`. Attributes come
from the settings: `reads = { voltage = "MEAS:VOLT?" }`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import annotated_types
import pyvisa

from labretto.instrument.adopt.offering import Method, Offering, Value

Milliseconds = Annotated[float, annotated_types.Unit("ms"), annotated_types.Interval(gt=0)]


def open_resource(driver: type) -> Callable[..., object]:
    """What opens a resource of the class `driver`, and is called with the settings of the instrument."""

    def opened(
        resource: str,
        visa_library: str = "",
        reads: dict[str, str] | None = None,
        read_termination: str | None = None,
        write_termination: str | None = None,
        timeout: Milliseconds = 2000.0,
        **more: Any,
    ) -> object:
        given = {"read_termination": read_termination, "write_termination": write_termination}
        terminations = {word: value for word, value in given.items() if value is not None}
        manager = pyvisa.ResourceManager(visa_library)
        opened = manager.open_resource(resource, timeout=timeout, **_as_wanted(driver), **terminations, **more)
        opened.__dict__["_labretto_reads"] = dict(reads or {})
        return opened

    opened.__name__ = driver.__name__
    return opened


def _as_wanted(driver: type) -> dict[str, Any]:
    """A class that says more than "some resource" is insisted on."""
    return {} if driver is pyvisa.resources.Resource else {"resource_pyclass": driver}


def ready(driver: Any) -> Any:
    """The resource, as it was opened."""
    return driver


def offering(driver: Any) -> Offering:
    """What this resource offers."""
    reads: Mapping[str, str] = vars(driver).get("_labretto_reads", {})
    values = [_read(name, command) for name, command in reads.items()]
    values += [_timeout(), Value("resource_name", lambda resource: resource.resource_name, str, slow=True)]
    methods = [_command(verb, returned) for verb, returned in _VERBS.items() if hasattr(type(driver), verb)]
    return Offering(values, methods, close=lambda resource: resource.close())


def _read(name: str, command: str) -> Value:
    return Value(name, lambda resource: _number(resource.query(command)), description=f"Answer to {command}")


def _number(answer: str) -> float | str:
    """A number where the instrument sends one."""
    try:
        return float(answer)
    except ValueError:
        return answer.strip()


def _timeout() -> Value:
    def write(resource: Any, value: float) -> None:
        resource.timeout = value

    said = "How long an answer may take."
    return Value("timeout", lambda resource: resource.timeout, Milliseconds, write, Milliseconds, said)


_VERBS: Mapping[str, Any] = {"query": str, "write": None, "query_ascii_values": list[float], "clear": None}


def _command(verb: str, returned: Any) -> Method:
    said = {
        "query": "Send a command and answer what comes back.",
        "write": "Send a command.",
        "query_ascii_values": "Send a command and answer the numbers that come back.",
        "clear": "Clear the instrument's buffers.",
    }[verb]
    takes_message = verb != "clear"
    parameters = [inspect.Parameter("message", inspect.Parameter.KEYWORD_ONLY, annotation=str)] if takes_message else []
    return Method(verb, functools.partial(_send, verb), parameters, returned, said)


def _send(verb: str, resource: Any, **given: str) -> Any:
    answer = getattr(resource, verb)(*given.values())
    return None if verb == "write" else answer  # PyVISA answers how many bytes it sent

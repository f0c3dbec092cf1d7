"""The CPython half of `port`: sockets that answer as a board's sockets do, and waits made of asyncio futures.

Never copied to a board.
"""

import asyncio
import socket
import traceback
import types
from collections.abc import Awaitable, Generator

NOT_FINITE = ("NaN", "Infinity")
COROUTINE = types.CoroutineType
coroutine = types.coroutine


def const(value: int) -> int:
    return value


class Socket:
    """A socket with the methods of MicroPython's: `readinto` answers None where there is nothing yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.send = sock.send
        self.close = sock.close
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking

    def accept(self) -> "tuple[Socket, object]":
        sock, address = self.sock.accept()
        return Socket(sock), address

    def readinto(self, buffer: "bytearray | memoryview") -> "int | None":
        try:
            return self.sock.recv_into(buffer)
        except BlockingIOError:
            return None


@types.coroutine
def readable(sock: Socket) -> "Generator[object, None, None]":
    loop = asyncio.get_running_loop()
    yield from _ready(loop.add_reader, loop.remove_reader, sock.fileno())


@types.coroutine
def writable(sock: Socket) -> "Generator[object, None, None]":
    loop = asyncio.get_running_loop()
    yield from _ready(loop.add_writer, loop.remove_writer, sock.fileno())


def _ready(add, remove, number: int) -> "Generator[object, None, None]":
    future = asyncio.get_running_loop().create_future()
    add(number, lambda: future.done() or future.set_result(None))
    try:
        yield from future
    finally:
        remove(number)


def spawn(generator: "Awaitable[None]") -> "asyncio.Task[None]":
    async def run() -> None:
        await generator

    return asyncio.create_task(run())


def wait(milliseconds: int) -> "Awaitable[None]":
    return asyncio.sleep(milliseconds / 1000)


def trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def listen(host: str, port: int, backlog: int) -> Socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(backlog)
    return Socket(sock)


def inspect_signature(function):
    """A function's parameters by `inspect`: names, types, units and limits as annotations and defaults say them."""
    import inspect
    import typing

    from .parameters import Parameter
    from .signature import Signature, made

    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = dict(getattr(function, "__annotations__", {}))
    parameters = []
    for name, said in inspect.signature(function).parameters.items():
        if name == "self" or said.kind in (said.VAR_POSITIONAL, said.VAR_KEYWORD):
            continue
        default = ... if said.default is said.empty else said.default
        parameter = made(annotation(hints.get(name)), default)
        parameter.name = name
        parameters.append(parameter)
    result = annotation(hints.get("return"))
    if isinstance(result, type) and result is not type(None):
        result = Parameter(result)
    nature = "plain"
    if inspect.iscoroutinefunction(function):
        nature = "async"
    elif inspect.isgeneratorfunction(function):
        nature = "generator"
    doc = (inspect.getdoc(function) or "").split("\n")[0]
    return Signature(
        parameters, result if isinstance(result, Parameter) or hasattr(result, "rows") else None, doc, nature
    )


def annotation(hint):
    """A Parameter, a type or None from an annotation: the first of `int | None`, the units and limits of
    `Annotated`.
    """
    import types
    import typing

    from .parameters import Parameter

    if typing.get_origin(hint) is typing.Annotated:
        parameter = Parameter(annotation(hint.__origin__))
        limits = list(parameter.limits)
        for fact in hint.__metadata__:
            if isinstance(fact, Parameter):
                return fact
            parameter.unit = getattr(fact, "unit", parameter.unit)
            limits = [
                getattr(fact, word, None) or old for word, old in zip(("ge", "gt", "le", "lt"), limits, strict=True)
            ]
        parameter.limits = tuple(limits)
        return parameter
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return annotation(next(part for part in typing.get_args(hint) if part is not type(None)))
    if typing.get_origin(hint) is typing.Literal:
        choices = list(typing.get_args(hint))
        return Parameter(type(choices[0]), choices=choices)
    return typing.get_origin(hint) or hint

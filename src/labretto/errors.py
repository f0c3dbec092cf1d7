"""Every error on one page, as a tree. The class says what the caller can do.

    LabError
    ├── RefusedError            nothing moved; change the request
    │   ├── InvalidError        422  the request cannot be understood or can never run (`faults` lists all of them)
    │   │   └── LimitError      422  a value outside its limits
    │   ├── NotFoundError       404  no such instrument, action, attribute, run, record
    │   ├── ForbiddenError      403  this actor may not
    │   │   └── TokenError      401  no token, or one that is not known or has ended
    │   ├── PaceError           429  too many acts at once; `retry_after` says when there may be another
    │   ├── BusyError           409  another action runs; says which and since when
    │   ├── LeaseError          409  somebody with a higher lease number acts here
    │   ├── ConflictError       409  the same id was used for something else; the state does not allow it
    │   ├── NoStopError         501  the driver has no software stop
    │   └── StorageError        507  the disk does not take what must be written first
    ├── UnreachableError        503  ask again: a client time-out or a lost connection says nothing about the action
    └── FailedError             something may have moved: look before you retry
        ├── DriverError         502  the driver raised; its own text and traceback are kept
        ├── CancelledError      409  the action was stopped before its end
        ├── TimedOutError       504  the action did not end within the time that its step gave it
        ├── LateError           409  a person was asked and did not answer in time
        ├── InterruptedActionError 409  the action began, its end was not seen
        └── ExperimentChangedError 409  the experiment no longer matches what its journal says it did

On the wire an error is problem details (RFC 9457): `problem()` writes it, `from_problem()` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

_TYPE = "urn:labretto:error:"
_STANDARD = frozenset({"type", "title", "status", "detail", "way_out"})


class LabError(Exception):
    """What was asked, what stood against it, and the way out.

    Args:
        detail: one sentence with the offending value and the limit it met.
        way_out: what the reader can do now; empty where the detail says it.
        fields: further members of the problem details, JSON values only.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The laboratory could not do this"

    def __init__(self, detail: str, /, *, way_out: str = "", **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.way_out = way_out
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.detail} {self.way_out}".strip()

    def problem(self) -> dict[str, Any]:
        """This error as problem details (RFC 9457)."""
        problem = {"type": f"{_TYPE}{type(self).__name__}", "title": self.title, "status": self.status}
        problem |= {"detail": self.detail} | ({"way_out": self.way_out} if self.way_out else {})
        return problem | {name: value for name, value in self.fields.items() if name not in _STANDARD}


class RefusedError(LabError):
    """Nothing moved."""

    status = 400
    title = "Refused; nothing moved"


class InvalidError(RefusedError):
    """The request cannot be understood or can never run."""

    status = 422
    title = "The request is not valid"

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Every fault found, each with at least `detail`; empty if the error is one sentence."""
        faults = self.fields.get("faults")
        return [fault for fault in faults if isinstance(fault, dict)] if isinstance(faults, list) else []

    def __str__(self) -> str:
        lines = [super().__str__()]
        alone = len(self.faults) == 1 and str(self.faults[0].get("detail")) in self.detail  # it is said already
        for fault in [] if alone else self.faults:
            place = f"line {fault['line']}, column {fault.get('column')}: " if fault.get("line") else ""
            lines.append(f"  {place}{fault.get('detail', '')} {fault.get('way_out') or ''}".rstrip())
        return "\n".join(lines)


class LimitError(InvalidError):
    """A value outside its limits."""

    title = "A value is outside its limits"


class NotFoundError(RefusedError):
    """There is no such thing."""

    status = 404
    title = "Not found"


class ForbiddenError(RefusedError):
    """This actor may not."""

    status = 403
    title = "Not allowed"


class TokenError(ForbiddenError):
    """No token, or one that is not known or has ended."""

    status = 401
    title = "Who are you?"


class PaceError(RefusedError):
    """Too many acts at once."""

    status = 429
    title = "Too often"


class BusyError(RefusedError):
    """Another action runs."""

    status = 409
    title = "The instrument is busy"


class LeaseError(RefusedError):
    """Somebody with a higher lease number acts here."""

    status = 409
    title = "The lease is no longer valid"


class ConflictError(RefusedError):
    """The same id was used for something else, or the state does not allow it."""

    status = 409
    title = "In conflict with what is there"


class NoStopError(RefusedError):
    """The driver has no software stop."""

    status = 501
    title = "No software stop"


class StorageError(RefusedError):
    """The disk does not take what must be written first."""

    status = 507
    title = "Cannot be written to disk"


class UnreachableError(LabError):
    """Nothing is known of what became of the request: ask again with the same id."""

    status = 503
    title = "Not reachable"


class FailedError(LabError):
    """Something may have moved: look before you retry."""

    status = 502
    title = "Failed; something may have moved"


class DriverError(FailedError):
    """The driver raised."""

    title = "The driver raised an error"


class CancelledError(FailedError):
    """The action was stopped before its end."""

    status = 409
    title = "Stopped before its end"


class LateError(FailedError):
    """A person was asked and did not answer in time."""

    status = 409
    title = "Nobody answered in time"


class TimedOutError(FailedError):
    """The action did not end within the time that its step gave it; `over` says whether it has ended since."""

    status = 504
    title = "Not ended in time"


class InterruptedActionError(FailedError):
    """The action began; its end was not seen."""

    status = 409
    title = "Interrupted; the end was not seen"


class ExperimentChangedError(FailedError):
    """The experiment no longer matches what its journal says it did."""

    status = 409
    title = "The experiment has changed"


def _tree(cls: type[LabError]) -> dict[str, type[LabError]]:
    names = {cls.__name__: cls}
    for sub in cls.__subclasses__():
        names |= _tree(sub)
    return names


def from_problem(problem: Mapping[str, Any]) -> LabError:
    """The error that `problem` describes; the nearest kind by its status where the type is not ours.

    `problem` may come from a stranger: whatever is in it, an error comes out and none is raised.
    """
    kind = str(problem.get("type", ""))
    known = _tree(LabError).get(kind.removeprefix(_TYPE)) if kind.startswith(_TYPE) else None
    fields = {str(name): value for name, value in problem.items() if name not in _STANDARD}
    detail = str(problem.get("detail") or problem.get("title") or "No detail was given.")
    error = (known or _by_status(problem.get("status")))(detail, way_out=str(problem.get("way_out") or ""))
    error.fields = fields
    return error


_BY_STATUS: dict[int, type[LabError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    408: UnreachableError,
    422: InvalidError,
    501: NoStopError,
    503: UnreachableError,
    504: UnreachableError,
    507: StorageError,
}


def _by_status(status: Any) -> type[LabError]:
    """What may be concluded from a status alone; nothing at all means that something may have moved."""
    if not isinstance(status, int):
        return FailedError
    return _BY_STATUS.get(status, RefusedError if 400 <= status < 500 else FailedError)

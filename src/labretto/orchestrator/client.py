"""A hub seen from a script: submit, watch, wait, and open the record.

Needs only the instrument side of an install; reading a record needs `labretto[hub]`.
"""

from __future__ import annotations

import functools
import getpass
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from labretto.errors import ConflictError, InvalidError, LabError, NotFoundError, UnreachableError, from_problem
from labretto.network.credentials import token_for
from labretto.network.directory import find_hub
from labretto.orchestrator.engine import OVER
from labretto.orchestrator.reading_events import events_of
from labretto.orchestrator.source import source_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from labretto.catalog.read import Record

Function = TypeVar("Function", bound=Callable[..., Any])

_ASK_AGAIN_AFTER = 60.0
"""Seconds that one request waits at the hub for a run's end; then it is asked again."""


def submit(
    what: Callable[..., Any] | str | Path,
    *,
    hub: str | None = None,
    terms: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> RunHandle:
    """Put an experiment into a hub's queue.

    Args:
        what: a function marked with `@labretto.experiment`, or the path of an experiment file.
        hub: the hub's address or its lab's name; default: the one that runs.
        terms: on which it waits, any of `priority`, `not_before` (a datetime, or "02:00"), `labels`, `again` (turns
            after the first; None: until told), `held`.
        parameters: of the experiment.

    Raises:
        InvalidError: it can never run; lists all faults.
        NotFoundError, UnreachableError: there is no such hub, or none runs.
    """
    return Hub(hub).submit(what, terms=terms, **parameters)


class Hub:
    """The hub of a lab, from afar."""

    def __init__(self, address: str | None = None, *, token: str | None = None) -> None:
        self.address = address if address and "://" in address else find_hub(address)
        token = token_for(self.address, token)
        self.headers = {"Labretto-Actor": _user()} | ({"Authorization": f"Bearer {token}"} if token else {})
        """What every request shows of who asks."""
        self._http = httpx2.Client(base_url=self.address, headers=self.headers, timeout=_ASK_AGAIN_AFTER + 10)

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def submit(
        self, what: Callable[..., Any] | str | Path, /, *, terms: Mapping[str, Any] | None = None, **parameters: Any
    ) -> RunHandle:
        """See `labretto.submit`."""
        return self.enqueue(what, parameters, terms)

    def enqueue(
        self, what: Callable[..., Any] | str | Path, parameters: Mapping[str, Any], terms: Mapping[str, Any] | None
    ) -> RunHandle:
        """The same, for parameters of any name."""
        body = _submission(what, parameters) | spoken(terms or {})
        return RunHandle(self, self.ask("POST", "/api/runs", body)["id"])

    def forecast(self, what: Callable[..., Any] | str | Path, /, **parameters: Any) -> dict[str, Any]:
        """What a run of it would be like, and when it would begin and end; nothing is submitted."""
        return dict(self.ask("POST", "/api/forecast", _submission(what, parameters)))

    def schedule(
        self,
        what: Callable[..., Any] | str | Path,
        rule: str,
        /,
        *,
        zone: str,
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Submit it again and again, or once, at its time: `hub.schedule("scan.yaml", "every day 02:00", zone="UTC")`.

        Args:
            what: as for `submit`.
            rule: when.
            zone: the time zone in which the rule is meant.
            parameters: of the experiment.
            more: `name`, `missed` ("late" or "skip"), `finish_within` (seconds); and terms, such as `labels`.
        """
        own = {word: more.pop(word) for word in ("name", "missed", "finish_within") if more.get(word) is not None}
        body = {"rule": rule, "zone": zone, "submission": _submission(what, parameters or {}) | spoken(more)} | own
        return dict(self.ask("POST", "/api/schedules", body))

    def queue(self) -> list[dict[str, Any]]:
        """The runs that wait, in their order; `reason` says why each does."""
        return list(self.ask("GET", "/api/queue")["runs"])

    def stop_queue(self) -> None:
        """Let nothing begin any more, over restarts too; what runs goes on to its end."""
        self.ask("POST", "/api/queue/stop")

    def start_queue(self) -> None:
        """Let runs begin again."""
        self.ask("POST", "/api/queue/start")

    def tasks(self, **filters: Any) -> list[dict[str, Any]]:
        """What people have to do; `filters` are those of `GET /tasks`, such as status="pending"."""
        return list(self.ask("GET", "/tasks", **filters))

    def add_task(self, title: str, description: str, **words: Any) -> dict[str, Any]:
        """Put a task down; `words` are priority, due_date, assignee, reminder, status."""
        return dict(self.ask("POST", "/tasks", {"title": title, "description": description, **words}))

    def answer(self, task: int, value: Any = None, *, choice: str | None = None, why: str | None = None) -> Any:
        """Close a task; what a run asks is answered with `value`, or with one of its choices. Answers the task.

        Raises:
            InvalidError: the answer does not fit the form; `faults` names each field.
            ConflictError: it was answered already.
        """
        return self.ask("POST", f"/tasks/{task}/answer", {"value": value, "choice": choice, "why": why})

    def send_file(self, task: int, file: str | Path) -> str:
        """Keep a file with the run that asks; answers its place, which is the value to answer with.

        Raises:
            InvalidError: it cannot be read, or is too large.
        """
        try:
            content = Path(file).read_bytes()
        except OSError as error:
            raise InvalidError(f"The file {file} cannot be read: {_why(error)}.") from error
        return str(self.ask("POST", f"/tasks/{task}/files", content, name=Path(file).name)["file"])

    def halt(self) -> list[dict[str, Any]]:
        """Call every driver's `stop()` at once and hold all runs; says for each instrument what came of it.

        This is not an emergency stop.
        """
        return list(self.ask("POST", "/api/halt")["stopped"])

    def reset(self) -> None:
        """After a halt: let runs go on."""
        self.ask("POST", "/api/halt/reset")

    def run(self, identity: str) -> RunHandle:
        """A run that was submitted before."""
        return RunHandle(self, identity)

    def events(self, after: int = 0, *, follow: bool = False) -> Iterator[dict[str, Any]]:
        """Every event of every run after the number `after`, in order; with `follow` also what comes, without end.

        A script that keeps the `sequence` of the last event it has worked through misses none, however long it was
        away, or the hub was.
        """
        return events_of(self, after, follow=follow)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One request; the JSON that answers it.

        Raises:
            LabError: the problem that the hub answered.
            UnreachableError: the hub does not answer.
        """
        try:
            content = {"content": body} if isinstance(body, bytes) else {"json": body}
            answer = self._http.request(method, path, **content, params=query or None)
        except httpx2.TimeoutException as error:
            raise UnreachableError(
                f"The hub at {self.address} took too long to answer {method} {path.partition('?')[0]}.",
                way_out="Look whether it was done before you ask again; is the disk full, or the machine busy?",
            ) from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise UnreachableError(
                f"The hub at {self.address} does not answer: {error}.", way_out="Start it with `labretto up`."
            ) from error
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _error(answer)


class RunHandle:
    """One run at a hub."""

    def __init__(self, hub: Hub, identity: str) -> None:
        self.id = identity
        self._hub = hub

    def __repr__(self) -> str:
        return f"<Run {self.id} at {self._hub.address}>"

    def status(self) -> dict[str, Any]:
        """The run now: state, steps, question, error."""
        return dict(self._hub.ask("GET", f"/api/runs/{self.id}"))

    @property
    def state(self) -> str:
        """queued, running, waiting, paused, succeeded, failed or aborted."""
        return str(self.status()["state"])

    def wait(self, timeout: float | None = None) -> RunHandle:
        """Return when the run is over.

        Raises:
            LabError: it failed or was aborted; the kind and the words are those of its error.
            TimeoutError: it is not over after `timeout` seconds; it goes on.
        """
        left = timeout
        while True:
            slice_ = _ASK_AGAIN_AFTER if left is None else min(left, _ASK_AGAIN_AFTER)
            row = self._hub.ask("GET", f"/api/runs/{self.id}/wait", timeout=slice_)
            if row["state"] in OVER:
                break
            left = None if left is None else left - slice_
            if left is not None and left <= 0:
                raise TimeoutError(f"Run {self.id} is {row['state']} after {timeout} s; it goes on.")
        if row["state"] != "succeeded":
            raise from_problem(self.status()["error"] or {"detail": f"Run {self.id} was {row['state']}."})
        return self

    def pause(self) -> None:
        """Stand still before the next step."""
        self._hub.ask("POST", f"/api/runs/{self.id}/pause")

    def resume(self) -> None:
        """Go on after a pause."""
        self._hub.ask("POST", f"/api/runs/{self.id}/resume")

    def abort(self) -> None:
        """End the run before its next step; then it cleans up. Once more, while it cleans up: that ends too."""
        self._hub.ask("POST", f"/api/runs/{self.id}/abort")

    def answer(self, choice: str, value: Any = None, why: str | None = None, *, path: str | None = None) -> None:
        """Answer the run's question; `path` says which, where several branches ask."""
        body = {"choice": choice, "value": value, "why": why, "path": path}
        self._hub.ask("POST", f"/api/runs/{self.id}/answer", body)

    def cancel(self, path: str | None = None, *, within: float | None = None) -> dict[str, Any]:
        """Ask one action of the run to end; the run stays, and asks a person what became of the action.

        Args:
            path: of its step; needed where several are in flight.
            within: seconds after which this answers even if it runs still.

        Returns:
            The invocation as it is then: its `state`, and in `cancelling` whether its end is overdue.

        Raises:
            ConflictError: it blocks in its driver and cannot be cancelled; or several are in flight.
        """
        body = {name: value for name, value in (("path", path), ("within", within)) if value is not None}
        return dict(self._hub.ask("POST", f"/api/runs/{self.id}/cancel", body))

    def hold(self, why: str | None = None) -> None:
        """Keep a run that waits in the queue from beginning."""
        self._hub.ask("POST", f"/api/runs/{self.id}/hold", {"why": why})

    def release(self) -> None:
        """Let it begin when its turn comes."""
        self._hub.ask("POST", f"/api/runs/{self.id}/release")

    def move(self, where: str, of: RunHandle | str | None = None) -> None:
        """Put it elsewhere in the queue: "first", "last", or "before" or "after" another run."""
        other = of.id if isinstance(of, RunHandle) else of
        self._hub.ask("POST", f"/api/runs/{self.id}/move", {"where": where, "of": other})

    def edit(self, **changes: Any) -> None:
        """Change what waits: `name`, `parameters` (those that change), and the terms that `labretto.submit` takes.

        Labels can be changed at any time, `again` until it is over.

        Raises:
            InvalidError: it cannot run so; lists all faults, and nothing was changed.
            ConflictError: it has begun.
        """
        self._hub.ask("PATCH", f"/api/runs/{self.id}", spoken(changes))

    def remove(self) -> None:
        """Take it out of the queue before it begins."""
        self._hub.ask("DELETE", f"/api/runs/{self.id}")

    def again(self, **changes: Any) -> RunHandle:
        """Submit the same once more, with what `edit` can change."""
        return RunHandle(self._hub, self._hub.ask("POST", f"/api/runs/{self.id}/again", spoken(changes))["id"])

    def record(self) -> Record:
        """All that the run left, or has left so far."""
        from labretto.catalog.read import open_record

        folder = Path(self._hub.ask("GET", f"/api/records/{self.id}")["folder"])
        if not folder.is_dir():
            raise NotFoundError(
                f"The record's folder {folder} is not on this machine.",
                way_out=f"Open it where the hub runs, or download its files from {self._hub.address}.",
            )
        return open_record(folder)

    def to_xarray(self) -> xr.Dataset:
        """The saved rows as a dataset with units, see `labretto.catalog.read`."""
        return self.record().to_xarray()

    def to_pandas(self) -> pd.DataFrame:
        """The saved rows as a table."""
        return self.record().to_pandas()


def spoken(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Terms as the hub takes them: times with their zone."""
    said = dict(terms)
    for term in ("not_before", "finish_by"):
        if said.get(term) is not None:
            said[term] = moment(said[term]).isoformat()
    return said


def moment(when: datetime | str, *, seen: datetime | None = None) -> datetime:
    """A time as people say it: a datetime, ISO 8601, or "02:00" for the next time that the clock shows this.

    Args:
        when: without a zone: that of this machine.
        seen: now.

    Raises:
        InvalidError: it is none.
    """
    now = seen or datetime.now().astimezone()
    try:
        if isinstance(when, str) and len(when) <= len("02:00:00"):
            shown = datetime.combine(now.date(), time.fromisoformat(when)).astimezone(now.tzinfo)
            return shown if shown > now else shown + timedelta(days=1)
        given = datetime.fromisoformat(when) if isinstance(when, str) else when
        return given if given.tzinfo else given.astimezone()
    except (ValueError, AttributeError, OverflowError):
        raise InvalidError(
            f"{str(when)[:80]!r} is no time.", way_out="Write 02:00, or 2026-11-22T02:00, or with a zone."
        ) from None


def _submission(what: Callable[..., Any] | str | Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if callable(what):
        return {"experiment": source_of(what), "function": what.__name__, "parameters": dict(parameters)}
    from labretto.experiment.inline import inline

    file = Path(what)
    if file.suffix == ".py":
        raise InvalidError(
            f"{file} is a Python module, not an experiment file.",
            way_out="Submit its function from Python: labretto.submit(function).",
        )
    try:
        text = inline(file.read_text(encoding="utf-8"), file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"The experiment {file} cannot be read: {_why(error)}.") from error
    return {"experiment": text, "parameters": dict(parameters), "file": str(file)}


def _why(error: OSError | UnicodeDecodeError) -> str:
    """Without number and name: the name is said already."""
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _error(answer: Any) -> LabError:
    try:
        return from_problem(answer.json())
    except ValueError:
        return ConflictError(f"The hub answered {answer.status_code} without saying why.")


@functools.cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"

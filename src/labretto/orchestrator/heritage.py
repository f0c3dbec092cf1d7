"""The HELAO tutorial's orchestrator: `POST /addExperiment`, `GET /getData`, on the real queue and the real journal.

`getData` answers everything that was ever measured. Its text is therefore not made when it is asked for: it grows with
the journal, an experiment that is over is encoded once and never touched again, and a request sends what is there.
Only where `lab.toml` asks for it (`[compat] helao = true`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from labretto.catalog import codec as stored_codec
from labretto.catalog.live import Changes
from labretto.catalog.read import open_record
from labretto.catalog.store import Catalog
from labretto.errors import InvalidError, LabError, from_problem
from labretto.instrument import codec
from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.engine import READ
from labretto.orchestrator.journal import Event, Journal
from labretto.orchestrator.queue import Orchestrator
from labretto.orchestrator.submission import Submission

logger = logging.getLogger(__name__)

RUN_HEADER = "Labretto-Run"
"""Where the answer of `/addExperiment` says the run's id; its body is the original's `null`."""

_HERE = b'"here"'
"""What the original writes while an action runs."""

_CHUNK = 64 * 1024
"""Bytes of finished text that are sent in one piece."""

_TOLD = 5
"""Faults that stand in the sentence of a refusal; `faults` has all of them."""

_AT_ONCE = 100
"""Events that are folded before others get a turn: about a millisecond."""


def helao_routes(orchestrator: Orchestrator, data: GrowingData) -> APIRouter:
    """`/addExperiment` and `/getData`."""
    router = APIRouter(tags=["helao"])

    @router.post("/addExperiment")
    async def add_experiment(
        request: Request,
        experiment: Annotated[str | None, Query(description='JSON text: {"soe": [...], "params": {...}}')] = None,
        actor: Actor = None,
    ) -> Response:
        # A long one may come as the body: servers end a connection whose address has some hundred thousand bytes.
        text = await request.body() if experiment is None else experiment
        try:
            row = await orchestrator.submit(Submission(read_experiment(text), who=actor))
        except InvalidError as error:
            raise _with_faults_in_words(error) from error
        return answer(None, headers={RUN_HEADER: row.id, "Location": f"/api/runs/{row.id}"})

    @router.get("/getData")
    async def get_data() -> Response:
        chunks = await data.chunks()
        length = {"content-length": str(sum(map(len, chunks)))}
        return StreamingResponse(_one_by_one(chunks), headers=length, media_type="application/json")

    return router


def read_experiment(text: str | bytes) -> Mapping[str, Any]:
    """The object that `text` spells, if it has the form of the original's experiments.

    Raises:
        InvalidError: it is not JSON, no object, or has no `soe`.
    """
    way_out = 'Send JSON text such as {"soe": ["motor/move_1"], "params": {"move_1": {"loc": "[5, 5, 5]"}}}.'
    try:
        body = codec.decode_json(text)
    except InvalidError as error:
        detail = error.detail.replace("The body", "The experiment", 1)
        raise InvalidError(f"{detail} Nothing was submitted.", way_out=way_out) from error
    if not isinstance(body, dict) or "soe" not in body:
        what = "has no `soe`" if isinstance(body, dict) else "is no JSON object"
        raise InvalidError(f"The experiment {what}; nothing was submitted.", way_out=way_out)
    return body


def _with_faults_in_words(error: InvalidError) -> InvalidError:
    """A client of the original reads `detail` alone."""
    more = [fault["detail"] for fault in error.faults if fault.get("detail") and fault["detail"] not in error.detail]
    return InvalidError(" ".join([error.detail, *more[:_TOLD]]), way_out=error.way_out, **error.fields)


async def _one_by_one(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)  # a long history is sent while runs go on


class GrowingData:
    """Follows the journal and keeps the text of `/getData`. Use `async with`.

    Args:
        journal: what is followed, from its first event.
        catalog: where arrays are found that a result only refers to.
        changes: wakes it.
    """

    def __init__(self, journal: Journal, catalog: Catalog, changes: Changes) -> None:
        self._journal = journal
        self._catalog = catalog
        self._changes = changes
        self._text = DataText()
        self._sequence = 0
        self._folding = asyncio.Lock()

    async def __aenter__(self) -> GrowingData:
        self._following = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    async def chunks(self) -> list[bytes]:
        """The whole text as of now, in pieces."""
        await self._catch_up()
        return self._text.chunks()

    async def _follow(self) -> None:
        """Fold as it comes, so that nobody who asks pays for what came before."""
        changes = self._changes.subscribe()
        while True:
            try:
                await self._catch_up()
            except LabError:
                logger.exception("the journal could not be followed; the next change or request tries again")
            await anext(changes)

    async def _catch_up(self) -> None:
        async with self._folding:
            while events := self._journal.since(self._sequence, _AT_ONCE):
                for sequence, event in events:
                    if self._text.wants(event):
                        self._text.apply(event, await self._result(event))
                    self._sequence = sequence
                await asyncio.sleep(0)

    async def _result(self, event: Event) -> Any:
        """What an action answered, as JSON can say it; arrays from the record."""
        stored = event.body.get("result") if event.kind == "ended" else None
        if not _refers(stored):
            return stored_codec.decode(stored)
        try:
            return await asyncio.to_thread(lambda: open_record(self._catalog.find(event.run)).load(stored))
        except LabError as error:
            return f"its arrays are not in the record: {error.detail}"


@dataclass
class _Experiment:
    number: int
    entries: dict[str, bytes] = field(default_factory=dict)
    """action_n → JSON of what is known of it."""
    reads: dict[str, str] = field(default_factory=dict)
    """action_n → attribute, where it only looks."""
    whole: bytes | None = None
    """Its text, once it is over."""

    def text(self) -> bytes:
        if self.whole is not None:
            return self.whole
        comma = b"," if self.number else b""
        inner = b",".join(_text(path) + b":" + entry for path, entry in self.entries.items())
        return b'%b"experiment_%d":{%b}' % (comma, self.number, inner)


class DataText:
    """The text of `/getData`, folded from events in the order of the journal; pure."""

    def __init__(self) -> None:
        self._queued: set[str] = set()
        self._open: dict[str, _Experiment] = {}
        """run → begun and not over."""
        self._tail: deque[_Experiment] = deque()
        """All from the first that is not over, in order of execution."""
        self._done: list[bytes] = []
        self._growing = bytearray()
        self._count = 0

    def wants(self, event: Event) -> bool:
        """It belongs to an experiment of the old form."""
        if event.kind == "submitted":
            return bool(event.body["experiment"].get("format") == "soe")
        return event.run in self._open or event.run in self._queued

    def apply(self, event: Event, result: Any = None) -> None:
        """Fold one event that `wants` wants; `result` is what an ended action answered."""
        if event.kind == "submitted":
            self._queued.add(event.run)
        elif event.kind == "started":
            self._begin(event.run)
        elif event.kind == "finished":
            self._finish(event)
        elif (experiment := self._open.get(event.run)) and "path" in event.body:
            _fold_step(experiment, event, result)

    def chunks(self) -> list[bytes]:
        """The text so far, in pieces that are never changed again."""
        tail = b"".join(experiment.text() for experiment in self._tail)
        return [b"{", *self._done, bytes(self._growing) + tail + b"}"]

    def _begin(self, run: str) -> None:
        self._queued.discard(run)
        self._open[run] = experiment = _Experiment(self._count)
        self._tail.append(experiment)
        self._count += 1

    def _finish(self, event: Event) -> None:
        self._queued.discard(event.run)
        if (experiment := self._open.pop(event.run, None)) is None:
            return  # taken out of the queue before it began
        _close(experiment, event.body["error"])
        while self._tail and (whole := self._tail[0].whole) is not None:
            self._tail.popleft()
            self._growing += whole
        if len(self._growing) > _CHUNK:
            self._done.append(bytes(self._growing))
            self._growing.clear()


def _fold_step(experiment: _Experiment, event: Event, result: Any) -> None:
    body, path = event.body, event.body["path"]
    if event.kind == "intended":
        experiment.entries[path] = _HERE
        if body["action"].startswith(READ):
            experiment.reads[path] = body["action"].removeprefix(READ)
    elif event.kind == "interrupted":
        experiment.entries[path] = _text(body["reason"])
    elif event.kind == "ended" and body["error"]:
        experiment.entries[path] = _text(str(from_problem(body["error"])))
    elif event.kind == "ended":
        attribute = experiment.reads.get(path)
        experiment.entries[path] = _text({attribute: result} if attribute else result)


def _close(experiment: _Experiment, error: Mapping[str, Any] | None) -> None:
    """Nothing of it runs any more; an error that belongs to no action of it stands beside them."""
    told = str(from_problem(error)) if error else ""
    unended = [path for path, entry in experiment.entries.items() if entry == _HERE]
    for path in unended:
        experiment.entries[path] = _text(told or "it has no end")
    if error and _text(told) not in experiment.entries.values():
        experiment.entries["error"] = _text(told)
    experiment.whole = experiment.text()


def _refers(stored: Any) -> bool:
    """An array in a file of the record stands somewhere in it."""
    if isinstance(stored, Mapping):
        return stored_codec.is_reference(stored) or any(map(_refers, stored.values()))
    return isinstance(stored, list) and any(map(_refers, stored))


def _text(value: Any) -> bytes:
    try:
        return codec.encode_json(value)
    except codec.CannotEncodeError as error:
        return codec.encode_json(f"it cannot be written as JSON: {error.detail}")

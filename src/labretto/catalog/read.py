"""A record as people use it: manifest, steps, saved rows, arrays; in xarray and pandas.

`open_record` is a look at one moment. It reads the same while the run goes on, after its end, and after a crash at any
point; for what has come since, open it again. Arrays are loaded when they are asked for.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labretto.catalog import codec
from labretto.catalog.arrays import Arrays
from labretto.catalog.documents import documents_of
from labretto.catalog.events import read_events
from labretto.catalog.history import ENDED, Step, fold
from labretto.catalog.store import read_manifest
from labretto.catalog.stream import Columns
from labretto.catalog.table import columns_of, to_dataset, to_frame
from labretto.errors import NotFoundError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, slots=True)
class Record:
    """All that a run left, or has left so far."""

    folder: Path
    manifest: Mapping[str, Any]
    """id, name, state, who, submitted, started, ended, error, parameters, versions, experiment, instruments, counts;
    after the end also the hashes of the files."""
    steps: tuple[Step, ...]
    """In the order in which they began; values in stored form."""
    rows: tuple[Mapping[str, Any], ...]
    """What was saved, in stored form: numbers with units, references to arrays."""
    question: Any = None
    """What a waiting run asks."""

    @property
    def id(self) -> str:
        """Id of the run."""
        return str(self.manifest.get("id") or self.folder.name)

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.manifest.get("name") or "")

    @property
    def state(self) -> str:
        """queued, running, waiting, paused, succeeded, failed or aborted."""
        return str(self.manifest["state"])

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ENDED

    def step(self, path: str) -> Step:
        """The step at `path`.

        Raises:
            NotFoundError: the run has not come there.
        """
        if (step := next((step for step in self.steps if step.path == path), None)) is None:
            raise NotFoundError(f"Record {self.id} has no step {path!r}.", way_out="`record.steps` lists them.")
        return step

    def result(self, path: str) -> Any:
        """What the step at `path` answered, arrays loaded; None while it has not.

        Raises:
            NotFoundError: the run has not come there.
        """
        return self.load(self.step(path).result)

    def stream(self, path: str) -> Columns:
        """The columns that the step at `path` has streamed so far, live or closed: name → values, `.units` beside.

        Raises:
            NotFoundError: it has streamed nothing.
        """
        with Arrays(self.folder) as arrays:
            return arrays.stream(path)

    def load(self, stored: Any) -> Any:
        """The value that a stored one stands for: arrays loaded, numbers without their unit."""
        with Arrays(self.folder) as arrays:
            return arrays.value(stored)

    def to_xarray(self) -> xr.Dataset:
        """The saved rows as a dataset.

        The first saved name is the dimension and its coordinate if it is a number or text that differs in every row;
        else the dimension is "row". Arrays bring their own dimensions; shorter ones are padded with NaN, which
        `attrs["padded"]` of the variable says. Units are in `attrs["units"]`; run id, name and times in `attrs`.
        """
        with Arrays(self.folder) as arrays:
            return to_dataset(columns_of(self.rows, arrays), self._attrs())

    def to_pandas(self) -> pd.DataFrame:
        """The saved rows as a data frame; an array is one cell, units are in `frame.attrs["units"]`."""
        with Arrays(self.folder) as arrays:
            return to_frame(columns_of(self.rows, arrays), self._attrs())

    def to_documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The record as Bluesky's event-model documents, `(name, document)`, in order (see `catalog.documents`)."""
        return documents_of(self.folder)

    def _attrs(self) -> dict[str, str]:
        said = {key: self.manifest.get(key) for key in ("name", "state", "who", "submitted", "started", "ended")}
        parameters = {"parameters": codec.dumps(self.manifest.get("parameters") or {}).decode()}
        return {"run": self.id} | {key: str(text) for key, text in said.items() if text} | parameters

    def __repr__(self) -> str:
        return "\n".join(
            [f"<Record {self.name or self.id}: {self.state}>", *(f"  {k:<9} {v}" for k, v in self._about())]
        )

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in self._about())
        return f"<b>{html.escape(self.name or self.id)}</b> {html.escape(self.state)}<table>{cells}</table>"

    def _about(self) -> list[tuple[str, str]]:
        units = {name: cell.get("unit") for row in self.rows for name, cell in row.items() if isinstance(cell, Mapping)}
        names = list({name: None for row in self.rows for name in row})
        saved = ", ".join(f"{name} [{units[name]}]" if units.get(name) else name for name in names)
        done = sum(step.state == "succeeded" for step in self.steps)
        about = [("run", self.id), ("who", str(self.manifest.get("who") or "")), ("started", self._time("started"))]
        about += [("ended", self._time("ended")), ("steps", f"{done} of {len(self.steps)} begun succeeded")]
        about += [("saved", f"{len(self.rows)} rows: {saved}" if names else ""), ("question", str(self.question or ""))]
        return [(key, text) for key, text in (*about, ("folder", str(self.folder))) if text]

    def _time(self, key: str) -> str:
        return str(self.manifest.get(key) or "")[:19].replace("T", " ")


def open_record(folder: str | PathLike[str]) -> Record:
    """The record in `folder` as it is now.

    Raises:
        NotFoundError: there is no record.
    """
    folder = Path(folder)
    history = fold(read_events(folder))
    manifest = read_manifest(folder)
    if not manifest and not history.last_number:
        raise NotFoundError(f"{folder} is no record.", way_out="`labretto records` lists those there are.")
    folded = {key: value for key, value in history.manifest().items() if value or key == "state"}
    if not history.last_number:
        folded["state"] = manifest.get("state") or "queued"
    steps, rows = tuple(history.steps.values()), tuple(history.rows.values())
    return Record(folder, {"id": folder.name} | manifest | folded, steps, rows, history.question)

"""A run of three samples as the orchestrator would write it, and the events it consists of."""

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labretto.catalog.store import Catalog, RecordWriter

COLUMNS = {"potential": {"type": "number", "unit": "V"}, "current": {"type": "number", "unit": "A"}}
MANIFEST = {
    "name": "scan of a library",
    "submitted": "2026-11-21T04:21:35Z",
    "experiment": {"format": "file", "source": "steps: []\n"},
}
AT = "2026-11-21T04:21:36Z"


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path / "records")


@pytest.fixture
def writer(catalog: Catalog) -> Iterator[RecordWriter]:
    with catalog.begin("run-1", MANIFEST) as writer:
        yield writer


@pytest.fixture
def tell(writer: RecordWriter) -> Callable[..., None]:
    """Appends the next event of the run."""
    return lambda kind, **body: append(writer, kind, **body)


@pytest.fixture
def scanned(writer: RecordWriter) -> RecordWriter:
    """Three samples measured, the run not yet ended."""
    scan(writer)
    return writer


@pytest.fixture
def files_at_most() -> Callable[[int], AbstractContextManager[None]]:
    """In its block no file grows beyond so many bytes: a disk that is full, without filling one."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


def append(writer: RecordWriter, kind: str, **body: Any) -> None:
    number = writer.last_number + 1
    writer.event({"run": writer.folder.name, "number": number, "kind": kind, "at": AT, **body})


def scan(writer: RecordWriter, samples: tuple[str, ...] = ("A1", "A2", "A3")) -> None:
    append(
        writer, "submitted", name=MANIFEST["name"], who="ann", experiment=MANIFEST["experiment"], parameters={"n": 3}
    )
    append(writer, "started", instruments={"potentiostat": {}}, lease=1)
    for i, sample in enumerate(samples):
        measure(writer, i, sample)


def measure(writer: RecordWriter, i: int, sample: str) -> None:
    path = f"sweep[{i}]/cv"
    about = {"instrument": "potentiostat", "action": "cv", "parameters": {}, "effect": "once", "attempt": 1}
    append(writer, "intended", path=path, invocation=f"i{i}", **about)
    curve = voltammogram(40 + i)
    with writer.stream(path, COLUMNS) as stream:
        for start in range(0, 40 + i, 10):
            stream.append({name: values[start : start + 10] for name, values in curve.items()})
    result = writer.settle(stream, curve)
    append(writer, "ended", path=path, invocation=f"i{i}", state="succeeded", result=result, origin="answered")
    image = writer.put(path, np.full((8, 9), i, "uint16"))
    row = {"sample": sample, "position": {"$value": 1.5 * i, "unit": "mm"}, **result, "image": image}
    append(writer, "saved", path=f"sweep[{i}]/save", row=row)


def voltammogram(points: int) -> dict[str, np.ndarray]:
    potential = np.linspace(-0.2, 0.6, points)
    return {"potential": potential, "current": np.sin(potential * 9) * 1e-6}

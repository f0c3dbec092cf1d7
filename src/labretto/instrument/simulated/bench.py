"""The bench: what the instruments of a simulated lab share, which in a real lab is matter.

A folder with one small JSON file per thing (`stage.json` is the stage's motion, `pump.json` the pump's reservoir), each
written aside and renamed, so that it is whole at every moment; and `physical.log`, one JSON line for each physical
begin and end. The log is the witness of the crash tests: it is written by the matter, so to say, and no part of
Labretto reads it to decide anything.

What stands in the files belongs to the drivers; here is only how it is kept.
"""

import json
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labretto.instrument.simulated.motion import Motion, Place

__all__ = ["Bench"]


class Bench:
    """A folder shared by the simulated instruments of one lab."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Open or make the bench.

        Args:
            folder: where it stands; without one the environment's `LABRETTO_BENCH`, and without that a private
                folder that goes when this object goes.
        """
        chosen = folder or os.environ.get("LABRETTO_BENCH") or self._private_folder()
        self.folder = Path(chosen)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _private_folder(self) -> str:
        folder = tempfile.mkdtemp(prefix="labretto-bench-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @property
    def log_file(self) -> Path:
        """Where the physical begins and ends are written."""
        return self.folder / "physical.log"

    def read(self, thing: str) -> dict[str, Any] | None:
        """What is written about a thing, or None if nothing is.

        Raises:
            ValueError: if the file is not one of ours.
        """
        file = self.folder / f"{thing}.json"
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{file} is not JSON ({error}); delete it to begin with a fresh {thing}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{file} holds no JSON object; delete it to begin with a fresh {thing}")
        return content

    def write(self, thing: str, content: Mapping[str, Any]) -> None:
        """Replace what is written about a thing, in one step for every reader."""
        aside = self.folder / f".{thing}.{os.getpid()}"
        aside.write_text(json.dumps(content))
        aside.replace(self.folder / f"{thing}.json")

    def motion(self, stage: str) -> Motion | None:
        """The stage's latest motion, or None if no such stage stands on this bench."""
        content = self.read(stage)
        if content is None:
            return None
        return Motion(**{**content, "start": tuple(content["start"]), "target": tuple(content["target"])})

    def tip(self, stage: str) -> Place | None:
        """Where the stage has the tip now, mm; None if no such stage stands on this bench."""
        motion = self.motion(stage)
        return None if motion is None else motion.position(time.time())

    @contextmanager
    def physical(self, instrument: str, action: str, **parameters: Any) -> Iterator[None]:
        """Witness a physical action: a line before it begins, and one after it has ended, however it ended.

        A process that is killed meanwhile leaves the first line alone.
        """
        act = {"act": uuid.uuid4().hex, "instrument": instrument, "action": action, "parameters": parameters}
        self._witness({"phase": "begin", **act})
        try:
            yield
        except BaseException as error:
            self._witness({"phase": "end", **act, "outcome": type(error).__name__})
            raise
        self._witness({"phase": "end", **act, "outcome": "done"})

    def _witness(self, line: Mapping[str, Any]) -> None:
        """One write of a whole line at the file's end, so that lines of several processes never mix."""
        text = json.dumps({"time": time.time(), "process": os.getpid(), **line}) + "\n"
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def physical_log(self) -> list[dict[str, Any]]:
        """All witnessed begins and ends, in order."""
        if not self.log_file.exists():
            return []
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

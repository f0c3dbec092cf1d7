"""An experiment from text: every fault at once, each with its line and column.

The text's syntax is `document`'s matter, steps are `steps`'s, experiments within the experiment are `parts`'s,
`soe`/`params` is `soe`'s; here are the outermost words. Whether the instruments can do it is seen in `check`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from labretto.errors import InvalidError, NotFoundError
from labretto.experiment import soe
from labretto.experiment.document import MAX_BYTES, Node, read_text
from labretto.experiment.faults import EnoughFaultsError, Faults, refusal
from labretto.experiment.model import Experiment, Fault, Parameter, Step
from labretto.experiment.parameters import parameters_of
from labretto.experiment.parts import experiments_of, refuse_too_deep, refuse_unknown_calls
from labretto.experiment.placing import in_their_files
from labretto.experiment.steps import steps_below
from labretto.experiment.words import kind, refuse_unknown, text_of

WORDS = ("name", "description", "parameters", "steps", "finally", "experiments", "files")


def load(text: str, *, file: str | None = None) -> Experiment:
    """Read an experiment from YAML or JSON.

    Args:
        text: at most 1 MiB.
        file: the file's name, for messages and as the name of an experiment that gives none.

    Raises:
        InvalidError: with all faults, each with line and column.
    """
    faults = Faults()
    experiment = None
    with contextlib.suppress(EnoughFaultsError):
        root = read_text(text, faults)
        experiment = _experiment(root, text, file, faults) if root is not None else None
    if faults.found or experiment is None:
        faults.found.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
        raise refusal(in_their_files(faults.found, text), file or "the experiment")
    return experiment


def load_file(path: Path | str) -> Experiment:
    """Read an experiment from a file.

    Raises:
        NotFoundError: if there is no such file, or it cannot be opened.
        InvalidError: as `load`.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        return load(content.decode("utf-8-sig"), file=str(path))
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror or error}", way_out="give the path of a file"
        ) from error
    except UnicodeDecodeError as error:
        before = content[: error.start]
        where = (before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise refusal(
            [Fault("there is a byte that is not UTF-8", *where, way_out="save it as UTF-8")], str(path)
        ) from error


def load_object(experiment: Mapping[str, Any], *, file: str | None = None) -> Experiment:
    """Read an experiment that came as the body of a request; its source is that body as JSON."""
    try:
        text = json.dumps(experiment, indent=2, ensure_ascii=False, allow_nan=False)
        if len(text) > MAX_BYTES // 2:  # long tables: a line for each number would be most of the text
            text = json.dumps(experiment, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError(f"the experiment is not a JSON object: {error}", way_out="send plain JSON values") from error
    return load(text, file=file)


def _experiment(root: Node, text: str, file: str | None, faults: Faults) -> Experiment | None:
    if not isinstance(root.value, dict):
        found = "nothing" if root.value is None else kind(root)
        faults.add(f"an experiment is a mapping with `name` and `steps`; here is {found}", root.where)
        return None
    name = Path(file).stem if file else "experiment"
    if "soe" in root.value:
        return _made(text, file, name, "", {}, soe.read_steps(root, faults), "soe")
    refuse_unknown(root, WORDS, "an experiment", "", faults)
    if "steps" not in root.value:
        faults.add("the experiment has no `steps`", root.where, way_out="add `steps:` with a list of steps")
    parts = experiments_of(root, faults)
    parameters = parameters_of(root, "parameters", faults)
    steps, clean_up = (steps_below(root, word, "", faults) for word in ("steps", "finally"))
    refuse_unknown_calls([*steps, *clean_up], parts, faults)
    if not faults.found:
        refuse_too_deep([*steps, *clean_up], parts, faults)
    title, description = (text_of(root, word, word, faults) for word in ("name", "description"))
    made = _made(text, file, title or name, description, parameters, steps, "file")
    return replace(made, clean_up=clean_up, experiments=parts)


def _made(
    text: str,
    file: str | None,
    name: str,
    description: str,
    parameters: dict[str, Parameter],
    steps: tuple[Step, ...],
    form: Any,
) -> Experiment:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Experiment(name, description, parameters, steps, form, text, digest, file)

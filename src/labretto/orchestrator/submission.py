"""From what somebody wants done to the body of the event *submitted*: loaded, settled, checked, counted.

Nothing is kept here. Everything that stands against an experiment is found at once, before anything moves.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

from labretto.errors import InvalidError, UnreachableError
from labretto.experiment.check import check
from labretto.experiment.count import count_steps
from labretto.experiment.forecast import Forecast
from labretto.experiment.load import load, load_object
from labretto.experiment.model import Experiment
from labretto.experiment.soe import settle as settle_soe
from labretto.orchestrator.loading import check_parameters, load_function
from labretto.orchestrator.terms import checked_terms, together
from labretto.orchestrator.worker import Instruments


class LabInstruments(Instruments, Protocol):
    """The instruments of a lab, with what checking an experiment needs."""

    def descriptions(self) -> Mapping[str, Mapping[str, Any]]:
        """Name → description (JSON form), of every instrument that has been seen."""

    def why_unknown(self, name: str) -> str | None:
        """Why an instrument of the lab has not been seen; None if the lab has none of that name."""


@dataclass(frozen=True)
class Submission:
    """What somebody wants done."""

    experiment: str | Mapping[str, Any]
    """The text of a file, or the same as an object; for Python the source text."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    function: str | None = None
    """Python: the name of the async function in the source; None for a file."""
    name: str | None = None
    """Default: the experiment's own."""
    who: str | None = None
    file: str | None = None
    """Where the text came from, for people."""
    terms: Mapping[str, Any] = field(default_factory=dict)
    """On what terms it waits; see `terms.checked_terms`."""
    copy_of: str | None = None
    """The run that is done again."""


class Foresees(Protocol):
    """Says what a run will be like; `foresight.View`."""

    def of_file(self, experiment: Experiment, parameters: Mapping[str, Any]) -> Forecast:
        """Of an experiment that was checked without a fault."""

    def of_python(self, function: str, digest: str) -> Forecast:
        """Of a function, by the hash of its source."""


def prepared(submission: Submission, instruments: LabInstruments, foresees: Foresees | None = None) -> dict[str, Any]:
    """The body of the *submitted* event: the experiment, and on what terms it waits. See `_experiment`.

    Raises:
        InvalidError: lists all faults of both.
    """
    return together(lambda: _experiment(submission, instruments, foresees), lambda: _terms(submission))


def _terms(submission: Submission) -> dict[str, Any]:
    terms = checked_terms(submission.terms)
    if terms.get("held"):
        terms["why_held"] = f"Held by {submission.who or 'a person'}."
    return terms | ({"copy_of": submission.copy_of} if submission.copy_of else {})


def _experiment(submission: Submission, instruments: LabInstruments, foresees: Foresees | None) -> dict[str, Any]:
    """What is to be done, and what it will be like. It takes its time: a Python source is executed, a sweep counted.

    Raises:
        InvalidError: it can never run; lists all faults.
        UnreachableError: an instrument that it needs is down and not known yet.
    """
    known: dict[str, Any] = {"parameters": dict(submission.parameters), "who": submission.who, "versions": _versions()}
    if submission.function is not None:
        return known | _prepared_python(submission, foresees)
    experiment = loaded(submission)
    for name in experiment.instruments:
        if name not in instruments.descriptions() and (why := instruments.why_unknown(name)):
            raise UnreachableError(f"{why}; nothing was submitted.", way_out="Mend it, then submit again.")
    experiment = settle_soe(experiment, instruments.descriptions())
    faults = check(experiment, submission.parameters, instruments.descriptions())
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidError(
            f"The experiment {experiment.name!r} cannot run: {count}; nothing was started.",
            faults=[fault.as_dict() for fault in faults],
        )
    # With the defaults of today: the record says what was used, and a resumed run uses the same.
    known["parameters"] = experiment.values(submission.parameters)
    total = count_steps(experiment, submission.parameters)
    described = {"format": experiment.format, "source": experiment.source, "hash": experiment.hash, "steps": total}
    known["instruments"] = sorted(experiment.instruments)
    if foresees is not None:
        known["forecast"] = foresees.of_file(experiment, submission.parameters).as_dict()
    return known | {"name": submission.name or experiment.name, "experiment": described | {"file": submission.file}}


def _prepared_python(submission: Submission, foresees: Foresees | None) -> dict[str, Any]:
    source, function = str(submission.experiment), str(submission.function)
    digest = digest_of(source)
    check_parameters(load_function(source, function, digest), submission.parameters)
    described = {"format": "python", "source": source, "hash": digest, "function": function}
    foreseen = {} if foresees is None else {"forecast": foresees.of_python(function, digest).as_dict()}
    return {"name": submission.name or function, "experiment": described | {"file": submission.file}} | foreseen


def loaded(submission: Submission) -> Experiment:
    """The experiment of a file.

    Raises:
        InvalidError: `faults` lists all that is wrong with it.
    """
    if isinstance(submission.experiment, str):
        return load(submission.experiment, file=submission.file)
    return load_object(submission.experiment, file=submission.file)


def digest_of(source: str) -> str:
    """The hash of a Python source, by which a resumed run knows it again."""
    return hashlib.sha256(source.encode(errors="backslashreplace")).hexdigest()


def _versions() -> dict[str, str]:
    return {"labretto": version("labretto"), "python": platform.python_version()}

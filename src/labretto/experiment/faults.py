"""Faults as people read them: collected with their place, a near word suggested, refused together.

What a fault is stands in `model`; which faults there are is decided where they are found.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from labretto.errors import InvalidError
from labretto.experiment.model import Fault
from labretto.experiment.reference import Where

MOST_FAULTS = 200
"""A hopeless text need not be quoted back in full; reading it stops here."""
MOST_CHOICES = 300
"""Among more names than this no near one is looked for: it would take longer than reading the text."""


class EnoughFaultsError(Exception):
    """So many faults that more of them would help nobody. Caught where the collecting began."""


class Faults:
    """Everything found so far; nothing is raised before all of it is known."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, detail: str, where: Where | None, path: str = "", way_out: str = "") -> None:
        """Note one fault; the same one twice (a step repeated by an alias) is noted once.

        Raises:
            EnoughFaultsError: after `MOST_FAULTS`.
        """
        line, column = (where.line, where.column) if where else (None, None)
        fault = Fault(detail, line, column, path, way_out)
        if fault not in self.found:
            self.found.append(fault)
        if len(self.found) >= MOST_FAULTS:
            raise EnoughFaultsError


def refusal(faults: Sequence[Fault], what: str = "the experiment") -> InvalidError:
    """The one error that carries all faults; its detail can be read without them."""
    first = str(faults[0]) if faults else "no fault named"
    count = f" has {len(faults)} faults; the first" if len(faults) > 1 else ""
    way_out = "Nothing was started; correct the experiment and submit it again."
    return InvalidError(f"{what}{count}: {first}", way_out=way_out, faults=[fault.as_dict() for fault in faults])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean x?`, or what there is to choose from, or nothing if there is nothing."""
    choices = list(known)
    near = difflib.get_close_matches(word[:100], choices, n=1) if len(choices) <= MOST_CHOICES else []
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {listed(choices)}" if choices else ""


def listed(words: Sequence[str], most: int = 12) -> str:
    """`a, b, c`, cut where it stops helping."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def quoted(text: str, most: int = 60) -> str:
    """A piece of the user's text in quotes, cut to a readable length."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")

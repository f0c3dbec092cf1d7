"""Experiments as data: what shall be done, read from text, checked before anything moves, walked step by step.

Nothing in this room touches an instrument or a socket. `model` is the experiment, `load` reads one from YAML or JSON,
`check` holds it against the instruments' descriptions, `follow` walks it.

The room is also the decorator `@labretto.experiment` for experiments in Python (docs/decisions/0015).
"""

import sys
import types
from typing import Any

from labretto.experiment.function import experiment


class _Room(types.ModuleType):
    """A module that can be called."""

    def __call__(self, function: Any) -> Any:
        """See `labretto.experiment.function.experiment`."""
        return experiment(function)


sys.modules[__name__].__class__ = _Room

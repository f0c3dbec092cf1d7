"""Arrays that remember their unit and the names of their axes.

The only module of the instrument room that needs numpy; the simulated instruments apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class UnitArray(np.ndarray[Any, np.dtype[Any]]):
    """A numpy array with `unit` and `dims`; a calculation or a slice with it gives a plain array again.

    A unit that followed through arithmetic would be wrong after the first product; so it is not followed.
    """

    unit: str | None
    dims: tuple[str, ...] | None
    source: Mapping[str, Any] | None
    """Where a record keeps these values already; None if nowhere."""

    def __new__(
        cls,
        values: Any,
        *,
        unit: str | None = None,
        dims: Sequence[str] | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> UnitArray:
        """A view of `values`, shape unchanged."""
        array = np.asarray(values).view(cls)
        array.unit = unit
        array.dims = tuple(dims) if dims and len(dims) == array.ndim else None
        array.source = source
        return array

    def __array_finalize__(self, source: Any) -> None:
        self.unit = None
        self.dims = None
        self.source = None

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key]

"""Arrays remember their unit and axes for as long as that is true."""

import numpy as np

from labretto.instrument.arrays import UnitArray


def test_an_array_keeps_unit_and_axes_until_somebody_calculates_or_cuts() -> None:
    current = UnitArray([[1.0, 2.0]], unit="A", dims=["cycle", "point"])

    assert (current.unit, current.dims) == ("A", ("cycle", "point"))
    assert isinstance(current, np.ndarray)
    for plain in (current * 2, current[0], np.sqrt(current), current + current, current[0, 0], current.sum(axis=1)):
        assert not isinstance(plain, UnitArray)


def test_names_of_axes_that_do_not_fit_the_shape_are_left_out() -> None:
    assert UnitArray([1.0], dims=["y", "x"]).dims is None

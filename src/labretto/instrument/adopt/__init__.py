"""Drivers made with the libraries of the field become instruments as they are: PyMeasure, QCoDeS, ophyd, yaq, PyVISA.

What such a library knows of a driver (units, limits, choices, channels) stands in its own objects, not in annotations.
For each of them a module here reads that into an `Offering`, and `face` makes of it a plain annotated class, which
`labretto.instrument.describe` and the host treat as any other. No library is imported unless the driver's class comes
from it; a class of none of them is described as it is.
"""

from labretto.instrument.adopt.adoption import adopt, arguments, constructor

__all__ = ["adopt", "arguments", "constructor"]

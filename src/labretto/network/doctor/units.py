"""Whether a unit is one that others will understand: the symbols of the field, with the prefixes of the SI.

No arithmetic: a unit is never converted by us. A symbol that is not known is no fault, only worth a look.
"""

from __future__ import annotations

import re

from labretto.lab import did_you_mean

_PREFIXES = (
    "",
    "Q",
    "R",
    "Y",
    "Z",
    "E",
    "P",
    "T",
    "G",
    "M",
    "k",
    "h",
    "da",
    "d",
    "c",
    "m",
    "u",
    "µ",
    "μ",
    "n",
    "p",
    "f",
)
_SI = (
    "m g s A K mol cd Hz N Pa J W C V F S Wb T H lm lx Bq Gy Sv kat ohm Ohm Ω L l M B bit "
    "eV bar Torr cal Da rad sr VA var Wh Ah G Oe cps sccm slm"
)
"""Symbols that take a prefix."""

_OTHERS = (
    "min h hr d day week year degC °C degF °F deg ° u psi atm mmHg torr inch in ft mil angstrom Å barn rpm RPM Np % ‰ "
    "ppm ppb ppt ppmv ppbv wt% at% vol% mol% dB dBm dBV dBc dBi count counts ct cts pixel px step steps pulse pulses "
    "a.u. arb. arb au RH %RH pH OD RIU sqrt 1 turn rev cycle cycles sample samples slpm percent degrees bpm DN ADU LSB"
)

_PREFIXED = tuple(_SI.split())
_ALONE = frozenset(_OTHERS.split())
_KNOWN = frozenset({prefix + symbol for prefix in _PREFIXES for symbol in _PREFIXED} | _ALONE)


def odd(unit: object) -> str | None:
    """What is odd about a unit, as the rest of a sentence; None for one that is known."""
    if not isinstance(unit, str):
        return f"{unit!r} is no text"
    if not unit.strip():
        return f"{unit!r} is empty"
    if unit != unit.strip():
        return f"{unit!r} has spaces around it"
    unknown = [symbol for symbol in symbols(unit) if symbol not in _KNOWN]
    if not unknown:
        return None
    choices = sorted(_ALONE | set(_PREFIXED))
    same = [each for each in choices if each.lower() == unknown[0].lower()]
    near = did_you_mean(unknown[0], same or choices)
    return f"{unit[:40]!r} is not known{f' ({near})' if near.startswith('Did') else ''}"


def symbols(unit: str) -> list[str]:
    """The symbols of which a unit is made: "mol·m^-3/s" has mol, m and s."""
    if unit in _KNOWN:
        return [unit]
    parts = re.split(r"[\s/*·⋅×()]+", unit)
    bare = [re.sub(r"(\*\*|\^)?[-+−]?[\d.]+$|[⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹½]+$", "", part) for part in parts]
    return [symbol for symbol in bare if symbol]

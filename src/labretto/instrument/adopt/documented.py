"""The unit that a docstring names beyond doubt: "the voltage in Volts" says V, "in Volts or Amps" says nothing.

"in degrees" says nothing either: it may be an angle or a temperature. What is not found here stands in lab.toml.
"""

from __future__ import annotations

import re

_NAMES = {
    "volt": "V",
    "amp": "A",
    "ampere": "A",
    "ohm": "ohm",
    "hertz": "Hz",
    "second": "s",
    "kelvin": "K",
    "tesla": "T",
    "gauss": "G",
    "watt": "W",
    "farad": "F",
    "henry": "H",
    "coulomb": "C",
    "pascal": "Pa",
    "percent": "%",
    "radian": "rad",
    "celsius": "degC",
    "degree celsius": "degC",
    "degrees celsius": "degC",
    "minute": "min",
    "hour": "h",
    "millimeter": "mm",
    "nanometer": "nm",
    "micrometer": "um",
    "meter": "m",
    "metre": "m",
}
"""Words that are units and nothing else; each may have an s, and a prefix where `_PREFIXES` has one."""

_PREFIXES = {"nano": "n", "micro": "u", "milli": "m", "kilo": "k", "mega": "M", "giga": "G"}

_SYMBOLS = ("Hz", "kHz", "MHz", "GHz", "nV", "uV", "mV", "kV", "pA", "nA", "uA", "mA", "ns", "us", "ms", "mW", "dBm")
_SYMBOLS_TOO = ("dB", "mbar", "bar", "Pa", "kPa", "MPa", "psi", "nm", "um", "mm", "cm", "degC", "Ohm", "kOhm", "mT")
_LETTERS = ("V", "A", "W", "K", "s", "T", "m")
"""Units that are a letter, and so are believed only where nothing follows: `in A and in B` names channels."""

_WORD = "|".join(sorted(_NAMES, key=len, reverse=True))
_PREFIX = "|".join(_PREFIXES)
_SYMBOL = "|".join(_SYMBOLS + _SYMBOLS_TOO)
_ENDED = r"(?=\s*(?:[.,;)(]|$|\n\s*\n))"
_PATTERN = re.compile(
    rf"\bin\s+(?:units?\s+of\s+)?(?:(?P<prefix>{_PREFIX})?(?P<word>{_WORD})(?:s|es)?\b|(?P<symbol>{_SYMBOL})\b"
    rf"|(?P<percent>%)|(?P<letter>[{''.join(_LETTERS)}]){_ENDED})"
    r"(?!\s*(?:/|\*|\^|\bper\b|\bor\b|\brms\b|\bpeak\b|\bsquared?\b|-))",
    re.IGNORECASE,
)


def unit_in(text: str | None) -> str | None:
    """The one unit that `text` says a value is in; None if it names none, or more than one."""
    found = {_unit(match) for match in _PATTERN.finditer(text or "")}
    doubtful = _DOUBTFUL.search(text or "")
    return found.pop() if len(found) == 1 and not doubtful else None


_DOUBTFUL = re.compile(r"\bin\s+\w+\s*(?:/|\bper\b|\bor\b)", re.IGNORECASE)


def _unit(match: re.Match[str]) -> str | None:
    if word := match["word"]:
        name = re.sub(r"\s+", " ", word.lower())
        return _PREFIXES.get((match["prefix"] or "").lower(), "") + _NAMES[name]
    if match["percent"]:
        return "%"
    # Letters matter in symbols: "mV" is not "MV", and "in a" is no ampere.
    said = match["symbol"] or match["letter"]
    return said if said in _SYMBOLS + _SYMBOLS_TOO + _LETTERS else None

"""A unit is believed only where a text says it beyond doubt."""

import pytest

from labretto.instrument.adopt.documented import unit_in


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Measure the voltage in Volts (float).", "V"),
        ("Control the manual delay in seconds for the source.", "s"),
        ("the lock-in frequency\n in Hz. This property can be set.", "Hz"),
        ("Reads the Aux input 1 value in Volts with 1/3 mV resolution.", "V"),
        ("taking values in Volts, between -10.5 V and +10.5 V", "V"),
        ("Get the temperature in Kelvin.", "K"),
        ("Get the temperature in degrees Celsius.", "degC"),
        ("the power in dBm", "dBm"),
        ("the wavelength in nanometers", "nm"),
        ("a pressure in mbar", "mbar"),
        ("the current in milliamps", "mA"),
        ("the level in V.", "V"),
        ("the duty cycle in %", "%"),
        ("the duty cycle in percent", "%"),
    ],
)
def test_certain(text: str, unit: str) -> None:
    assert unit_in(text) == unit


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "the phase in degrees",
        "the level in Volts or Amps",
        "the slope in Volts per second",
        "the noise in V/sqrt(Hz)",
        "the amplitude in Volts rms",
        "the delay in seconds, or the frequency in Hz",
        "the input in A and B mode",
        "in a while",
        "in MHZ",
        "switches in series",
        "integrated in voltage mode",
    ],
)
def test_doubtful(text: str | None) -> None:
    assert unit_in(text) is None

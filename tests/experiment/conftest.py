"""The descriptions that the experiments of these tests are held against."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# a slow machine is not a fault of the code
settings.register_profile("experiment", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("experiment")


def number(unit: str, **words: Any) -> dict[str, Any]:
    return {"type": "number", "unit": unit, **words}


def array(unit: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "number"}, "unit": unit}


STAGE = {
    "name": "stage",
    "attributes": {
        "x": {"schema": number("mm", minimum=0, maximum=100), "writable": False},
        "velocity": {"schema": number("mm/s", exclusiveMinimum=0, maximum=50), "writable": True},
    },
    "actions": {
        "move": {
            "effect": "absolute",
            "parameters": {
                "x": {"schema": number("mm", minimum=0, maximum=100), "required": True},
                "speed": {"schema": number("mm/s", default=1.0), "required": False},
            },
            "result": number("mm"),
        },
        "move_to": {
            "parameters": {"sample": {"schema": {"type": "string", "enum": ["A1", "A2", "A3"]}, "required": True}},
            "result": {"type": "object", "properties": {"x": number("mm"), "y": number("mm")}},
        },
        "home": {"parameters": {}, "result": {}},
    },
}
POTENTIOSTAT = {
    "name": "potentiostat",
    "attributes": {"cell": {"schema": {"type": "boolean"}, "writable": True}},
    "actions": {
        "cyclic_voltammetry": {
            "parameters": {"scan_rate": {"schema": number("V/s", minimum=0.001, maximum=10), "required": True}},
            "result": {"type": "object", "properties": {"potential": array("V"), "current": array("A")}},
            "stream": {"potential": number("V"), "current": number("A")},
        },
        "hold": {
            "parameters": {"potential": {"schema": number("V"), "required": True}},
            "result": None,
            "stream": {"current": number("A")},
        },
    },
}
MOTOR = {
    "name": "motor",
    "attributes": {},
    "actions": {
        "move": {
            "parameters": {
                "loc": {
                    "schema": {"type": "array", "items": number("mm", maximum=100), "minItems": 3, "maxItems": 3},
                    "required": True,
                },
                "label": {"schema": {"type": "string"}, "required": False},
            },
            "result": {"type": "object", "properties": {"position": array("mm")}},
        },
        "getPos": {"parameters": {}, "result": {}},
        "read_back": {"parameters": {}, "result": {}},
    },
}


@pytest.fixture
def lab() -> dict[str, Any]:
    """A stage, a potentiostat and the tutorial's motor, as the hub knows them."""
    return {"stage": STAGE, "potentiostat": POTENTIOSTAT, "motor": MOTOR}


SCAN = """\
name: scan of a sample library
parameters:
  scan_rate: {default: 0.1, unit: V/s, minimum: 0.01, maximum: 1.0}
steps:
  - sweep: {sample: [A1, A2, A3]}
    steps:
      - do: stage.move_to
        with: {sample: "${sample}"}
      - do: potentiostat.cyclic_voltammetry
        name: cv
        with: {scan_rate: "${scan_rate}"}
      - read: stage.x
        name: x
      - save: {sample: "${sample}", potential: "${cv.potential}", x: "${x}"}
"""


@pytest.fixture
def scan() -> str:
    """The main job: a scan of a sample library."""
    return SCAN

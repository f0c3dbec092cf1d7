"""The board suite on every interpreter: each module in a process of its own, as small heaps want it."""

from pathlib import Path
from typing import Any

import pytest

BOARD = Path(__file__).parents[2] / "board"
MODULES = sorted(path.name for path in (BOARD / "tests/suite").glob("test_*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_the_suite_passes(interpreter: Any, module: str) -> None:
    """Its output is shown where it does not."""
    result = interpreter.run("tests/run.py", str(interpreter.library), module, cwd=BOARD)

    assert result.returncode == 0, f"{interpreter.name}:\n{result.stdout}\n{result.stderr}"
    assert " passed, 0 failed" in result.stdout

"""The example runs by itself, and its table shows where the stage was."""

import os
import subprocess
import sys
from pathlib import Path

SCAN = Path(__file__).resolve().parents[2] / "examples/bluesky/scan.py"


def test_count_and_scan_run_with_the_simulated_stage_and_camera(tmp_path: Path) -> None:
    environment = os.environ | {"LABRETTO_BENCH": str(tmp_path / "bench"), "MPLBACKEND": "Agg"}

    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", SCAN],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line for line in done.stdout.splitlines() if line.count("|") > 3]
    assert [f"{x:.3f}" in "".join(rows) for x in (10, 20, 30, 40)] == [True] * 4

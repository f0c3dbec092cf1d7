import subprocess
import sys

HEAVY = {"numpy", "pandas", "xarray", "pyarrow", "h5py"}
MODULES = ["store", "finish", "read", "search", "live"]


def test_importing_the_catalog_loads_no_heavy_library() -> None:
    program = f"import sys; [__import__('labretto.catalog.' + name) for name in {MODULES}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not HEAVY & set(done.stdout.split())


def test_writing_events_loads_no_heavy_library() -> None:
    program = """
import sys, tempfile
from pathlib import Path
from labretto.catalog.store import Catalog
with tempfile.TemporaryDirectory() as folder, Catalog(Path(folder)).begin("r", {}) as writer:
    writer.event({"number": 1, "kind": "started", "row": writer.put("a", {"x": 1.5, "nan": float("nan")})})
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not HEAVY & set(done.stdout.split())

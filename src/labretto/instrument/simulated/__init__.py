"""A simulated laboratory: drivers whose physics is checked against theory, for the demo, for tests and for planning.

Each driver is a plain class as anyone would write one for real hardware. What real instruments share as matter (where
the tip stands, how much liquid is left) these share through a folder, the *bench* (`bench.py`), because each runs in
a process of its own and any of them may be killed while the matter goes on.
"""

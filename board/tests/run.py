"""The plain runner of the board suite: no pytest, no imports a board does not have.

    micropython -X heapsize=96k tests/run.py                 every module of tests/suite
    micropython tests/run.py test_routes.py ...              these
    python tests/run.py test_routes.py                       the same on CPython

A test is a function whose name begins with `test_`, plain or async. One line for each, a traceback for what failed;
the exit
code is 1 if anything did. Each module should be run in a process of its own where memory is small.
"""

import asyncio
import gc
import sys

here = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
sys.path.insert(0, here + "/suite")
folders = [place for place in sys.argv[1:] if not place.endswith(".py")]  # with the package, say one of .mpy files
sys.path[0:0] = folders or [here + "/../src"]


def run(name: str) -> "tuple[int, int]":
    """Runs the tests of one module; answers how many passed and failed."""
    from microfastapi.trouble import trace

    module = __import__(name)
    passed = failed = 0
    for word in sorted(dir(module)):
        if not word.startswith("test_"):
            continue
        gc.collect()
        try:
            answer = getattr(module, word)()
            if hasattr(answer, "send"):
                asyncio.run(asyncio.wait_for(answer, 20))
            print("ok     %s.%s" % (name, word))
            passed += 1
        except Exception as error:
            print("FAILED %s.%s\n%s" % (name, word, trace(error)))
            failed += 1
    return passed, failed


def main() -> None:
    import os

    names = [place for place in sys.argv[1:] if place.endswith(".py")]
    names = names or sorted(name for name in os.listdir(here + "/suite") if name.startswith("test_"))
    passed = failed = 0
    for name in names:
        good, bad = run(name.rsplit(".", 1)[0].rsplit("/", 1)[-1])
        passed += good
        failed += bad
    print("%d passed, %d failed on %s" % (passed, failed, sys.implementation.name))
    if failed:
        sys.exit(1)


main()

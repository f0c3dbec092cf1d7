"""The second core, or a second thread: for the server on a PC, for the measuring loop on a board."""

import sys
from _thread import start_new_thread


def start(app) -> None:
    """Serves in a thread of its own; not on a board whose sockets hang on the second core."""
    if sys.platform == "rp2":
        raise RuntimeError(
            "sockets on the second core of a Pico W hang (micropython#10386, #16779, #11977): "
            "call app.run(), and give the measuring loop to app.worker(function)"
        )
    start_new_thread(app.run, ())

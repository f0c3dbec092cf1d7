"""`labretto.network.conformance.Subject` as a board's driver: `python board_subject.py PORT [LOG]`.

What `hold` does is `async` here: a board's plain method keeps its loop from answering, which microfastapi says.
"""

import asyncio
import json
import sys

from microfastapi import MicroFastApi, Quantity, Rows, effect

Millimetre = Quantity("mm", ge=0, le=100)
Millilitre = Quantity("mL", ge=0, le=10)
Seconds = Quantity("s", ge=0, le=60)
Count = Quantity("1", int, ge=1, le=1000)


class Subject:
    """An instrument that hosts are checked with."""

    def __init__(self):
        self._position = 0.0
        self._doses = self._failures = self._placings = 0
        self._released = asyncio.Event()

    @property
    def position(self) -> Millimetre:
        """Where it stands."""
        return self._position

    @position.setter
    def position(self, to: Millimetre):
        self._position = to

    @property
    def doses(self) -> int:
        return self._doses

    @property
    def failures(self) -> int:
        return self._failures

    @property
    def placings(self) -> int:
        return self._placings

    @effect("read")
    def look(self) -> Millimetre:
        return self._position

    @effect("absolute")
    def place(self, to: Millimetre) -> Millimetre:
        self._placings += 1
        self._position = to
        return to

    @effect("once")
    def dose(self, volume: Millilitre, mark: str = "") -> Millilitre:
        self._doses += 1
        self._note("begin", mark)
        self._note("end", mark)
        return volume

    @effect("once")
    def fail(self):
        self._failures += 1
        raise RuntimeError("the valve is stuck")

    @effect("read")
    async def hold(self, seconds: Seconds = 30.0) -> bool:
        self._released.clear()
        await asyncio.wait_for(self._released.wait(), seconds)
        return True

    @effect("read")
    async def linger(self, seconds: Seconds = 30.0):
        await asyncio.sleep(seconds)

    @effect("read")
    def measure(self, rows: Count = 5) -> Rows(number=Quantity("1", int), signal=Quantity("V")):
        for number in range(rows):
            yield {"number": number, "signal": number / 8}

    def stop(self):
        self._released.set()

    def _note(self, phase, mark):
        if len(sys.argv) > 2:
            with open(sys.argv[2], "a") as log:  # noqa: PTH123 - as a board would
                log.write(json.dumps({"phase": phase, "mark": mark}) + "\n")


app = MicroFastApi(port=int(sys.argv[1]), title="Subject")
app.instrument(Subject(), name="subject")

if __name__ == "__main__":
    app.run()

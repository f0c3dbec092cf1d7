"""The lab's instruments as the page sees them: one that does not answer keeps nobody from the others' readings."""

import asyncio
import threading
from contextlib import AsyncExitStack
from pathlib import Path

from labretto.catalog.live import Changes
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.lab import load_lab
from labretto.network import http
from labretto.network.liveness import hold
from labretto.network.supervise import Supervisor
from labretto.orchestrator.supervised import SupervisedInstruments


class Meter:
    @property
    def voltage(self) -> float:
        return 1.5


class Deaf:
    """Its serial line has no time-out."""

    def __init__(self, heard: threading.Event) -> None:
        self._heard = heard

    @property
    def voltage(self) -> float:
        self._heard.wait(30)
        return 2.5


async def test_an_instrument_that_does_not_answer_keeps_the_page_from_no_other(
    labretto_home: Path, tmp_path: Path
) -> None:
    heard = threading.Event()
    async with AsyncExitStack() as stack:
        stack.callback(heard.set)
        meter = await stack.enter_async_context(Host(Meter, describe(Meter, name="meter"), Ledger()))
        deaf = await stack.enter_async_context(Host(lambda: Deaf(heard), describe(Deaf, name="deaf"), Ledger()))
        file = tmp_path / "lab.toml"
        file.write_text(
            f"[instruments.deaf]\nurl = '{await stack.enter_async_context(http.serve(deaf))}'\n"
            f"[instruments.meter]\nurl = '{await stack.enter_async_context(http.serve(meter))}'\n"
        )
        lab = load_lab(file)
        stack.enter_context(hold(lab.hub_lock))
        supervisor = await stack.enter_async_context(Supervisor(lab))
        changes = Changes()
        instruments = SupervisedInstruments(lab, supervisor, changes)
        stack.callback(instruments.close)
        await instruments.meet()

        before = changes.sequence
        for _ in range(2):
            await asyncio.wait_for(instruments.read_all(), 10)

        batch = changes.batch(before)
        assert batch is not None
        told = [each.body["instrument"] for each in batch.changes if each.topic == "readings"]
        assert told == ["meter", "meter"]

"""What is said of instruments whose hosts run elsewhere, and of a lab as a whole.

The lives of real host processes are in tests/system/test_hosts.py.
"""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from labretto.errors import NotFoundError, UnreachableError
from labretto.lab import Lab, LabInstrument
from labretto.network import keeper
from labretto.network.background import start_background
from labretto.network.liveness import hold
from labretto.network.status import FIRST_PAUSE, Status
from labretto.network.supervise import Supervisor


class Motor:
    @property
    def speed(self) -> float:
        return 1.0


def elsewhere(url: str) -> Lab:
    return Lab(name="demo", instruments={"motor": LabInstrument(name="motor", url=url)})


@pytest.fixture(autouse=True)
def _hub() -> Iterator[None]:
    """This process is the hub of the labs used here."""
    with hold(Lab(name="demo").hub_lock), hold(Lab(name="empty").hub_lock):
        yield


async def test_without_the_hubs_lock_nothing_is_started() -> None:
    """The hosts would take their hub for dead."""
    with pytest.raises(RuntimeError, match="hold lab"):
        async with Supervisor(Lab(name="other")):
            pass


async def changed(supervisor: Supervisor, wanted: Callable[[Status], bool]) -> Status:
    """The first status that is as wanted, now or later."""
    found: asyncio.Future[Status] = asyncio.get_running_loop().create_future()

    def look(status: Status) -> None:
        if wanted(status) and not found.done():
            found.set_result(status)

    end = supervisor.listen(look)
    for status in supervisor.status().values():
        look(status)
    try:
        return await found
    finally:
        end()


async def test_a_host_elsewhere_is_only_connected_to() -> None:
    motor = await asyncio.to_thread(start_background, Motor)
    async with Supervisor(elsewhere(motor.url)) as supervisor:
        client = await supervisor.instrument("motor")

        assert (await client.read("speed")).value == 1.0
        assert await supervisor.instrument("motor") is client
        assert supervisor.status()["motor"].state == "ready"
    assert (await asyncio.to_thread(lambda: motor.url)) == motor.url
    await asyncio.to_thread(motor.stop)


async def test_a_host_elsewhere_that_does_not_answer_is_unreachable_and_says_why(free_port: int) -> None:
    async with Supervisor(elsewhere(f"http://127.0.0.1:{free_port}")) as supervisor:
        await supervisor.settled()

        status = supervisor.status()["motor"]
        assert status.state == "unreachable"
        assert str(free_port) in status.reason
        with pytest.raises(UnreachableError, match="motor is unreachable"):
            await supervisor.instrument("motor")


async def test_a_host_elsewhere_that_comes_later_is_found(free_port: int) -> None:
    async with Supervisor(elsewhere(f"http://127.0.0.1:{free_port}")) as supervisor:
        await changed(supervisor, lambda status: status.state == "unreachable")
        reachable = asyncio.create_task(supervisor.reachable("motor"))

        motor = await asyncio.to_thread(start_background, Motor, port=free_port)

        assert (await (await reachable).read("speed")).value == 1.0
    await asyncio.to_thread(motor.stop)


async def test_a_host_elsewhere_that_goes_away_is_missed_and_found_again(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY", 0.2)
    motor = await asyncio.to_thread(start_background, Motor, port=free_port)
    async with Supervisor(elsewhere(motor.url)) as supervisor:
        await supervisor.instrument("motor")

        await asyncio.to_thread(motor.stop)
        await changed(supervisor, lambda status: status.state == "unreachable")
        await supervisor.restart("motor")
        assert supervisor.status()["motor"].state == "unreachable"
        motor = await asyncio.to_thread(start_background, Motor, port=free_port)

        assert (await (await supervisor.reachable("motor")).read("speed")).value == 1.0
        await changed(supervisor, lambda status: status.state == "ready")
    await asyncio.to_thread(motor.stop)


async def test_a_host_elsewhere_can_be_connected_to_anew() -> None:
    motor = await asyncio.to_thread(start_background, Motor)
    async with Supervisor(elsewhere(motor.url)) as supervisor:
        before = await supervisor.instrument("motor")

        await supervisor.restart("motor")

        after = await supervisor.instrument("motor")
        assert after is not before
        assert (await after.read("speed")).value == 1.0
    await asyncio.to_thread(motor.stop)


async def test_who_asks_for_a_host_that_is_away_gets_one_attempt_at_once_and_then_the_usual_pauses() -> None:
    attempts: asyncio.Queue[float] = asyncio.Queue()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.put_nowait(asyncio.get_running_loop().time())
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Supervisor(elsewhere(f"http://127.0.0.1:{port}")) as supervisor:
            await changed(supervisor, lambda status: status.state == "unreachable")
            await supervisor.restart("motor")
            while not attempts.empty():
                attempts.get_nowait()

            first, second = await attempts.get(), await attempts.get()
            assert second - first > FIRST_PAUSE


async def test_an_unknown_instrument_gets_the_near_name(free_port: int) -> None:
    async with Supervisor(elsewhere(f"http://127.0.0.1:{free_port}")) as supervisor:
        with pytest.raises(NotFoundError, match="Did you mean 'motor'"):
            await supervisor.instrument("moter")


async def test_an_empty_lab_is_supervised_too() -> None:
    async with Supervisor(Lab(name="empty")) as supervisor:
        await supervisor.settled()
        assert supervisor.status() == {}


async def test_after_the_end_everything_is_stopped(free_port: int) -> None:
    async with Supervisor(elsewhere(f"http://127.0.0.1:{free_port}")) as supervisor:
        pass

    assert supervisor.status()["motor"].as_dict()["state"] == "stopped"
    with pytest.raises(UnreachableError, match="the hub stopped"):
        await supervisor.instrument("motor")


async def test_a_listener_that_raises_does_not_keep_others_from_hearing(free_port: int) -> None:
    heard: list[str] = []

    def bad(status: Status) -> None:
        raise RuntimeError("bad listener")

    supervisor = Supervisor(elsewhere(f"http://127.0.0.1:{free_port}"))
    supervisor.listen(bad)
    supervisor.listen(lambda status: heard.append(status.state))
    async with supervisor:
        await supervisor.settled()
    assert heard[:2] == ["starting", "unreachable"]


async def test_who_sees_only_the_hubs_log_is_told_once_what_does_not_come_up_and_why(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Supervisor(elsewhere(f"http://127.0.0.1:{free_port}")) as supervisor:
        await supervisor.settled()
        await supervisor.restart("motor")

    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in warnings] == ["motor is unreachable"]
    assert "not reachable" in vars(warnings[0])["reason"]

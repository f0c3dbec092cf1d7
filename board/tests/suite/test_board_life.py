"""A board's life: safe state at start and end, the watchdog, threads, the radio, work beside the server."""

import asyncio

from wire import Served

import microfastapi.simulated as machine
from microfastapi import MicroFastApi, Wifi

machine.install()


async def test_the_hardware_is_brought_to_rest_at_start_and_at_end():
    rests = []
    app = MicroFastApi(safe=lambda: rests.append(1))
    async with Served(app):
        assert len(rests) == 1
    assert len(rests) == 2


async def test_the_watchdog_is_fed_while_the_loop_turns():
    app = MicroFastApi(watchdog=8000)
    app.beat_milliseconds = 2
    async with Served(app):
        while not machine.dogs or machine.dogs[-1].fed < 3:
            await asyncio.sleep(0.002)
    assert machine.dogs[-1].timeout == 8000


async def test_functions_of_the_background_run_while_serving_and_end_with_it():
    turns = []

    async def work():
        while True:
            turns.append(1)
            await asyncio.sleep(0.001)

    app = MicroFastApi()
    app.background.append(work)
    async with Served(app):
        while len(turns) < 3:
            await asyncio.sleep(0.001)
    count = len(turns)
    await asyncio.sleep(0.01)
    assert len(turns) == count


async def test_a_worker_measures_in_a_thread_and_shares_under_the_lock():
    app = MicroFastApi()
    shared = {}

    @app.get("/")
    def index():
        with app.lock:
            return dict(shared)

    def measure():
        for number in range(50):
            with app.lock:
                shared["n"] = number
                shared["square"] = number * number

    async with Served(app) as served:
        app.worker(measure)
        client = await served.open()
        answer = b""
        while b"2401" not in answer:
            answer = (await client.ask(b"GET / HTTP/1.1\r\n\r\n"))[2]
        await client.close()


def test_a_server_in_a_thread_is_refused_where_it_would_hang():
    class Pico:
        platform = "rp2"

    import microfastapi.threads

    real, microfastapi.threads.sys = microfastapi.threads.sys, Pico
    try:
        MicroFastApi().start()
    except RuntimeError as error:
        assert "#10386" in str(error)
        assert "app.worker" in str(error)
    else:
        raise AssertionError("started")
    finally:
        microfastapi.threads.sys = real


def test_the_radio_joins_stays_and_does_not_nap():
    class Lan:
        joined = False
        asked = []
        facts = {}

        def __init__(self, kind):
            pass

        def active(self, on):
            self.asked.append("active")

        def config(self, *names, **facts):
            self.facts.update(facts)
            return b"\x28\xcd\xc1\x00\x00\x07" if names else None

        def connect(self, ssid, password):
            self.asked.append((ssid, password))
            Lan.joined = True

        def disconnect(self):
            pass

        def isconnected(self):
            return Lan.joined

        def ifconfig(self):
            return ("192.168.4.7", "", "", "")

        def status(self):
            return 0

    class network:
        WLAN = Lan
        STA_IF = 0
        named = []

        @staticmethod
        def hostname(name):
            network.named.append((name, list(Lan.asked)))

    import microfastapi.wifi

    real, microfastapi.wifi.network = microfastapi.wifi.network, network
    try:
        wifi = Wifi("lab", "secret", hostname="pump").connect()
        assert (wifi.ip, wifi.mac) == ("192.168.4.7", "28:cd:c1:00:00:07")
        assert network.named == [("pump", [])]  # before anything else: that is what makes pump.local work
        assert Lan.facts["pm"] == 0xA11140
        Lan.joined = False
        wifi.keep()
        assert Lan.asked[-1] == ("lab", "secret")
        assert wifi.losses == 1
    finally:
        microfastapi.wifi.network = real

"""A board is set up from a page of its own, and restarts into a program that came over the network."""

import asyncio
import os

import microfastapi.simulated as machine
from microfastapi import MicroFastApi, TestClient
from microfastapi.wifi import Wifi, load, setup

machine.install()


def test_the_network_is_told_once_and_joined_at_the_next_start():
    place = "/tmp/wifi-%s.json" % os.urandom(4).hex()
    try:
        load(place)
        raise AssertionError("nothing has been written yet")
    except OSError:
        pass
    app = MicroFastApi(wifi=Wifi())
    setup(app, app.wifi, place)
    client = TestClient(app)
    assert client.put("/wifi", {"password": "x"}).status_code == 422

    reply = client.put("/wifi", {"ssid": "laboratory", "password": "grün 1"})

    assert reply.json() == {"ssid": "laboratory", "next": "restart the board"}
    wifi = load(place, hostname="pump")
    assert (wifi.ssid, wifi.password, wifi.hostname) == ("laboratory", "grün 1", "pump")
    os.remove(place)


def test_a_restart_after_an_update_comes_after_the_answer_with_the_hardware_at_rest():
    folder = "/tmp/updates-%s" % os.urandom(4).hex()
    os.mkdir(folder)
    rests = []
    app = MicroFastApi(token="t", safe=lambda: rests.append(machine.resets))
    app.updates(folder)
    client = TestClient(app, token="t")
    before = machine.resets

    reply = client.put("/files/main.py?restart=1", body=b"print(1)")

    assert reply.json() == {"name": "main.py", "bytes": 8, "restart": True}
    assert machine.resets == before

    async def until_reset():
        while machine.resets == before:
            await asyncio.sleep(0.01)

    client.run(until_reset())
    assert rests == [before]

"""Events, pins, radio, applications in applications: what is used when it is needed."""

import json

from microfastapi import MicroFastApi, TestClient, Wifi
from microfastapi.stream import Events, pack


def test_who_listens_is_told_and_who_is_slow_loses_the_oldest():
    events = Events(most=2)
    fast, slow = [], []
    events.listeners += [fast, slow]
    for number in range(3):
        events.tell("reading", {"n": number})
        fast.clear() if number == 0 else None
    assert [json.loads(text)["n"] for _, text in slow] == [1, 2]
    assert [json.loads(text)["n"] for _, text in fast] == [1, 2]


def test_a_frame_is_msgpack():
    assert pack([1, "é", None, True, {"a": 1.5}]) == (
        b"\xdd\0\0\0\x05\xd3\0\0\0\0\0\0\0\x01\xdb\0\0\0\x02\xc3\xa9\xc0\xc3\xdf\0\0\0\x01\xdb\0\0\0\x01a\xcb?\xf8\0\0\0\0\0\0"
    )


def test_routes_of_another_application_are_taken_over():
    outer, inner = MicroFastApi(), MicroFastApi()

    @inner.get("/x/{number}")
    def x(number: int):
        return number

    outer.include(inner, "/inner")
    assert TestClient(outer).get("/inner/x/3").json() == 3


def test_wifi_on_a_computer_is_the_loopback():
    wifi = Wifi(ssid="lab", password="x").connect()
    assert wifi.ip == "127.0.0.1"
    assert "127.0.0.1" in str(wifi)


def test_pins_remember_and_interrupt():
    import microfastapi.simulated

    microfastapi.simulated.install()
    from machine import Pin

    seen = []
    pin = Pin(4, Pin.IN)
    pin.irq(lambda pin: seen.append(pin.value()), Pin.IRQ_RISING)
    Pin.all[4].value(1)
    Pin.all[4].value(0)
    assert seen == [1]
    assert Pin(4).history == [1, 0]


def test_a_handler_nobody_can_read_is_an_error_that_names_the_cure():
    app = MicroFastApi()

    @app.get("/items/{number}")
    def wrong(other):
        return other

    try:
        app.prepare()
    except ValueError as error:
        assert "wrong has no parameter number" in str(error)
    else:
        raise AssertionError("accepted")

"""Several instruments on one board, and drivers whose methods block."""

from microfastapi import MicroFastApi, TestClient


def test_a_plain_action_may_have_the_second_core():
    class Balance:
        def weigh(self) -> float:
            return 12.5

        def fail(self) -> float:
            raise OSError(5)

    app = MicroFastApi()
    app.instrument(Balance(), ledger=None, thread=True)
    client = TestClient(app)
    assert client.post("/actions/weigh").json()["result"] == 12.5
    assert client.post("/actions/fail").status_code == 502


def test_several_instruments_have_a_place_each():
    class Lamp:
        on = False

    app = MicroFastApi()
    app.instrument(Lamp(), "left", prefix="/left", ledger=None)
    app.instrument(Lamp(), "right", prefix="/right", ledger=None)
    client = TestClient(app)
    assert client.get("/left").json()["name"] == "left"
    assert client.get("/right/health").json()["status"] == "idle"
    assert client.get("/right").json()["links"]["events"] == "/right/events"

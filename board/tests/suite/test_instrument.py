"""The instrument contract: what is offered, the caller's id, the answers that are remembered, stopping, leases."""

import asyncio

from pump_board import Pump

from microfastapi import MicroFastApi, TestClient
from microfastapi.clock import new_id


def board(file=None, **facts):
    app = MicroFastApi(**facts)
    pump = Pump()
    pump.instrument = app.instrument(pump, name="pump", ledger=file)
    return TestClient(app), pump


def dispense(client, identity, volume=1.0, **headers):
    return client.put("/actions/dispense/" + identity, {"volume": volume}, headers=headers)


def later(client):
    client.run(asyncio.sleep(0.02))


def test_what_is_offered_is_described_with_units_limits_and_effects():
    client, _ = board()
    offer = client.get("/").json()
    assert (offer["name"], offer["title"], offer["stop"]) == ("pump", "Pump", True)
    assert sorted(offer["attributes"]) == ["pressure", "serial", "volume"]
    volume = offer["attributes"]["volume"]
    assert volume["schema"] == {"type": "number", "unit": "mL", "minimum": 0, "maximum": 10}
    assert (volume["writable"], volume["description"]) == (True, "In the syringe.")
    assert offer["attributes"]["serial"]["writable"] is False
    assert sorted(offer["actions"]) == ["dispense", "measure", "move_to"]
    action = offer["actions"]["dispense"]
    assert (action["effect"], action["exclusive"], action["description"]) == ("once", True, "Push so much out.")
    assert action["parameters"]["volume"] == {"schema": volume["schema"], "required": True}
    assert action["parameters"]["speed"]["schema"]["default"] == 1.5
    assert action["stream"] is None
    assert offer["actions"]["move_to"]["effect"] == "absolute"
    assert offer["actions"]["measure"]["stream"]["flow"] == {"type": "number", "unit": "mL/s"}


def test_attributes_are_read_with_unit_time_and_status():
    client, _ = board()
    reading = client.get("/attributes/volume").json()
    assert (reading["value"], reading["unit"], reading["status"]) == (5.0, "mL", "ok")
    assert reading["time"].endswith("Z")
    readings = client.get("/attributes").json()
    assert readings["serial"]["value"] == "P-7"
    assert readings["pressure"]["status"] == "error"
    assert client.get("/attributes/nothing").status_code == 404


def test_an_attribute_is_set_within_its_limits():
    client, pump = board()
    assert client.put("/attributes/volume", {"value": 7}).json()["value"] == 7
    assert pump.volume == 7
    reply = client.put("/attributes/volume", {"value": 11})
    assert (reply.status_code, reply.json()["type"]) == (422, "urn:labretto:error:LimitError")
    assert "10" in reply.json()["detail"]
    assert client.put("/attributes/serial", {"value": "x"}).status_code == 409
    assert pump.volume == 7


def test_an_action_answers_at_its_end_and_its_id_asked_again_does_nothing_twice():
    client, pump = board()
    identity = new_id()
    first = dispense(client, identity)
    assert first.status_code == 200, first.content
    answer = first.json()
    assert (answer["id"], answer["state"], answer["result"], answer["effect"]) == (identity, "succeeded", 4.0, "once")
    assert dispense(client, identity).json() == answer
    assert client.get("/actions/dispense/" + identity).json() == answer
    assert pump.dispensed == 1
    assert dispense(client, identity, 2.0).status_code == 409
    assert pump.dispensed == 1


def test_without_an_id_the_board_makes_one():
    client, _ = board()
    answer = client.post("/actions/move_to", {"position": 4}).json()
    assert (answer["state"], answer["result"]) == ("succeeded", 4)
    assert client.get("/actions/move_to/" + answer["id"]).json()["state"] == "succeeded"


def test_who_does_not_wait_gets_202_and_a_place_to_look():
    client, pump = board()
    identity = new_id()
    reply = dispense(client, identity, Prefer="respond-async")
    assert (reply.status_code, reply.headers["location"]) == (202, "/actions/dispense/" + identity)
    assert reply.json()["state"] == "running"
    later(client)
    health = client.get("/health").json()
    assert (health["status"], health["running"]["id"]) == ("busy", identity)
    assert client.get("/attributes/volume").json()["status"] == "ok"
    assert dispense(client, identity).json()["state"] == "succeeded"
    assert client.get("/health").json()["status"] == "idle"
    assert pump.dispensed == 1


def test_a_busy_instrument_refuses_another_action_and_says_what_runs():
    client, _ = board()
    identity = new_id()
    dispense(client, identity, Prefer="respond-async")
    reply = client.post("/actions/move_to", {"position": 1})
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:labretto:error:BusyError")
    assert reply.json()["running"] == identity
    assert dispense(client, identity).status_code == 200


def test_wrong_parameters_are_refused_all_at_once_and_nothing_moves():
    client, pump = board()
    reply = client.put("/actions/dispense/" + new_id(), {"speed": 0, "depth": 1})
    problem = reply.json()
    assert (reply.status_code, problem["type"]) == (422, "urn:labretto:error:InvalidError")
    assert len(problem["faults"]) == 3, problem
    reply = dispense(client, new_id(), 11)
    assert reply.json()["type"] == "urn:labretto:error:LimitError"
    assert client.put("/actions/dispense/not-a-uuid", {"volume": 1}).status_code == 422
    assert client.post("/actions/fly").status_code == 404
    assert pump.dispensed == 0


def test_a_drivers_error_is_502_with_the_invocation():
    client, _ = board()
    identity = new_id()
    reply = client.put("/actions/move_to/" + identity, {"position": 13})
    problem = reply.json()
    assert (reply.status_code, problem["type"]) == (502, "urn:labretto:error:DriverError")
    assert "no port 13" in problem["detail"]
    assert "ValueError" in problem["traceback"]
    assert (problem["invocation"]["id"], problem["invocation"]["state"]) == (identity, "failed")
    assert client.get("/actions/move_to/" + identity).json()["error"]["detail"] == problem["detail"]


def test_a_measurement_is_told_row_by_row_and_ends_as_columns():
    client, pump = board()
    listener = []
    pump.instrument.events.listeners.append(listener)
    answer = client.post("/actions/measure", {"points": 3}).json()
    assert answer["result"] == {"time": [0.0, 0.5, 1.0], "flow": [1.0, 1.0, 1.0]}
    told = [text for topic, text in listener if topic == "stream"]
    assert len(told) == 3
    assert b'"row": 2' in told[2]


def test_stop_calls_the_driver_while_an_action_runs():
    client, pump = board()
    identity = new_id()
    dispense(client, identity, Prefer="respond-async")
    later(client)
    answer = client.post("/stop").json()
    assert answer["stopped"] is True
    assert pump.stopped == 1
    reply = dispense(client, identity)
    assert (reply.status_code, reply.json()["invocation"]["state"]) == (409, "cancelled")
    assert pump.volume == 5.0
    assert client.get("/health").json()["status"] == "idle"


def test_a_running_action_is_cancelled_also_before_its_first_step():
    for wait in (False, True):
        client, _ = board()
        identity = new_id()
        dispense(client, identity, Prefer="respond-async")
        if wait:
            later(client)
        reply = client.delete("/actions/dispense/" + identity)
        assert reply.status_code == 202
        later(client)
        assert client.get("/actions/dispense/" + identity).json()["state"] == "cancelled"
        assert client.delete("/actions/dispense/" + identity).status_code == 409


def test_without_a_stop_nothing_pretends():
    class Mute:
        pass

    app = MicroFastApi()
    app.instrument(Mute(), ledger=None)
    client = TestClient(app)
    assert client.get("/").json()["stop"] is False
    assert client.post("/stop").status_code == 501


def test_a_lower_lease_number_is_refused():
    client, pump = board()
    lease = {"Labretto-Lease": "17"}
    assert client.put("/attributes/volume", {"value": 3}, headers=lease).status_code == 200
    reply = client.put("/attributes/volume", {"value": 4}, headers={"Labretto-Lease": "16"})
    assert (reply.status_code, reply.json()["type"]) == (409, "urn:labretto:error:LeaseError")
    reply = client.post("/actions/move_to", {"position": 1}, headers={"Labretto-Lease": "16"})
    assert reply.status_code == 409
    assert pump.volume == 3


def test_what_nobody_asked_for_has_not_arrived():
    client, _ = board()
    assert client.get("/actions/dispense/" + new_id()).json()["state"] == "not arrived"
    old = "00000000-0000-7000-8000-000000000000"
    assert client.get("/actions/dispense/" + old).json()["state"] == "cannot tell"

"""The face that stands before an adopted driver: one talk at a time, and stopping that does not wait for ever."""

import threading
from typing import Any

from labretto.instrument.adopt.face import face_of
from labretto.instrument.adopt.offering import Method, Offering, Value, identifier
from labretto.instrument.describe import describe

PATIENCE = 20.0
"""Seconds after which a test fails instead of hanging."""


class Valve:
    """A driver whose question can be held up."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answered = threading.Event()
        self.log: list[str] = []

    def ask(self) -> float:
        self.asked.set()
        assert self.answered.wait(PATIENCE)
        self.log.append("answered")
        return 1.0

    def stop(self) -> None:
        self.log.append("stopped")
        self.answered.set()


OFFERING = Offering([Value("pressure", Valve.ask, float)], stop=Valve.stop)


def test_stopping_goes_past_a_question_that_is_not_answered() -> None:
    valve = Valve()
    face: Any = face_of(Valve, OFFERING)(valve)
    stopping = threading.Thread(target=lambda: valve.asked.wait(PATIENCE) and face.stop())
    stopping.start()

    assert face.pressure == 1.0
    stopping.join(PATIENCE)
    assert valve.log == ["stopped", "answered"]


def test_stopping_lets_a_question_that_is_going_on_be_answered_first() -> None:
    valve = Valve()
    face: Any = face_of(Valve, OFFERING)(valve)
    valve.answered.set()
    stopping = threading.Thread(target=face.stop)

    assert face.pressure == 1.0
    stopping.start()
    stopping.join(PATIENCE)
    assert valve.log == ["answered", "stopped"]


def test_a_face_is_described_as_the_driver_behind_it() -> None:
    described = describe(face_of(Valve, OFFERING), name="valve").description
    assert (described.title, described.driver) == ("Valve", f"{__name__}:Valve")
    assert described.description == "A driver whose question can be held up."


def test_of_two_things_with_one_name_the_first_keeps_it() -> None:
    def call(driver: Any) -> None:
        raise AssertionError("the attribute has this name")

    described = describe(face_of(Valve, Offering(OFFERING.values, [Method("pressure", call)])), name="valve")
    assert set(described.description.attributes) == {"pressure"}
    assert not described.description.actions


def test_names_fit_into_python_urls_and_experiments() -> None:
    assert identifier("ch_1", "voltage") == "ch_1_voltage"
    assert identifier("output 2", "P-factor") == "output_2_P_factor"
    assert identifier("1", "x") == "n1_x"

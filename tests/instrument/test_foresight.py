"""What is known of an action before it is done: said by its class or its lab, refused where it does not fit."""

from typing import Annotated

import pytest
from annotated_types import Unit

from labretto.errors import InvalidError
from labretto.instrument.describe import Description, describe
from labretto.instrument.foresight import foresee
from labretto.instrument.overlay import Overlay
from labretto.instrument.simulated.pump import Pump


class Burette:
    """A burette that somebody else wrote."""

    @property
    def left(self) -> Annotated[float, Unit("mL")]:
        """In it."""
        return 10.0

    @property
    def size(self) -> Annotated[float, Unit("mL")]:
        """When it is full."""
        return 50.0

    @foresee(seconds=2.0)
    def drop(self, amount: float) -> None:
        """Let out an amount."""

    def fill(self) -> None:
        """Fill it up."""


def test_what_a_class_says_of_an_action_is_in_its_description_and_survives_the_wire():
    described = describe(Pump, name="pump").description

    again = Description.from_dict(described.as_dict())

    assert again == described
    assert again.actions["dispense"].consumes == {"remaining": "volume"}
    assert again.actions["refill"].refills == {"remaining": "capacity"}


def test_an_action_of_which_nothing_is_said_has_no_words_for_it_in_its_description():
    words = describe(Burette, name="burette").description.as_dict()["actions"]["fill"]

    assert not {"expected_seconds", "consumes", "refills"} & set(words)


def test_what_the_lab_says_comes_before_what_the_class_says():
    said = Overlay(expected={"drop": 5}, consumes={"drop": {"left": "amount"}}, refills={"fill": {"left": 50}})

    actions = describe(Burette, name="burette", overlay=said).description.actions

    assert (actions["drop"].expected_seconds, actions["drop"].consumes) == (5, {"left": "amount"})
    assert actions["fill"].refills == {"left": 50}
    assert describe(Burette, name="burette").description.actions["drop"].expected_seconds == 2.0


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        (Overlay(consumes={"drop": {"lefft": "amount"}}), "Burette.drop consumes 'lefft', which is no attribute."),
        (
            Overlay(consumes={"drop": {"left": "amont"}}),
            "Burette.drop consumes 'amont' of left, which is no parameter.",
        ),
        (Overlay(refills={"fill": {"left": "sise"}}), "Burette.fill refills 'sise' of left, which is no attribute."),
        (Overlay(consumes={"drop": {"left": -1}}), "Burette.drop consumes -1 of left, which is no parameter."),
        (Overlay(expected={"drop": -1}), "Burette.drop: -1 is no number of seconds."),
        (Overlay(expected={"dorp": 1}), "Burette has no 'dorp', which `expected` names."),
    ],
)
def test_what_does_not_fit_the_driver_is_refused(overlay: Overlay, said: str):
    with pytest.raises(InvalidError) as refused:
        describe(Burette, name="burette", overlay=overlay)

    assert [fault["detail"] for fault in refused.value.faults] == [said]

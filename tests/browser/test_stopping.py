"""Pause, resume, abort and cancel in the page, while an action blocks in a driver that ignores everything."""

from playwright.sync_api import Page, expect

from .conftest import Hub
from .test_page import LONG_MOVE, instrument, open_run

DEAF = """
name: deaf
steps:
  - do: dispenser.dispense
    with: {{volume: 20, seconds: {seconds}}}
  - do: dispenser.dispense
    with: {{volume: 21}}
finally:
  - do: dispenser.dispense
    with: {{volume: 22}}
"""


def begun(hub: Hub, page: Page, seconds: float) -> str:
    """A run that dispenses now, shown on its page."""
    run = hub.submit(DEAF.format(seconds=seconds))
    expect(instrument(page, "dispenser")).to_contain_text("busy")
    expect(open_run(page, run)).to_have_text("running")
    return run


def dispensed(hub: Hub, run: str) -> list[int]:
    told = hub.ask("GET", f"runs/{run}")
    assert isinstance(told, dict)
    return [step["parameters"]["volume"] for step in told["steps"]]


def test_a_run_whose_driver_ignores_everything_is_paused_before_its_next_step_and_resumed(hub: Hub, page: Page) -> None:
    run = begun(hub, page, 3)

    page.get_by_role("button", name="Cancel dispenser.dispense").click()
    expect(page.get_by_role("alert").filter(has_text="blocks in its driver")).to_be_visible()
    page.get_by_role("button", name="Pause").first.click()
    expect(page.get_by_role("status", name="State of the run")).to_have_text("paused")
    assert dispensed(hub, run) == [20]
    page.get_by_role("button", name="Resume").first.click()

    expect(page.get_by_role("status", name="State of the run")).to_have_text("succeeded")
    assert dispensed(hub, run) == [20, 21, 22]


def test_a_run_whose_driver_ignores_everything_is_aborted_after_its_step_and_cleans_up(hub: Hub, page: Page) -> None:
    run = begun(hub, page, 2)

    page.get_by_role("button", name="Abort").first.click()

    expect(page.get_by_role("status", name="State of the run")).to_have_text("aborted")
    assert dispensed(hub, run) == [20, 22]


def test_one_action_is_cancelled_and_the_run_asks_what_became_of_it(hub: Hub, page: Page) -> None:
    hub.ask("POST", "instruments/stage/actions/move", {"x": 0, "y": 0})
    run = hub.submit(LONG_MOVE)
    expect(instrument(page, "stage")).to_contain_text("moving" + "yes")
    open_run(page, run)

    page.get_by_role("button", name="Cancel stage.move").click()

    question = page.get_by_role("form", name="long move asks")
    expect(question).to_contain_text("was stopped before its end")
    question.get_by_role("radio", name="skip").check()
    question.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("status", name="State of the run")).to_have_text("succeeded")

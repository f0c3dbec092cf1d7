"""Pause, resume, abort, cancel and halt in the page, while an action blocks in a driver that ignores everything."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

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

BURNING = """
name: burning
steps:
  - do: deaf.burn
  - do: balance.tare
finally:
  - do: deaf.burn
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


@pytest.fixture
def plug(hub: Hub) -> Iterator[Path]:
    """The only thing that ends what `deaf` does."""
    plug = hub.folder / "plug"
    plug.unlink(missing_ok=True)
    yield plug
    plug.touch()


def burning(hub: Hub, page: Page) -> Locator:
    """A run whose action blocks, shown on its page; answers where its state stands."""
    run = hub.submit(BURNING)
    expect(instrument(page, "deaf")).to_contain_text("busy")
    state = open_run(page, run)
    expect(state).to_have_text("running")
    return state


def test_halt_answers_while_an_action_and_its_stop_block_and_says_who_did_not_stop(
    hub: Hub, page: Page, plug: Path
) -> None:
    state = burning(hub, page)

    page.get_by_role("button", name="Halt").click()

    notice = page.get_by_role("alert").filter(has_text="Halted")
    expect(notice.get_by_role("listitem").first).to_contain_text(re.compile("not stopped"))
    expect(notice).to_contain_text(re.compile(r"deaf not stopped"))
    expect(notice).to_contain_text(re.compile(r"dispenser stopped in \d"))
    expect(page.get_by_role("button", name=re.compile("^Halt "))).to_be_enabled()
    page.goto("/#/")
    expect(instrument(page, "deaf")).to_contain_text("busy")
    page.go_back()
    plug.touch()
    expect(state).to_have_text("paused")
    expect(page.get_by_role("region", name="Steps")).not_to_contain_text("balance.tare")

    page.get_by_role("button", name="Reset the halt").click()
    expect(notice).to_be_hidden()
    question = page.get_by_role("form", name="burning asks")
    question.get_by_role("radio", name="skip").check()
    question.get_by_role("button", name="Answer").click()
    expect(state).to_have_text("succeeded")


def test_pause_abort_and_cancel_say_in_every_browser_what_comes_while_an_action_ignores_them(
    hub: Hub, page: Page, browser: Browser, plug: Path
) -> None:
    state = burning(hub, page)
    other = browser.new_page()
    other.goto(page.url)

    page.get_by_role("button", name="Cancel deaf.burn").click()
    expect(page.get_by_role("alert").filter(has_text="blocks in its driver")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(other.get_by_text("It pauses before its next step")).to_be_visible()
    other.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    other.get_by_role("button", name="Abort").click()
    expect(page.get_by_text("It ends: what it does now is waited for")).to_be_visible()
    expect(page.get_by_role("button", name="End the clean-up too")).to_be_visible()
    expect(state).to_have_text("running")

    plug.touch()
    expect(state).to_have_text("aborted")
    other.close()

"""The page of one run: all of its steps, on what terms it was submitted, its curves in their order."""

import re

from playwright.sync_api import Page, expect

from .conftest import Hub
from .test_page import TWO_CURVES, open_run

MANY_STEPS = """
name: many steps
steps:
  - repeat: 1250
    steps:
      - read: balance.weight
"""

ASKING = "name: asking\nsteps:\n  - ask: Is the film loaded?\n"


def test_the_steps_of_a_long_run_are_shown_back_to_its_first(hub: Hub, page: Page) -> None:
    run = hub.submit(MANY_STEPS)
    hub.ask("GET", f"runs/{run}/wait?timeout=60")
    open_run(page, run)
    steps = page.get_by_role("region", name="Steps")
    earlier = steps.get_by_role("button", name="Earlier steps")

    for shown in range(40, 1250, 200):
        expect(steps).to_contain_text(f"the last {shown} of 1250")
        earlier.click()

    expect(earlier).to_have_count(0)
    expect(steps.get_by_role("listitem")).to_have_count(1250)
    expect(steps.get_by_role("listitem").last).to_contain_text("repeat[0]/")
    expect(steps.get_by_role("listitem").nth(1100)).to_contain_text("repeat[149]/")


def test_a_run_that_has_begun_shows_its_labels_its_priority_and_its_turn(hub: Hub, page: Page) -> None:
    run = hub.ask("POST", "runs", {"experiment": ASKING, "labels": ["film", "night"], "priority": 3, "again": 2})
    assert isinstance(run, dict)
    state = open_run(page, run["id"])

    expect(state).to_have_text("waiting")
    head = page.get_by_role("main")
    for words in ("film", "night", "priority 3", "turn 1 of 3"):
        expect(head.get_by_text(words, exact=True)).to_be_visible()
    head.get_by_role("button", name="End after this turn").click()
    expect(head.get_by_role("button", name="End after this turn")).to_have_count(0)
    told = hub.ask("GET", f"runs/{run['id']}")
    assert isinstance(told, dict)
    assert told["again"] == 0


def test_curves_stand_in_the_order_in_which_they_were_measured_also_after_a_reload(hub: Hub, page: Page) -> None:
    run = hub.submit(TWO_CURVES.replace("scan_rate: 1.0", "scan_rate: 0.05"))
    open_run(page, run)
    legend = page.get_by_role("list", name="Curves").get_by_role("button")
    expect(legend).to_have_text(["0.3", "0.4"])

    page.reload()

    expect(page.locator("[data-points]")).to_have_attribute("data-points", re.compile(r"\d{2}"))
    expect(legend).to_have_text(["0.3", "0.4"])


def test_from_the_keyboard_a_run_is_paused_and_resumed_with_one_key(hub: Hub, page: Page) -> None:
    run = hub.submit(ASKING)
    state = open_run(page, run)
    expect(state).to_have_text("waiting")
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    page.keyboard.press("Enter")
    expect(pause).to_be_focused()


def test_every_button_and_field_has_a_name_and_shows_the_focus(hub: Hub, page: Page) -> None:
    run = hub.submit(ASKING)
    for view in ("/#/", f"/#/runs/{run}", "/#/instruments/stage", "/#/tasks", "/#/records"):
        page.goto(view)
        expect(page.get_by_role("heading", level=1)).to_be_attached()
        for kind in ("button", "textbox", "combobox", "checkbox", "link"):
            expect(page.get_by_role(kind, name=re.compile("^$"))).to_have_count(0)
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) != "none"


def test_of_many_questions_three_are_asked_on_the_overview_and_the_others_are_tasks(hub: Hub, page: Page) -> None:
    for _ in range(5):
        hub.submit(ASKING)
    expect(page.get_by_role("form", name="asking asks")).to_have_count(3)
    page.get_by_role("link", name="2 more runs ask something").click()
    expect(page.get_by_role("form", name="asking asks")).to_have_count(5)

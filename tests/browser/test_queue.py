"""The queue on the page: what a scientist does to the night's runs, with the mouse and without."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Hub

SCAN = """name: {name}
parameters:
  x: {{default: 10, unit: mm, minimum: 0, maximum: 100}}
steps:
  - do: stage.move
    with: {{x: "${{x}}", y: 1}}
"""


@pytest.fixture
def waiting(hub: Hub) -> Iterator[list[str]]:
    """Three runs in a queue that is stopped: first, second, third."""
    hub.ask("POST", "queue/stop")
    yield [hub.submit(SCAN.format(name=name)) for name in ("first", "second", "third")]
    hub.ask("POST", "queue/start")


def rows(page: Page) -> Locator:
    return page.get_by_role("region", name="Queue and latest runs").locator("tbody tr[draggable=true]")


def order(page: Page, *names: str) -> None:
    """The runs that wait are these, in this order."""
    expect(rows(page).get_by_role("link")).to_have_text(list(names))


def button(page: Page, words: str) -> Locator:
    return page.get_by_role("button", name=words, exact=True)


def test_runs_are_put_into_order_from_the_keyboard(waiting: list[str], page: Page) -> None:
    order(page, "first", "second", "third")
    up = button(page, "Move up third")
    up.focus()
    page.keyboard.press("Enter")
    order(page, "first", "third", "second")
    expect(up).to_be_focused()
    expect(page.get_by_role("status", name="Last move")).to_have_text("third is now 2 of 3.")
    page.keyboard.press("Enter")
    order(page, "third", "first", "second")
    expect(up).to_be_disabled()
    expect(button(page, "Move down third")).to_be_focused()


def test_a_run_is_dragged_to_another_place(waiting: list[str], page: Page) -> None:
    order(page, "first", "second", "third")
    third = rows(page).nth(2).bounding_box()
    assert third is not None
    rows(page).nth(0).drag_to(rows(page).nth(2), target_position={"x": 200, "y": third["height"] - 5})
    order(page, "second", "third", "first")


def test_of_a_long_queue_the_first_are_shown_until_all_are_asked_for(waiting: list[str], hub: Hub, page: Page) -> None:
    for number in range(12):
        hub.submit(SCAN.format(name=f"scan {number}"))
    expect(rows(page)).to_have_count(12)
    button(page, "3 more of the queue").click()
    expect(rows(page)).to_have_count(15)
    button(page, "Only the first 12 of the queue").click()
    expect(rows(page)).to_have_count(12)


def test_what_another_moves_is_seen_here(waiting: list[str], hub: Hub, page: Page) -> None:
    order(page, "first", "second", "third")
    hub.ask("POST", f"runs/{waiting[2]}/move", {"where": "first"})
    order(page, "third", "first", "second")


def test_a_run_is_held_and_released(waiting: list[str], page: Page) -> None:
    button(page, "Hold second").click()
    expect(rows(page).nth(1)).to_contain_text("held")
    expect(rows(page).nth(1)).to_contain_text("Held by")
    button(page, "Release second").click()
    expect(button(page, "Hold second")).to_be_visible()


def test_a_run_is_removed(waiting: list[str], page: Page) -> None:
    button(page, "Remove first").click()
    order(page, "second", "third")


def test_a_run_is_edited_in_a_form_made_of_its_parameters(waiting: list[str], hub: Hub, page: Page) -> None:
    button(page, "Edit second").click()
    form = page.get_by_role("form", name="Edit second")
    expect(form.get_by_label("x (mm)")).to_have_value("10")
    form.get_by_label("x (mm)").fill("150")
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("alert")).to_have_text("x must be at most 100 mm.")
    form.get_by_label("x (mm)").fill("42")
    form.get_by_label("Name").fill("night scan")
    form.get_by_label("Priority").fill("5")
    form.get_by_label("Labels").fill("film, night")
    form.get_by_label("Again until told").check()
    form.get_by_role("button", name="Save").click()

    order(page, "night scan", "first", "third")
    expect(rows(page).nth(0)).to_contain_text("priority 5")
    expect(rows(page).nth(0)).to_contain_text("film")
    expect(rows(page).nth(0)).to_contain_text("turn 1 of ∞")
    run = hub.ask("GET", f"runs/{waiting[1]}")
    assert isinstance(run, dict)
    assert (run["parameters"], run["labels"], run["again"]) == ({"x": 42}, ["film", "night"], None)


def test_who_edits_what_was_changed_meanwhile_is_told(waiting: list[str], hub: Hub, page: Page) -> None:
    button(page, "Edit third").click()
    form = page.get_by_role("form", name="Edit third")
    expect(form.get_by_label("x (mm)")).to_have_value("10")
    hub.ask("PATCH", f"runs/{waiting[2]}", {"labels": ["theirs"]})
    form.get_by_label("Priority").fill("1")
    form.get_by_role("button", name="Save").click()

    expect(form.get_by_role("alert")).to_contain_text("was changed meanwhile")


def test_the_queue_is_started_and_stopped(waiting: list[str], page: Page) -> None:
    expect(page.get_by_role("status", name="Why nothing begins")).to_contain_text("The queue was stopped")
    button(page, "Start the queue").click()
    expect(rows(page)).to_have_count(0)
    expect(button(page, "Stop the queue")).to_be_visible()
    expect(page.get_by_role("status", name="Why nothing begins")).to_have_count(0)


def test_an_experiment_is_submitted_with_its_parameters_and_on_terms(waiting: list[str], page: Page) -> None:
    page.get_by_label("Experiment, as YAML").fill(SCAN.format(name="fourth"))
    x = page.get_by_role("group", name="Parameters").get_by_label("x (mm)")
    expect(x).to_have_value("10")
    x.fill("7")
    page.get_by_text("When, in which order, how often").click()
    page.locator(".submit").get_by_label("Priority").fill("3")
    page.locator(".submit").get_by_label("Labels").fill("glass")
    page.get_by_role("button", name="Submit", exact=True).click()

    order(page, "fourth", "first", "second", "third")
    expect(rows(page).nth(0)).to_contain_text("glass")
    rows(page).nth(0).get_by_role("link").click()
    expect(page.get_by_role("region", name="About this run")).to_contain_text(re.compile(r"x\s*7"))


def test_a_run_of_before_is_done_again(hub: Hub, page: Page) -> None:
    run = hub.submit(SCAN.format(name="once more"))
    hub.ask("GET", f"runs/{run}/wait?timeout=20")
    page.goto(f"/#/runs/{run}")
    button(page, "Run again once more").click()

    expect(page).not_to_have_url(re.compile(run))
    expect(page.get_by_role("status", name="State of the run")).to_have_text("succeeded")

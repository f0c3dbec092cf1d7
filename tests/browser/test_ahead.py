"""What lies ahead on the page: the forecast before a submission, what became of it, and schedules."""

from typing import Any

from playwright.sync_api import Browser, Page, expect

from .conftest import Hub

LOOK = """
name: a look ahead
steps:
  - do: stage.move
    with: {x: 1, y: 1}
  - ask: Is the sample in place?
"""
MOVE = "name: a move\nsteps:\n  - do: stage.move\n    with: {x: 2, y: 2}\n"


def test_before_it_is_submitted_a_run_is_foreseen(hub: Hub, page: Page):
    page.goto(hub.url)
    page.get_by_label("Experiment, as YAML").fill(LOOK)

    foreseen = page.get_by_role("region", name="Forecast")
    expect(foreseen.get_by_text("Is the sample in place?")).to_be_visible()
    expect(foreseen.get_by_text("Submitted now it begins")).to_be_visible()


def test_a_run_that_is_over_shows_what_was_foreseen_and_what_happened(hub: Hub, page: Page):
    run = hub.submit(MOVE)
    hub.ask("GET", f"runs/{run}/wait?timeout=30")
    page.goto(f"{hub.url}/#/runs/{run}")

    panel = page.get_by_role("region", name="Foreseen and happened")
    expect(panel.get_by_text("It took")).to_be_visible()
    expect(panel.get_by_role("rowheader", name="stage")).to_be_visible()


def test_an_experiment_is_scheduled_and_other_pages_show_it_held_and_forgotten(hub: Hub, page: Page, browser: Browser):
    page.get_by_label("Experiment, as YAML").fill(MOVE)
    page.get_by_text("At its times: a schedule").click()
    page.get_by_label("Times").fill("every now and then")
    page.get_by_role("button", name="Schedule", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="says no time")).to_contain_text("every day 02:00")
    page.get_by_label("Times").fill("every day 02:00")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Name of the schedule").fill("nightly move")
    page.get_by_label("Finish within").fill("2")
    other = browser.new_page()
    other.goto(hub.url)
    expect(other.get_by_role("status", name="Connection")).to_have_text("live")
    page.get_by_label("Finish within").press("Enter")

    expect(page.get_by_text("Scheduled: nightly move, first")).to_be_visible()
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_visible()
    (schedule,) = schedules(hub)
    assert (schedule["missed"], schedule["submission"]["finish_within"]) == ("late", 7200.0)
    panel, seen = (each.get_by_role("region", name="Schedules") for each in (page, other))
    expect(seen.get_by_text("every day 02:00 (Europe/Berlin)")).to_be_visible()
    panel.get_by_role("button", name="Hold nightly move").click()
    expect(seen.get_by_text("held", exact=True)).to_be_visible()
    seen.get_by_role("button", name="Release nightly move").click()
    expect(panel.get_by_text("held", exact=True)).to_be_hidden()
    panel.get_by_role("button", name="Forget nightly move").click()
    expect(panel).to_be_hidden()
    expect(seen).to_be_hidden()
    assert schedules(hub) == []
    other.close()


def schedules(hub: Hub) -> list[dict[str, Any]]:
    found = hub.ask("GET", "schedules")
    assert isinstance(found, list)
    return found

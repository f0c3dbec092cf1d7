"""What lies ahead on the page: the forecast before a submission, what became of it, and schedules."""

from playwright.sync_api import Page, expect

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


def test_a_schedule_is_shown_held_and_forgotten(hub: Hub, page: Page):
    words = {
        "rule": "every day 02:00",
        "zone": "Europe/Berlin",
        "name": "nightly move",
        "submission": {"experiment": MOVE},
    }
    hub.ask("POST", "schedules", words)
    page.goto(hub.url)

    panel = page.get_by_role("region", name="Schedules")
    expect(panel.get_by_text("every day 02:00 (Europe/Berlin)")).to_be_visible()
    panel.get_by_role("button", name="Hold nightly move").click()
    expect(panel.get_by_text("held", exact=True)).to_be_visible()
    panel.get_by_role("button", name="Forget nightly move").click()
    expect(panel).to_be_hidden()

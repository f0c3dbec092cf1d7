"""What people have to do, in a real browser: forms of a run's questions, files, and tasks that somebody puts down."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from labretto.orchestrator.client import Hub

EXPERIMENT = """
name: weighing
steps:
  - parallel:
      left:
        - ask: Weigh the film
          name: film
          fields:
            mass: {type: number, unit: mg, minimum: 0}
            batch: [north, south]
            photo: file
        - save: {mass: "${film.mass}", photo: "${film.photo}"}
      right:
        - {ask: Open the valve, name: valve}
        - {ask: "Go on?", name: on, choices: [yes, no]}
"""


@pytest.fixture
def page(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(20_000)
    return page


def test_two_questions_of_one_run_are_answered_with_their_forms(command_line: Any, page: Page, tmp_path: Path):
    file = command_line.folder / "weighing.yaml"
    file.write_text(EXPERIMENT)
    photo = tmp_path / "film.png"
    photo.write_bytes(b"\x89PNG")
    with command_line.hub("--port", "0") as url, Hub(url) as hub:
        run = hub.submit(file)
        page.goto(url)
        weigh = page.get_by_role("form", name="weighing asks").filter(has_text="Weigh the film")
        valve = page.get_by_role("form", name="weighing asks").filter(has_text="Open the valve")

        valve.get_by_role("button", name=re.compile("Answer|Done")).click()
        expect(valve).to_be_hidden()
        choice = page.get_by_role("form", name="weighing asks").filter(has_text="Go on?")
        choice.get_by_role("radio", name="yes").check()
        choice.get_by_role("button", name="Answer").click()
        expect(choice).to_be_hidden()

        weigh.get_by_label(re.compile("^mass")).fill("-1")
        weigh.get_by_role("button", name="Answer").click()
        expect(weigh.get_by_role("alert").first).to_contain_text("mass must be at least 0 mg")
        weigh.get_by_label(re.compile("^mass")).fill("12.5")
        weigh.get_by_label("batch").select_option("north")
        weigh.get_by_label("photo").set_input_files(photo)
        weigh.get_by_label(re.compile("^Why")).fill("scales")
        weigh.get_by_role("button", name="Answer").click()

        assert run.wait(30).state == "succeeded"
        expect(weigh).to_be_hidden()
        (task,) = hub.tasks(text="Weigh")
        assert (task["answer"]["mass"], task["answer"]["photo"], task["why"]) == (12.5, "files/film.png", "scales")


def test_a_task_is_put_down_is_overdue_and_is_done(command_line: Any, page: Page):
    with command_line.hub("--port", "0") as url, Hub(url) as hub:
        page.goto(f"{url}/#/tasks")
        form = page.get_by_role("form", name="Put a task down")
        form.get_by_label("Title").fill("Order argon")
        form.get_by_role("button", name="Add").click()
        expect(form.get_by_role("alert")).to_contain_text("description is needed")
        form.get_by_label("Description").fill("Two bottles")
        form.get_by_label("Due").fill("2026-01-01")
        form.get_by_role("button", name="Add").click()

        entry = page.get_by_role("listitem").filter(has_text="Order argon")
        expect(entry).to_contain_text("overdue since 2026-01-01")
        expect(page.get_by_role("link", name=re.compile("Tasks 1 open, some overdue"))).to_be_visible()
        hub.add_task("Dust", "Everywhere", priority="urgent")
        expect(page.get_by_role("listitem").filter(has_text="Dust")).to_contain_text("urgent")

        entry.get_by_role("button", name="Done: Order argon").click()
        expect(entry).to_be_hidden()
        page.get_by_role("button", name="Show what is done").click()
        expect(page.get_by_role("listitem").filter(has_text="Order argon")).to_contain_text("completed")
        assert hub.tasks(text="argon")[0]["status"] == "completed"

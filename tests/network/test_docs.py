"""The pages for people, in a real browser that reaches nothing but the instrument."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, expect

RIG = Path(__file__).parent / "rig.py"


@pytest.fixture
def url() -> Iterator[str]:
    """A rig in a process of its own."""
    command = [sys.executable, str(RIG), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "http://127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().split()[2]
        process.stdin.close()


@pytest.mark.parametrize(("page", "summary"), [("/docs", ".opblock-summary-description"), ("/redoc", "h2")])
def test_the_page_shows_the_actions_and_asks_nothing_of_the_internet(
    browser: Browser, url: str, page: str, summary: str
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    tab = browser.new_page()

    def note(request: Request) -> None:
        asked.append(request.url)

    tab.on("request", note)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(url + page)

    expect(tab.locator(summary).filter(has_text="Do move").first).to_be_visible(timeout=20_000)
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
    assert complaints == []


def test_an_action_is_tried_from_the_page(browser: Browser, url: str) -> None:
    tab = browser.new_page()
    tab.goto(f"{url}/docs#/actions/do_move")
    tab.get_by_role("button", name="Try it out").click(timeout=20_000)
    tab.get_by_role("button", name="Execute").click()

    expect(tab.locator(".responses-table.live-responses-table").get_by_text('"succeeded"')).to_be_visible()

"""The page's line to the hub: cut, overtaken, and shared; nothing that changed is missing afterwards."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import APIResponse, Browser, Page, Route, WebSocketRoute, expect

from .conftest import PATIENCE, Hub

LOOK = "name: {0}\nsteps:\n  - read: balance.weight\n  - save: {{weight: 1}}\n"


@dataclass
class Line:
    """Stands between the page and its hub."""

    cut: bool = False
    asked: list[str] = field(default_factory=list)
    sockets: list[WebSocketRoute] = field(default_factory=list)

    def connect(self, socket: WebSocketRoute) -> None:
        self.asked.append(socket.url)
        if self.cut:
            socket.close()
        else:
            socket.connect_to_server()
            self.sockets.append(socket)

    def cut_off(self) -> None:
        self.cut = True
        self.sockets[-1].close()


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def watched(hub: Hub, browser: Browser, line: Line) -> Iterator[Page]:
    """A page whose WebSocket goes through `line`."""
    expect.set_options(timeout=PATIENCE)
    page = browser.new_page(base_url=hub.url)
    page.route_web_socket("**/live*", line.connect)
    yield page
    page.close()


def live(page: Page) -> None:
    expect(page.get_by_role("status", name="Connection")).to_have_text("live")


def test_who_was_cut_off_is_told_what_it_missed_without_asking_for_everything(
    hub: Hub, watched: Page, line: Line
) -> None:
    watched.goto("/")
    live(watched)
    queue = watched.get_by_role("region", name="Queue and latest runs")
    hub.ask("GET", f"runs/{hub.submit(LOOK.format('before'))}/wait")
    expect(queue).to_contain_text("before")

    line.cut_off()
    expect(watched.get_by_role("alert").filter(has_text="connection to the hub is lost")).to_be_visible()
    expect(watched.get_by_role("button", name="Halt")).to_be_enabled()
    expect(watched.get_by_role("article", name="stage")).to_contain_text(re.compile("as it was|ago"))
    hub.ask("GET", f"runs/{hub.submit(LOOK.format('meanwhile'))}/wait")
    hub.ask("POST", "queue/stop")
    lists: list[str] = []
    watched.on(
        "request", lambda request: lists.append(request.url) if request.url.endswith("/api/instruments") else None
    )
    line.cut = False

    live(watched)
    row = queue.get_by_role("row").filter(has_text="meanwhile")
    expect(row).to_contain_text("succeeded")
    expect(watched.get_by_role("button", name="Start the queue")).to_be_visible()
    assert "after=" in line.asked[-1]
    assert lists == []
    hub.ask("POST", "queue/start")


def test_an_answer_that_was_overtaken_does_not_show_the_past(hub: Hub, watched: Page, line: Line) -> None:
    held: list[tuple[Route, APIResponse]] = []

    def overtake_the_first(route: Route) -> None:
        if held:
            route.continue_()
            return
        held.append((route, route.fetch()))
        hub.ask("POST", "queue/stop")
        line.sockets[-1].send('{"sequence": 1, "changes": [], "missed": true}')

    watched.route("**/api/queue", overtake_the_first)
    watched.goto("/")
    stopped = watched.get_by_role("button", name="Start the queue")
    expect(stopped).to_be_visible()

    route, answer = held[0]
    with watched.expect_response("**/api/queue"):
        route.fulfill(response=answer)

    expect(stopped).to_be_visible()
    hub.ask("POST", "queue/start")
    expect(stopped).to_be_hidden()


def test_what_one_browser_does_the_other_shows(hub: Hub, page: Page, browser: Browser) -> None:
    other = browser.new_page(base_url=hub.url)
    other.goto("/")
    live(other)

    page.get_by_role("button", name="Stop the queue").click()
    expect(other.get_by_role("status", name="Why nothing begins")).to_contain_text("was stopped")
    other.get_by_label("Experiment, as YAML").fill(LOOK.format("theirs"))
    other.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("button", name="Hold theirs")).to_be_visible()
    page.get_by_role("button", name="Hold theirs").click()
    expect(other.get_by_role("button", name="Release theirs")).to_be_visible()
    other.get_by_role("button", name="Remove theirs").click()
    expect(page.get_by_role("button", name="Release theirs")).to_be_hidden()
    other.get_by_role("button", name="Start the queue").click()
    expect(page.get_by_role("button", name="Stop the queue")).to_be_visible()
    other.close()


def test_nothing_is_fetched_from_elsewhere_and_the_page_weighs_little(hub: Hub, browser: Browser) -> None:
    page = browser.new_page(base_url=hub.url)
    sizes: dict[str, int] = {}
    page.on("requestfinished", lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}))
    page.goto("/")
    live(page)
    for view in ("/#/tasks", "/#/records", "/#/instruments/stage"):
        page.goto(view)
        expect(page.get_by_role("heading", level=1)).to_be_visible()

    assert [url for url in sizes if not url.startswith(hub.url)] == []
    static = sum(size for url, size in sizes.items() if "/static/" in url)
    assert 100_000 < static < 300_000
    page.close()

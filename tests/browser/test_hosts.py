"""What the page shows of the hosts behind instruments: alarms, logs, a driver loaded anew, a visitor."""

from playwright.sync_api import Page, expect
from tests.browser.conftest import Hub


def set_pressure(hub: Hub, bar: float) -> None:
    hub.ask("PUT", "instruments/dispenser/attributes/pressure", {"value": bar})


def test_an_alarm_is_in_sight_on_every_view_until_it_is_over_and_somebody_has_seen_it(hub: Hub, page: Page) -> None:
    set_pressure(hub, 7.0)
    notice = page.get_by_role("alert", name="1 alarm")
    expect(notice).to_contain_text("critical dispenser.pressure above 5 bar: 7 bar")
    page.goto("/#/records")
    expect(notice).to_be_visible()
    page.reload()

    notice.get_by_role("button", name="I have seen it").click()
    seen = page.get_by_role("status", name="1 alarm")
    expect(seen).to_contain_text("seen by")
    set_pressure(hub, 1.0)
    expect(seen).to_have_count(0)


def test_a_polled_value_arrives_by_itself(hub: Hub, page: Page) -> None:
    set_pressure(hub, 2.5)
    expect(page.get_by_role("article", name="dispenser")).to_contain_text("2.5 bar")
    set_pressure(hub, 1.0)
    expect(page.get_by_role("article", name="dispenser")).to_contain_text("1 bar")


def test_the_log_of_a_host_is_shown_and_its_driver_loaded_anew(page: Page) -> None:
    page.goto("/#/instruments/dispenser")
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_label("What the host wrote")).to_contain_text("the dispenser is made")
    page.get_by_role("button", name="Load the driver anew").click()
    expect(page.get_by_text("Loaded; what it offers is the same.")).to_be_visible()


def test_a_driver_that_is_not_there_is_told_when_it_is_loaded_anew(page: Page) -> None:
    page.goto("/#/instruments/broken")
    page.get_by_role("button", name="Load the driver anew").click()
    expect(page.get_by_role("alert").filter(has_text="There is no module 'nowhere'")).to_be_visible()


def test_what_registers_itself_appears_and_goes_when_it_is_removed(hub: Hub, page: Page) -> None:
    hub.ask("POST", "instruments", {"name": "visitor", "url": "http://127.0.0.1:9"})
    expect(page.get_by_role("article", name="visitor")).to_contain_text("unreachable")
    hub.ask("DELETE", "instruments/visitor")
    expect(page.get_by_role("article", name="visitor")).to_have_count(0)

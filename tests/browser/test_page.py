"""The hub's page in a real browser, with a real hub and real instruments: what a scientist sees and does.

Everything is found by role and label, as a screen reader finds it. Nothing sleeps: each expectation waits until it
is met.
"""

import os
import re
import signal

from playwright.sync_api import Locator, Page, expect

from .conftest import Hub

SLOW_CURVE = """
name: slow curve
steps:
  - do: potentiostat.cyclic_voltammetry
    name: voltammogram
    with: {start: -0.1, vertex: 0.6, scan_rate: 0.01}
"""

TWO_CURVES = """
name: two curves
steps:
  - sweep: {vertex: [0.3, 0.4]}
    steps:
      - do: potentiostat.cyclic_voltammetry
        name: cv
        with: {start: 0.1, vertex: "${vertex}", scan_rate: 1.0}
      - save: {vertex: "${vertex}", current: "${cv.current}"}
"""

LONG_MOVE = """
name: long move
steps:
  - do: stage.move
    with: {x: 90, y: 90}
"""

DRIPPING = """
name: dripping
steps:
  - do: dispenser.dispense
    name: drop
    with: {volume: 20, seconds: 60}
  - save: {volume: "${drop}"}
"""


def instrument(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name)


def points(page: Page) -> int:
    return int(page.locator("[data-points]").first.get_attribute("data-points") or 0)


def open_run(page: Page, run: str) -> Locator:
    """Go to the page of a run; answers where its state stands."""
    page.goto(f"/#/runs/{run}")
    return page.get_by_role("status", name="State of the run")


def test_instruments_appear_with_their_values_and_units(page: Page) -> None:
    stage = instrument(page, "stage")

    expect(stage).to_contain_text("idle")
    expect(stage.get_by_role("definition").filter(has_text="mm/s")).to_have_text("10 mm/s")
    expect(instrument(page, "potentiostat")).to_contain_text(re.compile(r"voltage.*V"))
    expect(instrument(page, "balance")).to_contain_text("no software stop")


def test_an_instrument_that_cannot_start_says_why_and_can_be_started_again(page: Page) -> None:
    broken = instrument(page, "broken")

    expect(broken).to_contain_text("stopped")
    expect(broken).to_contain_text("There is no module 'nowhere'")
    broken.get_by_role("button", name="Start again broken").click()
    expect(broken).to_contain_text("There is no module 'nowhere'")


def test_a_form_refuses_a_value_beyond_its_limit_and_names_the_limit(page: Page) -> None:
    page.goto("/#/instruments/stage")
    form = page.get_by_role("form", name="stage.move", exact=True)
    form.get_by_label("x (mm)").fill("150")
    form.get_by_label("y (mm)").fill("5")
    form.get_by_role("button", name="Run move").click()

    expect(form.get_by_role("alert")).to_have_text("x must be at most 100 mm.")
    expect(form.get_by_label("x (mm)")).to_be_focused()
    expect(page.get_by_text("idle")).to_be_visible()


def test_an_action_runs_and_its_result_is_shown_with_its_unit(page: Page) -> None:
    page.goto("/#/instruments/dispenser")
    form = page.get_by_role("form", name="dispenser.dispense")
    form.get_by_label("volume (µL)").fill("42")
    form.get_by_role("button", name="Run dispense").click()

    expect(form.get_by_role("status").filter(has_text="succeeded")).to_contain_text("42 µL")


def test_a_table_that_an_action_measured_is_drawn(page: Page) -> None:
    page.goto("/#/instruments/potentiostat")
    form = page.get_by_role("form", name="potentiostat.linear_sweep")
    for field, value in {"start (V)": "0.1", "end (V)": "0.3", "duration (s)": "1"}.items():
        form.get_by_label(field).fill(value)
    form.get_by_role("button", name="Run linear_sweep").click()

    expect(form.get_by_role("img", name="Result of potentiostat.linear_sweep")).to_be_visible()


def test_an_error_of_a_driver_is_shown_where_the_action_was_asked_for(page: Page) -> None:
    page.goto("/#/instruments/potentiostat")
    form = page.get_by_role("form", name="potentiostat.cyclic_voltammetry")
    for field, value in {"start (V)": "0.1", "vertex (V)": "0.1", "scan_rate (V/s)": "1"}.items():
        form.get_by_label(field).fill(value)
    form.get_by_role("button", name="Run cyclic_voltammetry").click()

    expect(form.get_by_role("alert")).to_contain_text("nothing to sweep")


def test_an_attribute_is_set(page: Page) -> None:
    page.goto("/#/instruments/stage")
    form = page.get_by_role("form", name="Set velocity")
    form.get_by_label("set velocity (mm/s)").fill("25")
    form.get_by_role("button", name="Set velocity").click()
    expect(page.get_by_role("row", name=re.compile("velocity"))).to_contain_text("25 mm/s")

    form.get_by_label("set velocity (mm/s)").fill("10")
    form.get_by_role("button", name="Set velocity").click()
    expect(page.get_by_role("row", name=re.compile("velocity"))).to_contain_text("10 mm/s")


def test_what_is_wrong_with_an_experiment_is_said_with_line_and_column(page: Page) -> None:
    page.get_by_label(re.compile("^Experiment, as YAML")).fill("name: wrong\nsteps:\n  - do: stage.fly\n")

    fault = page.get_by_role("alert").filter(has_text="fly")
    expect(fault).to_contain_text(re.compile(r"line 3, column \d+"))


def test_a_submitted_experiment_draws_its_curves_saves_its_rows_and_leaves_a_record(page: Page) -> None:
    page.get_by_label(re.compile("^Experiment, as YAML")).fill(TWO_CURVES)
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("Submitted:").get_by_role("link", name="two curves").click()

    expect(page.get_by_role("status", name="State of the run")).to_have_text("succeeded")
    expect(page.get_by_role("list", name="Curves").get_by_role("button")).to_have_text(["0.3", "0.4"])
    expect(page.get_by_role("region", name="Table of saved rows").get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("img", name="Curves of two curves: 2")).to_be_visible()

    page.get_by_role("link", name="Files of the record").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="record.h5", exact=True).click()
    assert download.value.path().stat().st_size > 0


def test_a_curve_grows_while_it_is_measured_and_is_whole_after_a_reload(hub: Hub, page: Page) -> None:
    state = open_run(page, hub.submit(SLOW_CURVE))
    plot = page.locator("[data-points]")
    expect(plot).to_have_attribute("data-points", re.compile(r"[1-9]\d"))
    before = points(page)

    page.reload()

    expect(plot).to_have_attribute("data-points", re.compile(r"[1-9]\d"))
    assert points(page) >= before
    grown = points(page)
    expect(plot).not_to_have_attribute("data-points", str(grown))
    expect(state).to_have_text("running")
    expect(instrument_state(page, "potentiostat")).to_contain_text("busy")


def instrument_state(page: Page, name: str) -> Locator:
    page.goto("/#/")
    return instrument(page, name)


def test_a_run_is_paused_gone_on_with_and_aborted(hub: Hub, page: Page) -> None:
    run = hub.submit(TWO_CURVES.replace("scan_rate: 1.0", "scan_rate: 0.05"))
    state = open_run(page, run)
    expect(state).to_have_text("running")

    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("running")
    page.get_by_role("button", name="Abort").click()
    expect(state).to_have_text("aborted")


def test_halt_stops_a_moving_stage_and_says_what_it_could_not_stop(hub: Hub, page: Page) -> None:
    hub.ask("POST", "instruments/stage/actions/move", {"x": 0, "y": 0})
    hub.submit(LONG_MOVE)
    expect(instrument(page, "stage")).to_contain_text("moving" + "yes")

    page.get_by_role("button", name="Halt").click()

    notice = page.get_by_role("alert").filter(has_text="Halted")
    expect(notice).to_contain_text(re.compile(r"stage stopped in \d"))
    expect(notice).to_contain_text(re.compile("balance not stopped"))
    expect(notice).to_contain_text("not an emergency stop")
    expect(instrument(page, "stage")).to_contain_text("moving" + "no")
    x = hub.ask("GET", "instruments/stage/attributes/x")
    assert isinstance(x, dict)
    assert x["value"] < 90

    page.reload()
    expect(page.get_by_role("alert").filter(has_text="Halted")).to_contain_text("balance")
    page.get_by_role("button", name="Reset the halt").click()
    expect(page.get_by_role("alert").filter(has_text="Halted")).to_be_hidden()


def test_a_run_that_does_not_know_what_happened_asks_and_goes_on_when_it_is_answered(hub: Hub, page: Page) -> None:
    """The host is killed while it dispenses, which must not be repeated by a machine."""
    run = hub.submit(DRIPPING)
    expect(instrument(page, "dispenser")).to_contain_text("busy")
    dispenser = hub.ask("GET", "instruments/dispenser")
    assert isinstance(dispenser, dict)

    os.kill(dispenser["pid"], signal.SIGKILL)

    question = page.get_by_role("form", name="dripping asks")
    expect(question).to_contain_text("dispenser.dispense")
    question.get_by_role("radio", name=re.compile("^happened")).check()
    question.get_by_label(re.compile("^Result")).fill("20")
    question.get_by_label(re.compile("^Why")).fill("The drop hangs on the film.")
    question.get_by_role("button", name="Answer").click()

    expect(question).to_be_hidden()
    expect(open_run(page, run)).to_have_text("succeeded")
    expect(page.get_by_role("region", name="Table of saved rows")).to_contain_text("20")


def test_records_are_found_by_their_name(hub: Hub, page: Page) -> None:
    for name in ("needle", "hay"):
        hub.ask("GET", f"runs/{hub.submit(f'name: {name}{chr(10)}steps:{chr(10)}  - read: balance.weight')}/wait")
    page.get_by_role("link", name="Records", exact=True).click()
    records = page.get_by_role("region", name="Table of records")
    expect(records.get_by_role("link", name="hay")).to_be_visible()

    page.get_by_label("Search").fill("needle")

    expect(records.get_by_role("link", name="hay")).to_be_hidden()
    expect(records.get_by_role("link", name="needle")).to_be_visible()


def test_the_halt_button_is_in_sight_on_every_view_of_a_phone_and_long_names_fit(hub: Hub, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 760})
    hub.submit(f"name: {'a_name_without_a_space_' * 6}\nsteps:\n  - ask: Ready?\n")
    expect(page.get_by_role("form", name=re.compile("asks"))).to_be_visible()
    for view in ("/#/", "/#/instruments/stage", "/#/records"):
        page.goto(view)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(page.get_by_role("button", name="Halt")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_whose_hub_was_killed_says_so_and_is_alive_again_when_it_is_back(hub: Hub, page: Page) -> None:
    expect(instrument(page, "stage")).to_contain_text("idle")

    hub.kill()
    expect(page.get_by_role("alert").filter(has_text="connection to the hub is lost")).to_be_visible()
    hub.start()

    expect(page.get_by_role("status", name="Connection")).to_have_text("live")
    expect(page.get_by_role("alert").filter(has_text="lost")).to_be_hidden()
    hub.submit("name: after the restart\nsteps:\n  - read: balance.weight\n")
    expect(page.get_by_role("region", name="Queue and latest runs")).to_contain_text("after the restart")

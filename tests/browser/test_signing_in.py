"""A lab that asks for tokens, in a real browser: sign in, what one's role may not, sign out."""

import json
from typing import Any

from playwright.sync_api import Browser, expect


def test_an_observer_signs_in_looks_is_refused_an_act_may_halt_and_signs_out(
    command_line: Any, browser: Browser
) -> None:
    (command_line.folder / "lab.toml").write_text('name = "shut"\n[access]\nnames = ["lab.example"]\n')
    words = ("--role", "observer", "--name", "ada", "--lab", "shut", "--json")
    token = json.loads(command_line.run("token", "create", *words).stdout)["token"]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    with command_line.hub("lab.toml", "--port", "0") as url:
        page.goto(url)
        page.get_by_label("Token").fill("labretto_not-this-one")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("token")
        page.get_by_label("Token").fill(token)
        page.get_by_label("Token").press("Enter")

        expect(page.get_by_role("status", name="Connection")).to_have_text("live")
        expect(page.get_by_role("banner")).to_contain_text("ada (observer)")
        page.get_by_label("Experiment, as YAML").fill("name: an act\nsteps:\n  - wait: 1 s\n")
        page.get_by_role("button", name="Submit", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("takes operator")
        page.get_by_role("button", name="Halt").click()
        expect(page.get_by_role("alert").filter(has_text="Halted")).to_contain_text("by ada")

        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="This laboratory asks for a token")).to_be_visible()
        page.close()

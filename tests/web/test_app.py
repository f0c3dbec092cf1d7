"""The hub's web application: the page and its policy, files that stay fresh, errors in one form."""

import json
import re
from html.parser import HTMLParser

import pytest

from labretto.web.app import STATIC

from .conftest import Web


async def test_the_page_runs_nothing_but_its_own_modules_and_one_known_import_map(web: Web) -> None:
    answer = await web.client.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[\w+/]+=*'", policy["script-src"])
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert json.loads(inline_scripts(answer.text)[0])["imports"]["preact"].startswith("/static/vendor/")


def inline_scripts(page: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        inside = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.inside = tag == "script" and "src" not in dict(attrs)

        def handle_data(self, data: str) -> None:
            if self.inside:
                found.append(data)

        def handle_endtag(self, tag: str) -> None:
            self.inside = False

    Reader().feed(page)
    return found


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", *(f"/static/{file.name}" for file in STATIC.glob("*.*"))])
async def test_nothing_that_is_served_asks_another_host(path: str, web: Web) -> None:
    answer = await web.client.get(path)

    assert answer.status_code == 200
    assert set(re.findall(r"""(?:src|href|url\(|from|import)\W{1,3}(https?:)?//""", answer.text)) == set()


async def test_a_file_that_has_not_changed_is_not_sent_again(web: Web) -> None:
    first = await web.client.get("/static/app.js")
    again = await web.client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith("text/javascript")
    assert (again.status_code, again.content) == (304, b"")


async def test_every_module_of_the_page_is_found(web: Web) -> None:
    """An import of ours names a file that lies there, or a name of the import map."""
    known = json.loads((STATIC / "vendor/importmap.json").read_text())["imports"]
    for module in STATIC.glob("*.js"):
        for name in re.findall(r'^import .*?from "(.+?)";', module.read_text(), re.MULTILINE):
            assert name in known or (STATIC.parent / name.lstrip("/")).is_file(), f"{module.name} imports {name}"


async def test_which_lab_this_is(web: Web) -> None:
    assert (await web.client.get("/api/lab")).json()["name"] == "bench"


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/api/refused", 422, "x=150 mm is above 100 mm."),
        ("GET", "/nowhere", 404, "/nowhere"),
        ("GET", "/static/../app.py", 404, "app.py"),
        ("GET", "/static/nowhere.js", 404, "nowhere.js"),
        ("DELETE", "/api/things/1", 405, "DELETE"),
        ("GET", "/api/things/one", 422, "/api/things/one"),
        ("POST", "/api/things", 422, "/api/things"),
    ],
)
async def test_every_error_is_problem_details(method: str, path: str, status: int, words: str, web: Web) -> None:
    answer = await web.client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["detail"]


async def test_a_mistake_of_ours_shows_no_traceback(web: Web) -> None:
    answer = await web.client.get("/api/mistake")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text

"""The vendored page modules: what VERSIONS says lies there, and they work together in a real browser.

Our own pages are tested beside this file; here nothing of ours runs but the import map.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route

STATIC = Path(__file__).resolve().parents[2] / "src/labretto/web/static"
LINE = re.compile(r" {4}(?P<file>\S+)  (?P<size>\d+) bytes  sha256 (?P<digest>\w+)")

PAGE = """<!doctype html>
<html lang="en"><title>Vendored modules</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/static/vendor/uplot/uplot.css">
<script type="importmap">IMPORTMAP</script>
<main></main>
<script type="module">
  import { render } from "preact";
  import { useEffect, useRef } from "preact/hooks";
  import { html } from "htm/preact";
  import { computed, signal } from "@preact/signals";
  import uPlot from "uplot";

  const count = signal(0);
  const double = computed(() => 2 * count.value);

  function Plot() {
    const place = useRef();
    useEffect(() => {
      const options = { width: 300, height: 200, series: [{}, { stroke: "red" }] };
      const plot = new uPlot(options, [[1, 2], [3, 4]], place.current);
      return () => plot.destroy();
    }, []);
    return html`<figure ref=${place} />`;
  }

  render(
    html`<button onClick=${() => count.value++}>Count ${count}</button><output>${double}</output><${Plot} />`,
    document.querySelector("main"),
  );
</script></html>
"""


def test_a_counter_and_a_plot_run_on_the_import_map_alone(browser: Browser) -> None:
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.route("**/*", answer)

    page.goto("http://page.test/")
    page.get_by_role("button").click()
    page.get_by_role("button").click()

    assert page.get_by_role("button").inner_text() == "Count 2"
    assert page.get_by_role("status").inner_text() == "4"
    assert page.locator("figure canvas").count() == 1
    assert faults == []


def answer(route: Route) -> None:
    """Serve the page and the vendored files to the browser, without a socket; everything else is missing."""
    path = urlsplit(route.request.url).path
    if path == "/":
        importmap = (STATIC / "vendor/importmap.json").read_text()
        route.fulfill(body=PAGE.replace("IMPORTMAP", importmap), content_type="text/html")
    elif path.startswith("/static/") and (file := STATIC.parent / path.lstrip("/")).is_file():
        route.fulfill(path=file, content_type="text/css" if file.suffix == ".css" else "text/javascript")
    else:
        route.fulfill(status=404)


def versions() -> list[re.Match[str]]:
    return list(LINE.finditer((STATIC / "vendor/VERSIONS").read_text()))


@pytest.mark.parametrize("line", versions(), ids=lambda line: line["file"])
def test_a_vendored_file_is_the_one_that_versions_names(line: re.Match[str]) -> None:
    content = (STATIC / "vendor" / line["file"]).read_bytes()

    assert (len(content), hashlib.sha256(content).hexdigest()) == (int(line["size"]), line["digest"])


def test_every_vendored_module_is_named_in_versions_and_has_its_licence() -> None:
    modules = {path.relative_to(STATIC / "vendor").as_posix() for path in STATIC.glob("vendor/*/*.js")}

    assert modules == {line["file"] for line in versions() if line["file"].endswith(".js")}
    assert all((STATIC / "vendor" / module).with_name("LICENSE").is_file() for module in modules)

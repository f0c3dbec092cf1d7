"""The tour of asyncio stop by stop, and its server from outside: plain `requests`, and a stand-in for what it asks.

How long something takes is never asserted: that many requests wait at once is seen by those who are asked.
"""

import asyncio
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from labretto.network.background import OwnThread

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "asyncio_tour"
PATIENCE = 30.0


@pytest.fixture(scope="module")
def modules() -> Iterator[Callable[[str], Any]]:
    """The example's modules, as if one stood in its folder."""
    names = ("upstream", "tour", "sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def tour(modules: Callable[[str], Any]) -> Any:
    return modules("tour")


async def test_a_coroutine_runs_when_it_is_awaited(tour: Any):
    coroutine = tour.greet("world")

    assert asyncio.iscoroutine(coroutine)
    assert await coroutine == "Hello, world!"


async def test_two_give_the_same_whether_one_after_another_or_at_once(tour: Any):
    assert await tour.one_after_another(0) == await tour.two_at_once(0) == ["Hello, stage!", "Hello, furnace!"]


async def test_several_files_are_read_at_once(tour: Any, tmp_path: Path):
    paths = [tmp_path / f"{number}.txt" for number in range(3)]
    for path in paths:
        path.write_text(f"ä {path.name}\nsecond line\n", encoding="utf-8")

    assert await tour.lines_of_all(paths) == {path.name: [f"ä {path.name}", "second line"] for path in paths}


async def test_an_error_stands_in_its_place_and_the_others_have_their_results(tour: Any):
    first, second, third = await tour.outcomes(tour.greet("a"), tour.stuck(), tour.greet("b"))

    assert (first, third) == ("Hello, a!", "Hello, b!")
    assert isinstance(second, OSError)


async def test_in_a_group_one_error_ends_the_others(tour: Any):
    heater = tour.Heater()

    with pytest.raises(ExceptionGroup) as group:
        await tour.all_or_nothing(heater.hold(), tour.stuck())

    assert [str(error) for error in group.value.exceptions] == ["the shutter is stuck"]
    assert heater.on is False


async def test_what_takes_too_long_is_cancelled(tour: Any):
    heater = tour.Heater()

    assert await tour.within(0.01, heater.hold()) is None
    assert heater.on is False
    assert await tour.within(PATIENCE, tour.greet("hare")) == "Hello, hare!"


async def test_who_is_cancelled_switches_off_what_it_switched_on(tour: Any):
    heater = tour.Heater()

    assert await tour.cancelled(heater) is True
    assert heater.on is False


async def test_many_urls_are_asked_at_once_or_one_after_another(tour: Any, modules: Callable[[str], Any]):
    """At once: all requests have come before the first is answered. One after another: never two at a time."""
    upstream = modules("upstream").Upstream()
    upstream.expected = 10
    async with modules("upstream").running(upstream) as url:
        fetching = asyncio.create_task(tour.fetch_at_once([f"{url}/page/held"] * 10))
        await asyncio.wait_for(upstream.full.wait(), PATIENCE)
        upstream.go.set()
        assert await fetching == ["page held"] * 10

        upstream.most = 0
        assert await tour.fetch_one_after_another([f"{url}/page/{n}" for n in range(3)]) == [
            "page 0",
            "page 1",
            "page 2",
        ]
        assert upstream.most == 1


def test_the_walk_passes_all_stops():
    walk = subprocess.run(
        [sys.executable, "tour.py"], cwd=EXAMPLE, capture_output=True, text=True, check=True, timeout=PATIENCE
    )

    assert [line.split()[0] for line in walk.stdout.splitlines()] == list("1223445677")
    assert walk.stderr == ""


# The server --------------------------------------------------------------------------------------------------------


class Upstream:
    """The stand-in, in a thread of its own."""

    def __init__(self, module: Any) -> None:
        self.served = module.Upstream()
        self.thread = OwnThread("upstream", module.running(self.served))
        self.url = self.thread.value


@pytest.fixture(scope="module")
def upstream(modules: Callable[[str], Any]) -> Iterator[Upstream]:
    found = Upstream(modules("upstream"))
    yield found
    found.thread.stop(within=PATIENCE)


@contextmanager
def serving(log: Path, **environment: str) -> Iterator[str]:
    """`uvicorn server:app` in the example's folder, once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", str(port), "--no-access-log"]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=EXAMPLE, env=os.environ | environment, stdout=output, stderr=output) as process,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while b"Uvicorn running on" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with serving(log, YELP_URL=upstream.url, SPOTIFY_URL=upstream.url, SPOTIFY_TOKEN="secret") as url:
        yield url


def get(url: str, **query: Any) -> requests.Response:
    return requests.get(url, params=query, timeout=PATIENCE)


def test_the_server_answers(server: str):
    assert get(f"{server}/").json() == {"message": "Hello World"}


def test_an_item_is_answered_with_what_was_searched_for(server: str):
    assert get(f"{server}/items/5", search_term="argon").json() == {"item_id": 5, "search_term": "argon"}
    assert get(f"{server}/items/5").json() == {"item_id": 5, "search_term": None}
    assert get(f"{server}/items/five").status_code == 422


def test_data_is_what_the_service_answers(server: str, upstream: Upstream):
    yelp = get(f"{server}/data/yelp", location="Berlin", term="coffee", limit=3)
    spotify = get(f"{server}/data/spotify", q="bach", limit=2)

    assert [each["name"] for each in yelp.json()["businesses"]] == ["coffee 1", "coffee 2", "coffee 3"]
    assert [each["name"] for each in spotify.json()["tracks"]["items"]] == ["bach 1", "bach 2"]
    assert "/v3/businesses/search?location=Berlin&term=coffee&limit=3" in upstream.served.seen
    assert "/v1/search?q=bach&limit=2&type=track" in upstream.served.seen


def test_the_same_is_shown_as_cards_with_every_text_escaped(server: str):
    page = get(f"{server}/ui/yelp", location="<b>Berlin", term="<script>alert(1)</script>", limit=2)

    assert page.headers["content-type"].startswith("text/html")
    assert page.text.count("<article>") == 2
    assert "<script" not in page.text
    assert "&lt;b&gt;Berlin" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert get(f"{server}/ui/spotify", q="bach").text.count("<article>") == 10


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("/data/soundcloud", {"q": "bach"}, 404, "yelp, spotify"),
        ("/data/yelp", {"term": "coffee"}, 422, "location"),
        ("/data/spotify", {"q": " "}, 422, "'q'"),
        ("/data/spotify", {"q": "bach", "limit": 51}, 422, "limit"),
        ("/data/spotify", {"q": "broken"}, 502, "answered 500"),
        ("/ui/spotify", {"q": "limited"}, 502, "answered 429"),
        ("/data/yelp", {"location": "Berlin", "term": "nonsense"}, 502, "no JSON"),
    ],
)
def test_a_fault_is_told_in_a_sentence_that_says_whose_it_is(
    server: str, path: str, query: dict[str, Any], status: int, words: str
):
    answer = get(server + path, **query)

    assert answer.status_code == status
    assert words in str(answer.json()["detail"])


def test_a_service_that_is_slow_or_away_is_a_504_or_a_502_and_holds_up_nobody(upstream: Upstream, tmp_path: Path):
    with socket.socket() as deaf, ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))  # and never listens
        nobody = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        words = {"YELP_URL": upstream.url, "SPOTIFY_URL": nobody, "UPSTREAM_SECONDS": "0.3"}
        server = stack.enter_context(serving(tmp_path / "log.txt", **words))
        slow = get(f"{server}/data/yelp", location="Berlin", term="slow")
        away = get(f"{server}/data/spotify", q="bach")

        assert (slow.status_code, away.status_code) == (504, 502)
        assert "did not answer within 0.3 s" in slow.json()["detail"]
        assert "cannot be reached" in away.json()["detail"]
        assert get(f"{server}/").status_code == 200


def test_the_documentation_of_the_server_comes_from_the_package(server: str):
    page = get(f"{server}/docs")

    assert page.status_code == 200
    assert "http" not in page.text.split("<body")[0].replace("http-equiv", "")
    assert set(get(f"{server}/openapi.json").json()["paths"]) == {
        "/",
        "/items/{item_id}",
        "/data/{source}",
        "/ui/{source}",
    }

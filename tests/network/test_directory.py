"""Names become addresses, of living hosts and hubs only."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from labretto.errors import ConflictError, NotFoundError
from labretto.network.directory import HostFile, HubFile, find, find_hub, hubs, known, read_host, write_file
from labretto.network.liveness import hold


@pytest.fixture
def alive() -> Iterator[contextlib.ExitStack]:
    """Locks held until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack


def host(folder: Path, address: str, **more: str) -> Path:
    """What a host leaves in its folder; it lives only if its lock is held as well."""
    addresses = {"http": "http://127.0.0.1:1", "zmq": address, **more}
    write_file(folder / "host.json", HostFile(folder.name, 1, addresses, "a:B", "2026-11-21").as_dict())
    return folder / "lock"


def hub(folder: Path, url: str, **instruments: str) -> Path:
    file = HubFile(folder.name, url, 1, "2026-11-21", instruments)
    write_file(folder / "hub.json", file.as_dict())
    return folder / "hub.lock"


@pytest.mark.parametrize("address", ["http://10.0.0.1:5000", "tcp://127.0.0.1:7", "memory:stage"])
def test_an_address_stands_for_itself(address: str) -> None:
    assert find(address) == address


def test_an_instrument_of_a_lab_is_found_by_its_name(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(host(labretto_home / "demo/hosts/stage", "tcp://127.0.0.1:7")))

    assert find("stage") == find("demo/stage") == "tcp://127.0.0.1:7"


def test_an_instrument_served_without_a_lab_is_found(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(host(labretto_home / "instruments/stage", "tcp://127.0.0.1:8")))

    assert find("stage") == "tcp://127.0.0.1:8"


def test_a_host_elsewhere_is_known_by_the_hub(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(hub(labretto_home / "demo", "http://127.0.0.1:8000", motor="http://10.0.0.7:5001")))

    assert find("motor") == "http://10.0.0.7:5001"


def test_the_file_of_a_dead_host_counts_for_nothing(labretto_home: Path) -> None:
    host(labretto_home / "demo/hosts/stage", "tcp://127.0.0.1:7")

    assert known() == {}
    with pytest.raises(NotFoundError, match=r"No instrument 'stage' lives on this machine\. Start one: labretto serve"):
        find("stage")


def test_a_misspelled_name_gets_the_near_one(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(host(labretto_home / "demo/hosts/stage", "tcp://127.0.0.1:7")))

    with pytest.raises(NotFoundError, match="Did you mean 'stage'"):
        find("stag")


def test_a_far_name_gets_a_list_of_what_is_known(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(host(labretto_home / "demo/hosts/stage", "tcp://127.0.0.1:7")))

    with pytest.raises(NotFoundError, match=r"Known here: demo/stage, stage\."):
        find("furnace")


def test_a_name_that_two_labs_have_needs_the_lab(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(host(labretto_home / "a/hosts/stage", "tcp://127.0.0.1:1")))
    alive.enter_context(hold(host(labretto_home / "b/hosts/stage", "tcp://127.0.0.1:2")))

    with pytest.raises(ConflictError, match="Write a/stage or b/stage"):
        find("stage")
    assert find("b/stage") == "tcp://127.0.0.1:2"


def test_a_file_that_is_not_ours_is_passed_over(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    folder = labretto_home / "instruments/odd"
    alive.enter_context(hold(folder / "lock"))
    for content in ("", "[1]", '{"name": "odd"}', '{"surprise": 1}'):
        (folder / "host.json").write_text(content)

        assert read_host(folder) is None


def test_a_host_without_zmq_is_reached_by_http() -> None:
    assert HostFile("a", 1, {"http": "http://127.0.0.1:1"}, "a:B", "").address == "http://127.0.0.1:1"


def test_the_only_hub_is_found_without_a_name(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(hub(labretto_home / "demo", "http://127.0.0.1:8000")))
    hub(labretto_home / "dead", "http://127.0.0.1:8001")

    assert find_hub() == find_hub("demo") == "http://127.0.0.1:8000"
    assert [each.lab for each in hubs()] == ["demo"]


def test_without_a_hub_the_error_says_how_to_start_one() -> None:
    with pytest.raises(NotFoundError, match="labretto up"):
        find_hub()


def test_several_hubs_need_a_name(labretto_home: Path, alive: contextlib.ExitStack) -> None:
    alive.enter_context(hold(hub(labretto_home / "a", "http://127.0.0.1:1")))
    alive.enter_context(hold(hub(labretto_home / "b", "http://127.0.0.1:2")))

    with pytest.raises(ConflictError, match="a, b"):
        find_hub()
    with pytest.raises(NotFoundError, match="Known here: a, b"):
        find_hub("nowhere")

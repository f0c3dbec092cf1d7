"""Who may register which address, that nobody is asked before a person has accepted it, and that the list is kept."""

import json
from pathlib import Path

import pytest

from labretto.errors import ConflictError, ForbiddenError, InvalidError, LabError, NotFoundError
from labretto.network import registry as room
from labretto.network.registry import Registrant, Registry, as_lab_instrument

BOARD = Registrant("pump's token", "t1", "192.0.2.7")
ADMIN = Registrant("Ada", "t2", "192.0.2.99", trusted=True)
HERE = Registrant("someone on this machine", "", "127.0.0.1", trusted=True)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path, {"stage"})


def test_a_board_registers_its_own_address_and_waits_for_a_person(registry: Registry) -> None:
    entry, changed = registry.register("pump", "http://192.0.2.7/", BOARD)
    assert changed
    assert (entry.url, entry.accepted_by) == ("http://192.0.2.7", None)
    assert registry.accept("pump", "Ada").accepted_by == "Ada"
    assert as_lab_instrument(registry.entries()["pump"]).url == "http://192.0.2.7"


def test_who_may_start_hosts_is_accepted_at_once(registry: Registry) -> None:
    assert registry.register("pump", "http://pump.local:8080", ADMIN)[0].accepted_by == "Ada"
    assert registry.register("lamp", "tcp://127.0.0.1:5555", HERE)[0].accepted_by


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.8",  # another machine
        "http://pump.local",  # a name may lead anywhere tomorrow
        "http://127.0.0.1:5432",
        "http://localhost:5432",
        "http://[::1]:80",
        "http://[::ffff:127.0.0.1]:80",
        "http://169.254.169.254/",
        "http://0.0.0.0:80",
    ],
)
def test_a_hub_is_not_sent_to_other_doors(registry: Registry, url: str) -> None:
    with pytest.raises((ForbiddenError, InvalidError)):
        registry.register("pump", url, BOARD)
    assert registry.entries() == {}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pump",
        "ftp://192.0.2.7",
        "file:///etc/passwd",
        "memory:pump",
        "http://",
        "http://ada:secret@192.0.2.7",
        "http://192.0.2.7/../path",
        "http://192.0.2.7/a%2fb",
        "http://192.0.2.7?x=1",
        "http://192.0.2.7:99999",
        "tcp://192.0.2.7",
        "http://192.0.2.7 /",
        "http://[192.0.2.7",
        "http://224.0.0.251",
        "http://255.255.255.255",
        "http://[fe80::1]",
        "http://169.254.169.254",
    ],
)
def test_what_is_no_address_of_an_instrument_is_refused_of_everybody(registry: Registry, url: str) -> None:
    with pytest.raises(LabError):
        registry.register("pump", url, ADMIN)


def test_the_hub_does_not_ask_itself(registry: Registry) -> None:
    with pytest.raises(InvalidError, match="the hub itself"):
        registry.register("pump", "http://127.0.0.1:8000", HERE, {8000})


def test_from_elsewhere_nobody_names_the_hubs_own_machine(registry: Registry) -> None:
    with pytest.raises(ForbiddenError, match="own machine"):
        registry.register("pump", "http://127.0.0.1:5432", ADMIN)


def test_an_ipv4_address_in_the_form_of_ipv6_is_the_same(registry: Registry) -> None:
    here = Registrant("pump", "t1", "::ffff:192.0.2.7")
    assert registry.register("pump", "http://192.0.2.7", here)[1]


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, "-x"])
def test_a_name_is_one(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidError):
        registry.register(name, "http://192.0.2.7", BOARD)


def test_what_lab_toml_names_is_not_taken(registry: Registry) -> None:
    with pytest.raises(ConflictError, match=r"lab\.toml"):
        registry.register("stage", "http://192.0.2.7", ADMIN)
    with pytest.raises(NotFoundError, match="was not registered"):
        registry.remove("stage")


def test_registering_again_changes_nothing(registry: Registry) -> None:
    first, _ = registry.register("pump", "http://192.0.2.7", BOARD)
    assert registry.register("pump", "http://192.0.2.7", BOARD) == (first, False)
    registry.accept("pump", "Ada")
    again, changed = registry.register("pump", "http://192.0.2.7", BOARD)
    assert (again.accepted_by, changed) == ("Ada", False)


def test_a_board_with_a_new_address_stays_accepted_and_somebody_else_does_not_take_its_name(
    registry: Registry,
) -> None:
    registry.register("pump", "http://192.0.2.7", BOARD)
    registry.accept("pump", "Ada")
    moved = Registrant("pump's token", "t1", "192.0.2.17")
    assert registry.register("pump", "http://192.0.2.17", moved)[0].accepted_by == "Ada"
    with pytest.raises(ConflictError, match="pump's token has registered"):
        registry.register("pump", "http://192.0.2.66", Registrant("Eve", "t9", "192.0.2.66"))


def test_an_admin_who_registers_what_waits_accepts_it(registry: Registry) -> None:
    registry.register("pump", "http://192.0.2.7", BOARD)
    assert registry.register("pump", "http://192.0.2.7", ADMIN)[0].accepted_by == "Ada"


def test_the_list_is_kept_and_a_torn_one_is_an_empty_one(tmp_path: Path) -> None:
    before = Registry(tmp_path)
    before.register("pump", "http://192.0.2.7", BOARD)
    before.register("lamp", "http://192.0.2.8", ADMIN)
    before.remove("lamp")
    assert Registry(tmp_path).entries() == before.entries()
    assert Registry(tmp_path, {"pump"}).entries() == {}
    (tmp_path / "registered.json").write_text("{")
    assert Registry(tmp_path).entries() == {}


def test_nobody_fills_the_list(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST", 1)
    registry.register("pump", "http://192.0.2.7", BOARD)
    with pytest.raises(ConflictError, match="registered already"):
        registry.register("pump2", "http://192.0.2.7", BOARD)


def test_which_token_it_was_is_told_to_nobody(registry: Registry) -> None:
    entry, _ = registry.register("pump", "http://192.0.2.7", BOARD)
    assert "t1" not in json.dumps(entry.as_dict())

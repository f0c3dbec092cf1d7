"""Who may listen, who may ask, and what a Host header has to say."""

import pytest

from labretto.access import Actor, allow, allowed_host, bearer, check_bind, is_loopback, token_matches
from labretto.errors import ForbiddenError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "::1", "[::1]"])
def test_the_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    check_bind(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.5", "lab.example.org", "localhost.example.org"])
def test_any_other_address_refuses_to_start_without_a_token(host: str) -> None:
    with pytest.raises(ForbiddenError, match="LABRETTO_TOKEN"):
        check_bind(host, None)
    with pytest.raises(ForbiddenError):
        check_bind(host, "")
    check_bind(host, "secret")


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None), (None, None)],
)
def test_a_token_is_read_from_the_bearer_header(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_a_token_has_to_match_exactly() -> None:
    assert token_matches("geheim-ß", "geheim-ß")
    assert not token_matches("geheim", "geheim-ß")
    assert not token_matches(None, "x")
    assert not token_matches("", "x")


@pytest.mark.parametrize("header", ["localhost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000"])
def test_on_the_loopback_its_own_names_are_answered(header: str) -> None:
    assert allowed_host(header, "127.0.0.1")


@pytest.mark.parametrize(
    "header", ["evil.example:8000", "127.0.0.1.evil.example", "", None, "192.168.1.5", "@localhost"]
)
def test_on_the_loopback_a_rebound_name_is_refused(header: str | None) -> None:
    assert not allowed_host(header, "127.0.0.1")


def test_a_server_with_a_token_answers_to_any_name() -> None:
    assert allowed_host("lab.example.org", "0.0.0.0")


def test_who_came_to_this_machine_may_do_everything() -> None:
    assert allow(Actor(), "configure", "lab")


def test_an_observer_may_look_and_stop_but_not_act() -> None:
    observer = Actor("Ada", "observer")

    assert allow(observer, "read", "stage")
    assert allow(observer, "stop", "stage")
    refused = allow(observer, "act", "stage")
    assert not refused
    assert refused.reason == "Ada is observer; to act on stage takes operator"


def test_stopping_never_needs_more_rights_than_acting() -> None:
    assert all(allow(Actor("x", role), "stop", "lab") for role in ("observer", "operator", "admin"))


def test_an_operator_does_not_configure() -> None:
    assert not allow(Actor("Bo", "operator"), "configure", "lab")

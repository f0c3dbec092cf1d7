"""Who may listen, who is let in, what they may do, how often, and the line that it leaves."""

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from labretto.access import session
from labretto.access.gate import ACTS, FAILURES, Gate, gate_of
from labretto.access.listening import bearer, check_bind, is_loopback, names_answered
from labretto.access.pace import Pace
from labretto.access.rule import ROLES, Actor, allow
from labretto.access.tokens import Tokens, owner_token, read_secret
from labretto.access.trail import Act, Trail, bounded, read_trail
from labretto.errors import ForbiddenError, InvalidError, NotFoundError, PaceError, TokenError

LONG = "a-token-of-the-environment-that-is-long-enough"

# Where a server may listen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "::1", "[::1]"])
def test_the_loopback_needs_no_token(host: str, tmp_path: Path) -> None:
    assert is_loopback(host)
    check_bind(host, None)
    assert gate_of(tmp_path, host, "stage") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.5", "lab.example.org", "localhost.example.org"])
def test_any_other_address_refuses_to_start_without_a_token(host: str, tmp_path: Path) -> None:
    with pytest.raises(ForbiddenError, match="labretto token create"):
        gate_of(tmp_path, host, "stage")
    Tokens(tmp_path).create("ada", "operator", 90)
    gate = gate_of(tmp_path, host, "stage")
    assert gate is not None
    assert gate.guarded


def test_a_token_of_the_environment_lets_a_server_start_if_it_cannot_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABRETTO_TOKEN", LONG)
    gate = gate_of(tmp_path, "0.0.0.0", "stage")
    assert gate is not None
    assert gate.who(LONG).role == "admin"

    monkeypatch.setenv("LABRETTO_TOKEN", "s3cret")
    with pytest.raises(InvalidError, match="32"):
        gate_of(tmp_path, "0.0.0.0", "stage")


def test_a_token_that_has_ended_lets_no_server_start(tmp_path: Path) -> None:
    Tokens(tmp_path).create("ada", "operator", 1e-9)

    with pytest.raises(ForbiddenError):
        gate_of(tmp_path, "0.0.0.0", "stage")


def test_a_lab_that_is_led_to_by_a_name_asks_for_tokens_on_the_loopback_too(tmp_path: Path) -> None:
    """A proxy on this machine makes everybody look as if they came from here."""
    with pytest.raises(ForbiddenError):
        gate_of(tmp_path, "127.0.0.1", "lab", names=["lab.example.org"])
    Tokens(tmp_path).create("ada", "operator", 90)
    gate = gate_of(tmp_path, "127.0.0.1", "lab", names=["Lab.example.org."])

    assert gate is not None
    assert gate.guarded
    assert gate.names == {"localhost", "127.0.0.1", "::1", "lab.example.org"}


def test_names_are_asked_for_on_the_loopback_and_where_they_are_configured() -> None:
    assert names_answered("127.0.0.1", ()) == {"localhost", "127.0.0.1", "::1"}
    assert names_answered("0.0.0.0", ()) is None
    assert "lab.example.org" in (names_answered("0.0.0.0", ["lab.example.org"]) or ())


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None), (None, None)],
)
def test_a_token_is_read_from_the_bearer_header(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


# Who may do what ----------------------------------------------------------------------------------------------------


def test_who_came_to_this_machine_may_do_everything() -> None:
    assert allow(Actor(), "configure", "lab")


def test_an_observer_may_look_and_stop_but_not_act() -> None:
    observer = Actor("Ada", "observer")

    assert allow(observer, "read", "stage")
    assert allow(observer, "stop", "stage")
    refused = allow(observer, "act", "stage")
    assert not refused
    assert refused.reason == "Ada is observer; to act on stage takes operator"


@pytest.mark.parametrize("role", ROLES)
def test_stopping_never_needs_more_rights_than_looking(role: Any) -> None:
    assert bool(allow(Actor("x", role), "stop", "lab")) == bool(allow(Actor("x", role), "read", "lab"))


def test_an_operator_does_not_configure() -> None:
    assert not allow(Actor("Bo", "operator"), "configure", "lab")


# Tokens -------------------------------------------------------------------------------------------------------------


def test_a_token_is_told_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    text, token = Tokens(tmp_path).create("ada", "operator", 90)
    kept = (tmp_path / "tokens.json").read_text()

    assert text.startswith("labretto_")
    assert text not in kept
    assert text.removeprefix("labretto_")[:12] not in kept
    assert token.hash in kept
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    assert Tokens(tmp_path).actor(text) == Actor("ada", "operator", token.id, token.ends)


def test_two_tokens_are_never_alike(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)

    assert len({tokens.create("ada", "observer", None)[0] for _ in range(20)}) == 20


def test_a_token_that_is_revoked_is_refused_by_a_server_that_runs(tmp_path: Path) -> None:
    text, token = Tokens(tmp_path).create("ada", "operator", None)
    gate = Gate("lab", Tokens(tmp_path))
    actor = gate.who(text)

    Tokens(tmp_path).revoke(token.id)

    assert not gate.still(actor)
    with pytest.raises(TokenError, match="not known"):
        gate.who(text)


def test_a_token_that_has_ended_says_when(tmp_path: Path) -> None:
    text, _ = Tokens(tmp_path).create("ada", "operator", 1e-9)

    with pytest.raises(TokenError, match=f"ada has ended on {datetime.now(UTC).date()}") as refused:
        Tokens(tmp_path).actor(text)
    assert refused.value.problem()["status"] == 401


def test_a_name_revokes_all_that_have_it(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    for _ in range(2):
        tokens.create("ada", "operator", 90)
    tokens.create("bo", "observer", 90)

    assert len(tokens.revoke("ada")) == 2
    assert [token.name for token in tokens.all()] == ["bo"]
    with pytest.raises(NotFoundError):
        tokens.revoke("ada")


@pytest.mark.parametrize(
    ("name", "role", "days"),
    [("", "operator", 1), ("x" * 65, "operator", 1), ("a\nb", "admin", 1), ("a", "king", 1), ("a", "admin", 0),
     ("a", "admin", 1e9), ("a", "admin", float("nan"))],
)  # fmt: skip
def test_what_makes_no_sense_makes_no_token(tmp_path: Path, name: str, role: Any, days: float) -> None:
    with pytest.raises(InvalidError):
        Tokens(tmp_path).create(name, role, days)
    assert Tokens(tmp_path).all() == []


def test_two_who_make_tokens_at_one_time_lose_none(tmp_path: Path) -> None:
    def make() -> None:
        for _ in range(5):
            Tokens(tmp_path).create("ada", "observer", 1)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(Tokens(tmp_path).all()) == 20


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": [{"id": "x"}]}', '{"tokens": 1}'])
def test_while_the_file_cannot_be_understood_nobody_is_let_in_but_its_owner(tmp_path: Path, text: str) -> None:
    known, _ = Tokens(tmp_path).create("ada", "admin", None)
    gate = Gate("lab", Tokens(tmp_path))
    (tmp_path / "tokens.json").write_text(text)

    with pytest.raises(ForbiddenError):
        gate.who(known)
    assert gate.who(owner_token(tmp_path)).role == "admin"


def test_a_file_that_others_can_change_lets_nobody_in(tmp_path: Path) -> None:
    known, _ = Tokens(tmp_path).create("ada", "admin", None)
    (tmp_path / "tokens.json").chmod(0o666)

    with pytest.raises(ForbiddenError, match="chmod 600"):
        Tokens(tmp_path).actor(known)


@given(st.text())
def test_what_is_no_token_is_refused_whatever_it_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    gate = Gate("lab", Tokens(tmp_path_factory.getbasetemp()))

    with pytest.raises((TokenError, PaceError)):
        gate.who(text)


def test_the_owners_token_is_for_the_owner_alone(tmp_path: Path) -> None:
    first, second = Tokens(tmp_path).admit_owner(), Tokens(tmp_path).admit_owner()

    assert first == second == owner_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "owner.token").stat().st_mode) == 0o600
    (tmp_path / "owner.token").chmod(0o644)
    with pytest.raises(ForbiddenError, match="read by others"):
        Tokens(tmp_path).admit_owner()


def test_a_token_file_is_read_if_nobody_else_can(tmp_path: Path) -> None:
    file = tmp_path / "furnace.token"
    with pytest.raises(NotFoundError):
        read_secret(file)
    file.write_text("labretto_x\n")
    file.chmod(0o600)
    assert read_secret(file) == "labretto_x"


# Sessions -----------------------------------------------------------------------------------------------------------


def test_a_session_ends_with_its_token(tmp_path: Path) -> None:
    text, token = Tokens(tmp_path).create("ada", "operator", 2)
    gate = Gate("lab", Tokens(tmp_path))
    cookie, seconds = gate.cookie(gate.who(text))

    assert text not in cookie
    assert seconds <= 2 * 24 * 3600
    assert gate.who_browses(cookie).name == "ada"
    assert Gate("lab", Tokens(tmp_path)).who_browses(cookie).name == "ada", "a hub that starts again knows its browsers"

    Tokens(tmp_path).revoke(token.id)
    with pytest.raises(TokenError):
        gate.who_browses(cookie)


def test_a_session_that_was_changed_or_is_over_is_none() -> None:
    now = datetime.now(UTC)
    cookie = session.sealed("a1", now + timedelta(hours=1), "secret")

    assert session.opened(cookie, "secret") == "a1"
    assert session.opened(cookie, "another secret") is None
    assert session.opened(cookie.replace("a1", "a2"), "secret") is None
    assert session.opened(session.sealed("a1", now - timedelta(seconds=2), "secret"), "secret") is None


@given(st.text(max_size=400))
def test_no_cookie_is_guessed(cookie: str) -> None:
    assert session.opened(cookie, "secret") is None


# How often ----------------------------------------------------------------------------------------------------------


def test_a_bucket_fills_again() -> None:
    time = [0.0]
    pace = Pace(2, 4, lambda: time[0])

    assert [pace.wait("ada") for _ in range(3)] == [0, 0, 0.25]
    assert pace.wait("bo") == 0
    time[0] += 0.25
    assert [pace.wait("ada"), pace.wait("ada")] == [0, 0.25]


def test_very_many_clients_take_no_more_memory_than_many() -> None:
    pace = Pace(1, 0.001)
    for number in range(10_000):
        pace.wait(str(number))

    assert len(pace._buckets) <= 4096


def test_too_many_acts_wait_but_looking_and_stopping_never_do(tmp_path: Path) -> None:
    text, _ = Tokens(tmp_path).create("ada", "operator", 90)
    gate = Gate("lab", Tokens(tmp_path))
    actor = gate.who(text)

    def flood() -> None:
        for _ in range(int(ACTS[0]) * 10):
            gate.check(actor, "act")

    with pytest.raises(PaceError) as refused:
        flood()
    assert refused.value.problem()["retry_after"] > 0
    for _ in range(100):
        gate.check(actor, "read")
        gate.check(actor, "stop")


def test_guessing_is_slowed_down_and_who_has_a_token_is_not(tmp_path: Path) -> None:
    text, _ = Tokens(tmp_path).create("ada", "operator", 90)
    gate = Gate("lab", Tokens(tmp_path))
    for number in range(int(FAILURES[0])):
        with pytest.raises(TokenError):
            gate.who(f"guess {number}", "192.0.2.1")
    with pytest.raises(PaceError):
        gate.who("one more", "192.0.2.1")

    assert gate.who(text, "192.0.2.1").name == "ada"


# The trail ----------------------------------------------------------------------------------------------------------


def act(number: int = 0, **more: Any) -> Act:
    return Act.of(Actor("ada", "operator", "a1"), "act", "stage", f"invoke move {number}", 200, **more)


def test_a_line_says_who_what_whence_and_what_came_of_it(tmp_path: Path) -> None:
    Trail(tmp_path).add(act(where="192.0.2.1", parameters={"x": 1.5}))
    (line,) = read_trail(tmp_path)

    assert datetime.fromisoformat(line.pop("at")).tzinfo is not None
    assert line == {
        "who": "ada", "role": "operator", "token": "a1", "verb": "act", "thing": "stage", "what": "invoke move 0",
        "parameters": {"x": 1.5}, "outcome": "200", "where": "192.0.2.1",
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_no_secret_and_no_heap_of_data_stands_in_a_line() -> None:
    assert bounded({"token": "x", "a": {"Password": "y", "b": [1]}}) == {"token": "…", "a": {"Password": "…", "b": [1]}}
    assert list(bounded({"image": "x" * 10_000})) == ["omitted"]
    assert bounded({"array": object()}) == {"omitted": "dict"}
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert len(json.dumps(bounded(deep))) < 100


def test_what_somebody_sends_never_makes_a_second_line(tmp_path: Path) -> None:
    Trail(tmp_path).add(act(where='x"}\n{"who": "forged', parameters={"\n": "\r\n"}))

    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 1


def test_several_writers_turn_a_large_file_and_lose_no_line(tmp_path: Path) -> None:
    trails = [Trail(tmp_path, largest=4_000, kept=1_000) for _ in range(4)]

    def write(which: int) -> None:
        for number in range(100):
            trails[which].add(act(which * 100 + number))

    threads = [threading.Thread(target=write, args=[which]) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {line["what"] for line in read_trail(tmp_path)}
    for trail in trails:
        trail.close()

    assert found == {f"invoke move {number}" for number in range(400)}
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 5


def test_of_files_that_were_turned_a_bounded_number_is_kept(tmp_path: Path) -> None:
    trail = Trail(tmp_path, largest=500, kept=3)
    for number in range(50):
        trail.add(act(number))
    trail.close()

    assert len(list(tmp_path.glob("audit-*.jsonl"))) == 3
    assert [line["what"] for line in read_trail(tmp_path, 2)] == ["invoke move 48", "invoke move 49"]


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.add(act(1))
    with (tmp_path / "audit.jsonl").open("a") as file:
        file.write('{"who": "ad\n')
    trail.add(act(2))
    trail.close()

    assert [line["what"] for line in read_trail(tmp_path)] == ["invoke move 1", "invoke move 2"]


def test_a_trail_that_cannot_be_written_keeps_nobody_from_acting(tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "lab").write_text("a file where a folder should be")

    Trail(tmp_path / "lab").add(act())

    assert "cannot be written" in caplog.text


def test_refusals_do_not_flush_the_trail(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    gate = Gate("lab", Tokens(tmp_path), trail)
    for _ in range(1_000):
        gate.note_refusal(None, "act", "POST /api/halt", TokenError("no"), where="192.0.2.1")
    trail.close()

    assert len(read_trail(tmp_path)) < 200


def test_the_trail_is_nobody_elses_to_read(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Trail(tmp_path).add(act())
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


# The command line ---------------------------------------------------------------------------------------------------


def test_a_token_is_made_listed_and_taken_back_from_the_command_line(command_line: Any) -> None:
    made = command_line.run("token", "create", "--name", "ada", "--role", "observer", "--lab", "attic")
    again = command_line.run("token", "create", "--name", "bo", "--days", "0", "--json")
    listed = command_line.run("token", "list", "--json")
    text, folder = made.stdout.strip(), command_line.home / "attic"

    assert (made.returncode, made.stdout.count("\n")) == (0, 1), "nothing but the token, for a pipe"
    assert "not shown again" in made.stderr
    assert Tokens(folder).actor(text).name == "ada"
    assert json.loads(again.stdout)["expires"] is None
    assert [(one["name"], one["role"]) for one in json.loads(listed.stdout)] == [
        ("ada", "observer"),
        ("bo", "operator"),
    ]
    assert text not in listed.stdout

    assert "is revoked" in command_line.run("token", "revoke", "ada").stdout
    assert command_line.run("token", "revoke", "ada").returncode == 3
    with pytest.raises(TokenError):
        Tokens(folder).actor(text)


def test_where_there_are_several_labs_one_has_to_be_named(command_line: Any) -> None:
    for lab in ("attic", "cellar"):
        command_line.run("token", "create", "--name", "ada", "--lab", lab)
    done = command_line.run("token", "list")

    assert done.returncode == 3
    assert "--lab attic or --lab cellar" in done.stderr


def test_the_trail_is_read_from_the_command_line(command_line: Any) -> None:
    Trail(command_line.home / "attic").add(act(where="192.0.2.1", parameters={"x": "[red]1[/]"}))
    shown = command_line.run("audit", "--lab", "attic")
    exact = json.loads(command_line.run("audit", "--json").stdout)

    assert "ada" in shown.stdout
    assert "invoke" in shown.stdout
    assert exact[0]["parameters"] == {"x": "[red]1[/]"}

"""Beyond the loopback: whoever asks shows a token, on every wire and every route, and what they do leaves a line.

The servers listen on all addresses of this machine; everything that is sent goes to 127.0.0.1.
"""

import asyncio
import contextlib
import itertools
import json
import re
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import zmq as plain
import zmq.asyncio
from fastapi import FastAPI
from starlette.routing import Mount, Route, WebSocketRoute

from labretto.access.gate import ACTS, Gate
from labretto.access.tokens import Tokens
from labretto.access.trail import Trail, read_trail
from labretto.errors import ForbiddenError, InvalidError, PaceError, TokenError, UnreachableError
from labretto.instrument import codec
from labretto.instrument.host import Host
from labretto.lab import LabInstrument, parse_lab
from labretto.network import http, messages, zmq
from labretto.network.client import Instrument, open_instrument
from labretto.network.credentials import split_key
from labretto.network.curve import client_options, server_key
from labretto.network.directory import find
from labretto.network.heritage import offer_old_routes
from labretto.network.http_door import INSTRUMENT
from labretto.network.keeper import LinkKeeper
from labretto.network.serve import order_alone, order_in_lab, serving
from labretto.network.zmq_door import verb_of

WIRES = ["http", "zmq"]


@dataclass
class Open:
    """The rig, opened to the network; three people have tokens."""

    folder: Path
    gate: Gate
    tokens: dict[str, str]
    addresses: dict[str, str]

    def acts(self) -> list[dict[str, Any]]:
        return read_trail(self.folder)

    @contextlib.asynccontextmanager
    async def seen_by(self, role: str, wire: str) -> AsyncIterator[Instrument]:
        async with await open_instrument(self.addresses[wire], token=self.tokens[role]) as instrument:
            yield instrument


@pytest.fixture(autouse=True)
def no_token_of_my_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABRETTO_TOKEN", raising=False)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate("rig", Tokens(tmp_path), Trail(tmp_path))


@pytest.fixture
async def opened(host: Host, gate: Gate, tmp_path: Path) -> AsyncIterator[Open]:
    tokens = {role: Tokens(tmp_path).create(f"{role}'s", role, 1)[0] for role in ("observer", "operator", "admin")}
    links: dict[str, str] = {}
    everywhere = "tcp://0.0.0.0:0"
    async with (
        zmq.serve(host, everywhere, events=everywhere, links=links, gate=gate, key=server_key(tmp_path)),
        http.serve(host, "http://0.0.0.0:0", links=links, gate=gate),
    ):
        here = {wire: address.replace("0.0.0.0", "127.0.0.1") for wire, address in links.items()}
        yield Open(tmp_path, gate, tokens, here)


# Without a token ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
async def test_without_a_token_nobody_gets_beyond_the_gate(opened: Open, wire: str) -> None:
    with pytest.raises(TokenError) as refused:
        await open_instrument(opened.addresses[wire])

    assert refused.value.problem()["status"] == 401
    assert "LABRETTO_TOKEN" in refused.value.way_out


@pytest.mark.parametrize("wire", WIRES)
async def test_a_token_that_is_not_known_is_none(opened: Open, wire: str) -> None:
    with pytest.raises(TokenError, match="not known"):
        await open_instrument(opened.addresses[wire], token="labretto_guessed")


@pytest.mark.parametrize("address", ["http://0.0.0.0:0"])
async def test_http_beyond_the_loopback_needs_a_gate(host: Host, address: str) -> None:
    with pytest.raises(ForbiddenError, match="token"):
        async with http.serve(host, address):
            pass


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://*:0"])
async def test_zmq_beyond_the_loopback_needs_a_gate_and_a_key(host: Host, gate: Gate, address: str) -> None:
    for words in ({}, {"gate": gate}):
        with pytest.raises(ForbiddenError):
            async with zmq.serve(host, address, **words):
                pass
    with pytest.raises(ForbiddenError):
        async with zmq.serve(host, events=address):
            pass


async def test_any_address_of_the_loopback_is_open(host: Host) -> None:
    async with http.serve(host, "http://127.0.0.2:0") as url, await open_instrument(url) as instrument:
        assert (await instrument.read("x")).value == 1.5
    async with zmq.serve(host, "tcp://127.0.0.2:0") as address, await open_instrument(address) as instrument:
        assert (await instrument.read("x")).value == 1.5


async def test_zmq_in_clear_beyond_the_loopback_is_not_even_tried() -> None:
    with pytest.raises(ForbiddenError, match="no public key"):
        await open_instrument("tcp://192.0.2.1:5555", token="labretto_x")


# With one -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
async def test_an_observer_looks_and_stops_and_does_not_act(opened: Open, rig: Any, wire: str) -> None:
    async with opened.seen_by("observer", wire) as instrument:
        assert (await instrument.read("x")).value == 1.5
        for refused in (instrument.write("x", 2), instrument.invoke("move", {"to": 3}), instrument.take("me")):
            with pytest.raises(ForbiddenError, match="takes operator"):
                await refused
        assert (await instrument.stop())["stopped"] is True

    assert rig._moves == []
    assert rig._x == 1.5


@pytest.mark.parametrize("wire", WIRES)
async def test_an_operator_acts_under_the_name_of_the_token(opened: Open, wire: str) -> None:
    async with opened.seen_by("operator", wire) as instrument:
        own = await instrument.invoke("move", {"to": 3})
        other = await instrument.invoke("move", {"to": 4}, actor="the queen")

    assert own.actor == "operator's"
    assert other.actor == "the queen (operator's)"


@pytest.mark.parametrize("wire", WIRES)
async def test_what_was_done_stands_in_the_trail_and_looking_does_not(opened: Open, wire: str) -> None:
    async with opened.seen_by("operator", wire) as instrument:
        await instrument.read_all()
        await instrument.invoke("move", {"to": 3}, actor="ada")
        await instrument.write("x", 12)
        await instrument.stop()
    async with opened.seen_by("observer", wire) as instrument:
        with pytest.raises(ForbiddenError):
            await instrument.write("x", 13)
    lines = opened.acts()

    assert [(line["who"], line["role"], line["verb"], line["outcome"]) for line in lines] == [
        ("operator's", "operator", "act", "succeeded" if wire == "zmq" else "200"),
        ("operator's", "operator", "act", "200"),
        ("operator's", "operator", "stop", "200"),
        ("observer's", "observer", "act", "403"),
    ]
    assert lines[0]["on_behalf_of"] == "ada"
    assert "move" in lines[0]["what"]
    assert "12" in json.dumps(lines[1]["parameters"])
    assert {line["where"] for line in lines} == {"127.0.0.1"}
    assert not any(token in json.dumps(lines) for token in opened.tokens.values())


@pytest.mark.parametrize("wire", WIRES)
async def test_a_token_that_is_revoked_is_refused_on_a_line_that_stands(opened: Open, wire: str) -> None:
    async with opened.seen_by("operator", wire) as instrument:
        await instrument.read("x")
        Tokens(opened.folder).revoke("operator's")

        with pytest.raises(TokenError):
            await instrument.read("x")


@pytest.mark.parametrize("wire", WIRES)
async def test_events_are_heard_by_who_may_look(opened: Open, wire: str) -> None:
    heard = asyncio.Event()
    async with opened.seen_by("observer", wire) as listening, opened.seen_by("operator", wire) as acting:
        listening.listen(lambda topic, body: heard.set())
        await listening.hearing()
        await acting.write("x", 3)
        await acting.invoke("look", {})
        await asyncio.wait_for(heard.wait(), 20)


@pytest.mark.parametrize("wire", WIRES)
async def test_who_floods_is_told_to_wait_and_may_still_stop(opened: Open, wire: str) -> None:
    who = opened.gate.who(opened.tokens["operator"])
    with contextlib.suppress(PaceError):
        for _ in range(10 * int(ACTS[0])):
            opened.gate.check(who, "act")
    opened.gate._acts._per_second = 1e-6
    opened.gate._acts._buckets[who.token] = (0.0, opened.gate._acts._clock())

    async with opened.seen_by("operator", wire) as instrument:
        with pytest.raises(PaceError):
            await instrument.write("x", 3)
        assert (await instrument.read("x")).value == 1.5
        assert (await instrument.stop())["stopped"] is True


async def test_too_much_says_when_there_may_be_more(opened: Open) -> None:
    who = opened.gate.who(opened.tokens["operator"])
    opened.gate._acts._buckets[who.token] = (0.0, opened.gate._acts._clock() + 3600)
    headers = {"authorization": f"Bearer {opened.tokens['operator']}"}
    async with httpx2.AsyncClient(base_url=opened.addresses["http"], headers=headers) as client:
        answer = await client.put("/attributes/x", json={"value": 3})

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"


# ZMQ ----------------------------------------------------------------------------------------------------------------


async def test_who_speaks_in_clear_is_not_heard(opened: Open) -> None:
    bare, _ = split_key(opened.addresses["zmq"])
    with pytest.raises(UnreachableError):
        await open_instrument(bare, token=opened.tokens["admin"])


async def test_another_host_at_the_address_is_found_out(opened: Open, tmp_path: Path) -> None:
    """The client speaks only with whoever has the secret half of the key in the address."""
    bare, public = split_key(opened.addresses["zmq"])
    assert public is not None
    wrong = zmq.with_key(bare, bytes([public[0] ^ 1]) + public[1:])

    with pytest.raises(UnreachableError):
        await open_instrument(wrong, token=opened.tokens["admin"])


async def test_a_plain_subscription_hears_nothing_and_one_with_a_token_does(opened: Open, host: Host) -> None:
    bare, public = split_key(opened.addresses["events"])
    with plain.asyncio.Context() as context, contextlib.ExitStack() as stack:

        def subscribed(*topics: bytes) -> Any:
            listener = stack.enter_context(context.socket(plain.SUB))
            listener.setsockopt(plain.LINGER, 0)
            for option, value in client_options(public).items():
                listener.setsockopt(option, value)
            for topic in topics:
                listener.setsockopt(plain.SUBSCRIBE, topic)
            listener.connect(bare)
            return listener

        stranger = subscribed(b"", b"token labretto_guessed")
        friend = subscribed(b"", b"token " + opened.tokens["observer"].encode())
        assert await friend.recv_multipart() == [b"welcome"]
        await host.write("x", 4)
        while (await friend.recv_multipart())[0] == b"welcome":
            pass
        assert await stranger.poll(200) == 0


async def test_who_lost_the_token_hears_no_more(opened: Open, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq, "_LOOK_EVERY", 0.0)
    heard: list[str] = []
    async with opened.seen_by("observer", "zmq") as leaving, opened.seen_by("operator", "zmq") as staying:
        leaving.listen(lambda topic, body: heard.append(topic))
        staying.listen(lambda topic, body: still.set())
        still = asyncio.Event()
        await leaving.hearing()
        await staying.hearing()
        Tokens(opened.folder).revoke("observer's")
        await host.write("x", 4)  # this one closes the port, and all have to come again
        heard.clear()
        places = itertools.cycle(range(1, 90))
        async with asyncio.timeout(20):
            while not still.is_set():
                await host.write("x", next(places))
                await asyncio.sleep(0.01)

    assert heard == []


async def test_the_events_of_who_lost_the_token_end_on_http_too(opened: Open, host: Host) -> None:
    headers = {"authorization": f"Bearer {opened.tokens['observer']}"}
    async with (
        httpx2.AsyncClient(base_url=opened.addresses["http"], headers=headers) as client,
        client.stream("GET", "/events") as response,
    ):
        chunks = response.aiter_raw()
        await anext(chunks)
        Tokens(opened.folder).revoke("observer's")
        await host.write("x", 4)
        rest = b"".join([chunk async for chunk in chunks])

    assert rest == b""


def test_a_key_is_for_the_host_alone_and_lasts(tmp_path: Path) -> None:
    first, again = server_key(tmp_path), server_key(tmp_path)

    assert first == again
    assert stat.S_IMODE((tmp_path / "curve.key").stat().st_mode) == 0o600
    assert repr(first.secret) not in repr(first)
    (tmp_path / "curve.key").write_text("no key\n")
    with pytest.raises(InvalidError, match="no key"):
        server_key(tmp_path)


@pytest.mark.parametrize("tail", ["#curve=", "#curve=abc", "#key=abc", "#" + "x" * 50, "#curve=" + "ä" * 43])
async def test_what_carries_no_key_is_no_address(tail: str) -> None:
    with pytest.raises(InvalidError, match="no public key"):
        await open_instrument(f"tcp://127.0.0.1:5555{tail}")


# Every route --------------------------------------------------------------------------------------------------------


def routes_of(app: FastAPI, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every method and path that `app` answers, with something in the place of its parameters."""
    for route in flat(app.routes):
        if isinstance(route, Mount):
            yield "GET", f"{prefix}{route.path}/x"
        elif isinstance(route, Route):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            yield from ((method, prefix + path) for method in sorted(route.methods or ()))
        else:
            assert isinstance(route, WebSocketRoute), f"a route of the kind {type(route)} is not known to this test"


def flat(found: Any) -> Iterator[Any]:
    for route in found:
        yield from flat(route.original_router.routes) if hasattr(route, "original_router") else [route]


@pytest.fixture
def instrument_app(host: Host, gate: Gate) -> FastAPI:
    app = http.build_app(host, names=None, gate=gate)
    offer_old_routes(app, host, {"where": "x"})
    return app


def asked(app: FastAPI) -> Callable[..., Any]:
    transport = httpx2.ASGITransport(app)
    client = httpx2.AsyncClient(transport=transport, base_url="http://rig.test")

    async def ask(method: str, path: str, token: str | None = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await client.request(method, path, headers=headers)

    return ask


async def test_every_route_of_an_instrument_asks_who_is_there(instrument_app: FastAPI) -> None:
    """Also one that somebody adds tomorrow: this walks what there is."""
    routes = list(routes_of(instrument_app))
    ask = asked(instrument_app)

    assert len(routes) > 20
    assert [route for route in routes if (await ask(*route)).status_code != 401] == []


async def test_every_route_that_acts_asks_whether_one_may(
    instrument_app: FastAPI, tmp_path: Path, host: Host, rig: Any
) -> None:
    """An observer is refused whatever is neither a look nor a stop, and the old routes whose GET acts."""
    observer, _ = Tokens(tmp_path).create("ada", "observer", 1)
    old = {("GET", f"/{action}") for action in host.description.actions}
    acting = [route for route in routes_of(instrument_app) if route in old or INSTRUMENT.verb(" ".join(route)) == "act"]
    ask = asked(instrument_app)

    assert {("PUT", "/attributes/x"), ("POST", "/actions/x"), ("PUT", "/lease"), ("GET", "/move")} <= set(acting)
    assert [route for route in acting if (await ask(*route, observer)).status_code != 403] == []
    assert rig._moves == []


async def test_only_known_requests_count_as_stopping(instrument_app: FastAPI) -> None:
    """An action that a driver calls `stop` is an action."""
    stopping = {
        route
        for route in routes_of(instrument_app)
        if route[0] not in ("GET", "HEAD", "OPTIONS") and INSTRUMENT.verb(" ".join(route)) != "act"
    }

    assert stopping == {("POST", "/stop"), ("DELETE", "/actions/x/x"), ("DELETE", "/invocations/x")}
    for trick in ("POST /actions/stop", "POST /stop/", "POST //stop", "PUT /stop", "POST /stop\n", "DELETE /actions/x"):
        assert INSTRUMENT.verb(trick) == "act"


def example(kind: Any) -> messages.Request:
    """One request of this kind; what is in it does not matter."""
    wanted = [field.name for field in msgspec.structs.fields(kind) if field.required]
    return kind(**dict.fromkeys(wanted, "x"))  # type: ignore[no-any-return]


def test_every_kind_of_request_over_zmq_is_an_act_unless_it_is_known_to_be_harmless() -> None:
    harmless = {"Describe", "Health", "ReadAll", "Read", "Find", "Alarms"}
    kinds = {kind.__name__: verb_of(example(kind)) for kind in messages.Request.__subclasses__()}

    assert {kind for kind, verb in kinds.items() if verb == "read"} == harmless
    assert {kind for kind, verb in kinds.items() if verb == "stop"} == {"Stop", "Cancel"}
    assert {kind for kind, verb in kinds.items() if verb == "act"} >= {"Write", "Invoke", "Take", "GiveBack"}


async def test_over_zmq_nothing_is_read_of_a_request_before_its_token(opened: Open) -> None:
    bare, public = split_key(opened.addresses["zmq"])
    with plain.asyncio.Context() as context, context.socket(plain.DEALER) as dealer:
        dealer.setsockopt(plain.LINGER, 0)
        for option, value in client_options(public).items():
            dealer.setsockopt(option, value)
        dealer.connect(bare)
        request = codec.encode({"ask": "stop"})
        for frames in ([b"1", b"\xc1"], [b"1", request], [b"1", request, b""], [b"1", request, b"\xff" * 100_000]):
            await dealer.send_multipart(frames)
            _, data = await dealer.recv_multipart()
            assert codec.decode(data)[1]["status"] == 401


# A whole host -------------------------------------------------------------------------------------------------------


def entry(**more: Any) -> LabInstrument:
    driver = "labretto.instrument.simulated.stage:SampleStage"
    return LabInstrument(name="stage", driver=driver, host="0.0.0.0", **more)


async def test_a_host_refuses_to_listen_elsewhere_without_a_token(labretto_home: Path) -> None:
    with pytest.raises(ForbiddenError, match="labretto token create --lab instruments"):
        async with serving(order_alone(entry())):
            pass


async def test_a_host_that_listens_elsewhere_is_used_here_by_its_name(labretto_home: Path) -> None:
    """Its owner needs no token: who may read the folder has one."""
    text, _ = Tokens(labretto_home / "instruments").create("ada", "observer", 1)
    async with serving(order_alone(entry())) as served:
        assert "#curve=" in served.file.addresses["zmq"]
        assert "127.0.0.1" in served.file.address
        async with await open_instrument(find("stage")) as owner:
            assert (await owner.health())["status"] == "idle"
            heard = asyncio.Event()
            owner.listen(lambda topic, body: heard.set())
            await owner.hearing()
        async with await open_instrument(served.file.addresses["http"], token=text) as ada:
            assert ada.name == "stage"
            links = (await ada._connection.ask(messages.Describe()))["links"]
            assert links["zmq"].startswith("tcp://0.0.0.0:")
        with pytest.raises(TokenError):
            await open_instrument(served.file.addresses["http"], token="labretto_guessed")


def three_free_ports_in_a_row() -> int:
    """The first of three that nobody has, below those that the system gives to whoever asks for any."""
    for port in range(20_000, 32_000, 3):
        with contextlib.ExitStack() as taken, contextlib.suppress(OSError):
            for number in range(port, port + 3):
                taken.enter_context(contextlib.closing(socket.socket())).bind(("0.0.0.0", number))
            return port
    raise AssertionError("no three ports are free")


async def test_the_ports_of_zmq_follow_that_of_http_for_those_who_have_to_know_them(labretto_home: Path) -> None:
    Tokens(labretto_home / "instruments").create("ada", "observer", 1)
    port = three_free_ports_in_a_row()
    async with serving(order_alone(entry(port=port))) as first:
        pass
    async with serving(order_alone(entry(port=port))) as again:
        assert again.file.addresses == first.file.addresses


async def test_a_hub_reaches_a_host_elsewhere_with_the_token_in_a_file(labretto_home: Path, tmp_path: Path) -> None:
    text, _ = Tokens(labretto_home / "instruments").create("the hub", "operator", 1)
    async with serving(order_alone(entry())) as served:
        url = served.file.addresses["zmq"]
        lab = parse_lab(f'[instruments.far]\nurl = "{url}"\ntoken_file = "far.token"\n', tmp_path / "lab.toml")
        keeper = LinkKeeper(lab.instruments["far"], lambda status: None)
        (tmp_path / "far.token").touch(mode=0o600)
        (tmp_path / "far.token").write_text(text)
        keeper.begin()
        try:
            async with asyncio.timeout(20):
                assert (await keeper.instrument()).name == "stage"
        finally:
            await keeper.close()


def test_a_host_of_a_lab_uses_the_labs_tokens(labretto_home: Path, tmp_path: Path) -> None:
    lab = parse_lab('name = "attic"\n[instruments.stage]\ndriver = "a:B"\nhost = "0.0.0.0"\n', tmp_path / "lab.toml")

    assert order_in_lab(lab, "stage").lab_folder == labretto_home / "attic"
    assert order_alone(entry()).lab_folder == labretto_home / "instruments"


async def test_an_open_host_asks_for_nothing_and_writes_nothing(host: Host, labretto_home: Path) -> None:
    """On the loopback the ledger remembers what was done; no request pays for a gate."""
    async with http.serve(host) as url, await open_instrument(url, token="labretto_of_another_lab") as instrument:
        await instrument.invoke("move", {"to": 3})

    assert not any(labretto_home.rglob("audit.jsonl"))


@pytest.mark.parametrize("token", ["with space", "ümlaut", "line\nbreak", "x" * 201])
async def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    with pytest.raises(InvalidError, match="LABRETTO_TOKEN"):
        await open_instrument("http://127.0.0.1:9", token=token)

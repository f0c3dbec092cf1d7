"""The old routes as they translate; the whole contract is tested from outside in tests/examples/test_helao.py."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from labretto.errors import InvalidError
from labretto.instrument.describe import describe
from labretto.instrument.host import Host
from labretto.instrument.ledger import Ledger
from labretto.network import http
from labretto.network.heritage import offer_old_routes


class Dial:
    """A driver without underscores in its past."""

    @property
    def angle(self) -> float:
        return 1.5

    @property
    def broken(self) -> float:
        raise OSError("no answer on the bus")

    def turn(self, to: float, label: str = "", slowly: bool = False) -> list[object]:
        return [to, label, slowly]

    def health(self) -> str:
        return "an action of the same name as a route of every instrument"

    def fall(self) -> None:
        raise RuntimeError("it fell")


@pytest.fixture
async def host(tmp_path) -> AsyncIterator[Host]:
    offer = describe(Dial, name="dial")
    async with Host(Dial, offer, Ledger(tmp_path / "ledger.db")) as host:
        yield host


@pytest.fixture
async def client(host) -> AsyncIterator[httpx2.AsyncClient]:
    app = http.build_app(host, names=None)
    offer_old_routes(app, host, {"getAngle": "angle", "drehe": "turn", "getBroken": "broken"})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://dial") as client:
        yield client


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("to=2", [2, "", False]),
        ("to=2&label=3", [2, "3", False]),
        ("to=2&label=%22x%22&slowly=true", [2, '"x"', True]),
        ("to=1e-3", [0.001, "", False]),
    ],
)
async def test_values_are_json_where_the_parameter_is_no_text(query, answer, client):
    assert (await client.get(f"/turn?{query}")).json() == answer


@pytest.mark.parametrize("value", ["1e999", "Infinity", "9" * 30, "[" * 10_000, "2" * 5000])
async def test_a_number_that_no_wire_carries_is_refused(value, client):
    answer = await client.get(f"/turn?to={value}")

    assert answer.status_code == 422, answer.text
    assert "to: number" in answer.json()["way_out"]
    assert (await client.get("/turn?to=1")).json() == [1, "", False]


async def test_an_old_name_means_an_action_or_an_attribute(client):
    assert (await client.get("/drehe?to=5")).json() == [5, "", False]
    assert (await client.get("/getAngle")).json() == {"angle": 1.5}


async def test_a_route_of_every_instrument_goes_before_an_action_of_its_name(client):
    assert (await client.get("/health")).json()["status"] == "idle"


async def test_what_the_driver_raises_is_told(client):
    fallen, broken = await client.get("/fall"), await client.get("/getBroken")

    assert (fallen.status_code, broken.status_code) == (502, 502)
    assert "it fell" in fallen.json()["detail"]
    assert "no answer on the bus" in broken.json()["detail"]


@pytest.mark.parametrize(
    ("compat", "told"),
    [({"getAngle": "angel"}, "has no action or attribute 'angel'"), ({"health": "angle"}, "/health is a route")],
)
async def test_a_table_that_does_not_fit_adds_nothing(compat, told, host):
    app = http.build_app(host, names=None)
    before = len(app.routes)

    with pytest.raises(InvalidError, match=told):
        offer_old_routes(app, host, compat)

    assert len(app.routes) == before

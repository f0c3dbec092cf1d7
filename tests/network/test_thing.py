"""The Thing Description of an instrument, and the plain values that it promises.

It is held to the W3C's own JSON Schema (thing_description/, from npm) and, form by form, to what the host answers.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import httpx2
import jsonschema
import numpy as np
import pytest
from annotated_types import Gt, Interval, Unit

from labretto.access.gate import Gate
from labretto.access.tokens import Tokens
from labretto.instrument.describe import describe, effect
from labretto.instrument.host import Host
from labretto.instrument.invocation import new_id
from labretto.instrument.ledger import Ledger
from labretto.network import http
from labretto.network.http_door import INSTRUMENT, Door
from labretto.network.thing import thing_description
from labretto.network.thing_schema import data_schema

SCHEMA = json.loads((Path(__file__).parent / "thing_description" / "td-json-schema-validation.json").read_text("utf-8"))


class Shape(Enum):
    ROUND = "round"
    SQUARE = "square"


@dataclass
class Place:
    x: Annotated[float, Unit("mm")]
    y: Annotated[float, Unit("mm")]


class Row(NamedTuple):
    time: Annotated[float, Unit("s")]
    current: Annotated[float, Unit("A")]


class Everything:
    """Annotations of every kind that a driver may have."""

    def __init__(self) -> None:
        self._position = 1.5

    @property
    def position(self) -> Annotated[float, Unit("mm"), Interval(ge=0, le=100)]:
        """Where it is."""
        return self._position

    @position.setter
    def position(self, to: Annotated[float, Unit("mm"), Interval(ge=0, le=100)]) -> None:
        self._position = to

    @property
    def speed(self) -> Annotated[float, Unit("mm/s"), Gt(0)] | None:
        return None

    @property
    def either(self) -> int | float | str:
        return 7

    @property
    def shape(self) -> Shape:
        return Shape.ROUND

    @property
    def mode(self) -> Literal["slow", "fast", 3]:
        return "slow"

    @property
    def place(self) -> Place:
        return Place(1.0, 2.0)

    @property
    def last(self) -> Row:
        return Row(0.5, 1e-3)

    @property
    def names(self) -> dict[str, list[int]]:
        return {"a": [1]}

    @property
    def anything(self) -> Any:
        return [None, {"a": 1}]

    @property
    def image(self) -> Annotated[np.ndarray, ("row", "column"), Unit("V")]:
        return np.array([[1.0, np.nan], [2.0, 3.0]])

    @effect("read")
    def look(self, *, closely: bool = False) -> Place | None:
        """Moves nothing."""
        return Place(1.0, 2.0) if closely else None

    @effect("absolute")
    def go(self, to: Place | Literal["home"]) -> None:
        """To a place."""

    def dose(self, volume: Annotated[float, Unit("ml")]) -> Annotated[float, Unit("g")]:
        """Once."""
        return volume

    def measure(self, points: int = 3) -> Iterator[Row]:
        """In rows."""
        for number in range(points):
            yield Row(number * 0.1, number * 1e-3)

    def stop(self) -> None:
        """Make safe."""


@asynccontextmanager
async def served(ledger: Ledger) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client of an instrument that remembers in this ledger."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(Host(Everything, describe(Everything, name="everything"), ledger))
        url = await stack.enter_async_context(http.serve(host))
        yield await stack.enter_async_context(httpx2.AsyncClient(base_url=url, trust_env=False))


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """A plain client of an instrument that has everything."""
    async with served(Ledger()) as client:
        yield client


@pytest.fixture
async def td(client: httpx2.AsyncClient) -> dict[str, Any]:
    """Its Thing Description."""
    document: dict[str, Any] = (await client.get("/thing-description")).json()
    return document


def faults(document: Any) -> list[str]:
    """What the W3C's schema has against it."""
    return [
        f"{each.json_path}: {each.message[:200]}" for each in jsonschema.Draft7Validator(SCHEMA).iter_errors(document)
    ]


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """A value is what its schema promises, as node-wot reads it: JSON Schema, draft 7."""
    assert schema.keys() & {"type", "const", "enum", "oneOf"}, "node-wot refuses to read it"
    jsonschema.validate(value, schema, jsonschema.Draft7Validator)
    return True


# The document ---------------------------------------------------------------------------------------------------------


async def test_it_is_found_where_things_are_looked_for(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    response = await client.get("/.well-known/wot")

    assert response.headers["content-type"] == "application/td+json"
    assert response.json() == td
    assert "https://www.w3.org/2022/wot/td/v1.1" in td["@context"]


async def test_it_fits_the_schema_of_the_w3c(td: dict[str, Any]) -> None:
    assert faults(td) == []


@pytest.mark.parametrize("bearer", [True, False])
def test_it_says_whether_a_token_is_needed(bearer: bool) -> None:
    description = describe(Everything, name="everything").description

    td = thing_description(description, identity=new_id(), base="http://lab.example:8000/", bearer=bearer)

    assert faults(td) == []
    assert td["securityDefinitions"][td["security"][0]]["scheme"] == ("bearer" if bearer else "nosec")


async def test_where_tokens_are_asked_for_it_says_so_and_an_observer_acts_on_no_thing(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    observer, _ = tokens.create("Ada", "observer", days=None)
    door = Door(Gate("everything", tokens), INSTRUMENT)
    async with Host(Everything, describe(Everything, name="everything"), Ledger()) as host:
        app = http.build_app(host)

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            await door.pass_on(app, scope, receive, send)

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(guarded), base_url="http://localhost") as client:
            assert (await client.get("/thing-description")).status_code == 401
            client.headers["authorization"] = f"Bearer {observer}"
            td = (await client.get("/thing-description")).json()

            assert td["securityDefinitions"]["bearer"]["scheme"] == "bearer"
            assert (await client.get("/thing/properties/position")).json() == 1.5
            assert (await client.put("/thing/properties/position", json=7)).status_code == 403
            assert (await client.post("/thing/actions/dose", json={"volume": 2})).status_code == 403
            assert (await client.post("/stop")).status_code == 200


async def test_its_id_is_the_same_when_the_host_is_started_again(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        async with served(Ledger(tmp_path / "ledger.db")) as client:
            seen.append((await client.get("/thing-description")).json()["id"])

    assert seen[0].startswith("urn:uuid:")
    assert seen[0] == seen[1]


async def test_units_and_limits_are_said_of_properties_and_of_what_goes_in_and_out(td: dict[str, Any]) -> None:
    position = td["properties"]["position"]

    assert (position["unit"], position["minimum"], position["maximum"]) == ("mm", 0, 100)
    assert td["actions"]["dose"]["input"]["properties"]["volume"]["unit"] == "ml"
    assert td["actions"]["dose"]["output"]["unit"] == "g"
    assert td["actions"]["measure"]["output"]["properties"]["current"]["unit"] == "A"


async def test_what_repeating_an_action_would_do_is_said_in_the_words_of_the_standard(td: dict[str, Any]) -> None:
    said = {name: (each["safe"], each["idempotent"]) for name, each in td["actions"].items()}

    assert said == {
        "look": (True, True),
        "go": (False, True),
        "dose": (False, False),
        "measure": (False, False),
        "stop": (False, True),
    }
    assert td["actions"]["dose"]["labretto:effect"] == "once"


async def test_only_what_can_be_set_has_a_form_for_writing(td: dict[str, Any]) -> None:
    for name, described in td["properties"].items():
        operations = [operation for form in described["forms"] for operation in form["op"]]

        assert described["readOnly"] == ("writeproperty" not in operations) == (name != "position")


def test_alternatives_that_overlap_are_told_by_their_types() -> None:
    schema = data_schema({"anyOf": [{"type": "integer"}, {"type": "number", "minimum": 0.5}, {"type": "null"}]})

    assert [fits(value, schema) for value in (7, 0.5, None)] == [True] * 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(0.25, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("7", schema)


# What it promises -----------------------------------------------------------------------------------------------------


async def test_every_property_reads_as_its_schema_says(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    for described in td["properties"].values():
        response = await client.get(described["forms"][0]["href"])

        assert response.headers["content-type"] == "application/json"
        assert fits(response.json(), described)


async def test_a_property_is_a_plain_value_and_how_sure_it_is_stands_in_the_headers(client: httpx2.AsyncClient) -> None:
    response = await client.get("/thing/properties/position")

    assert response.json() == 1.5
    assert response.headers["labretto-status"] == "ok"
    assert response.headers["labretto-time"].endswith("Z")


async def test_all_properties_are_read_at_once(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    values = (await client.get(td["forms"][0]["href"])).json()

    assert values.keys() == td["properties"].keys()
    assert all(fits(value, td["properties"][name]) for name, value in values.items())


async def test_a_property_is_written_with_a_plain_value(client: httpx2.AsyncClient) -> None:
    assert (await client.put("/thing/properties/position", json=7)).status_code == 204


async def test_what_is_refused_is_told_as_everywhere(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    above = await client.put("/thing/properties/position", json=101)
    unknown = await client.post("/thing/actions/dance")

    assert (above.status_code, above.json()["type"]) == (422, "urn:labretto:error:LimitError")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:labretto:error:NotFoundError")
    assert fits(above.json(), td["schemaDefinitions"]["problem"])


@pytest.mark.parametrize(
    ("action", "given"), [("look", {"closely": True}), ("look", None), ("dose", {"volume": 2}), ("measure", {})]
)
async def test_an_action_answers_its_result_as_its_schema_says(
    client: httpx2.AsyncClient, td: dict[str, Any], action: str, given: Any
) -> None:
    response = await client.post(f"/thing/actions/{action}", json=given)

    assert response.status_code == 200
    assert fits(response.json(), td["actions"][action]["output"])


async def test_an_action_without_a_result_answers_nothing(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    response = await client.post("/thing/actions/go", json={"to": "home"})

    assert (response.status_code, response.content) == (204, b"")
    assert "output" not in td["actions"]["go"]


async def test_an_action_under_an_id_is_done_once_and_can_be_asked_about(
    client: httpx2.AsyncClient, td: dict[str, Any]
) -> None:
    forms = {form["op"]: form for form in td["actions"]["dose"]["forms"]}
    identity = new_id()
    href = forms["invokeaction"]["href"].replace("{?id}", f"?id={identity}")

    first, again = [await client.post(href, json={"volume": 2}) for _ in range(2)]
    found = await client.get(forms["queryaction"]["href"].replace("{id}", identity))

    assert first.json() == again.json() == 2.0
    assert found.json()["state"] == "succeeded"
    assert str(client.base_url.join(first.headers["content-location"])) == str(found.url)
    assert fits(found.json(), td["schemaDefinitions"]["invocation"])


async def test_the_driver_is_stopped_as_an_action(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    stop = td["actions"]["stop"]

    assert fits((await client.post(stop["forms"][0]["href"])).json(), stop["output"])


async def data_of(response: httpx2.Response) -> AsyncIterator[Any]:
    """None once it listens; then the data of events without a name, which alone an EventSource gives `onmessage`."""
    lines = response.aiter_lines()
    assert await anext(lines) == ":"
    yield None
    async for line in lines:
        assert not line.startswith("event:")
        if line.startswith("data:"):
            yield json.loads(line[5:])


async def test_an_observed_property_tells_its_value_now_and_whenever_it_is_another(
    client: httpx2.AsyncClient, td: dict[str, Any]
) -> None:
    form = td["properties"]["position"]["forms"][1]
    assert form["subprotocol"] == "sse"

    async with client.stream("GET", form["href"]) as response:
        values = data_of(response)
        assert await anext(values) is None
        assert await anext(values) == 1.5
        await client.put("/thing/properties/position", json=7)
        assert await anext(values) == 7.0


async def test_events_tell_what_their_schema_says(client: httpx2.AsyncClient, td: dict[str, Any]) -> None:
    for topic in ("invocation", "stream"):
        described = td["events"][topic]
        async with client.stream("GET", described["forms"][0]["href"]) as response:
            lines = response.aiter_lines()
            await anext(lines)  # the welcome: it listens
            await client.post("/thing/actions/measure", json={"points": 2})
            data = next(
                json.loads(line[5:]) for line in [await anext(lines), await anext(lines)] if line[:5] == "data:"
            )

            assert fits(data, described["data"])


async def test_asking_only_for_the_headers_of_events_ends(client: httpx2.AsyncClient) -> None:
    response = await client.head("/thing/properties/position/changes")

    assert response.headers["content-type"].startswith("text/event-stream")
    assert (await client.get("/thing/properties/position")).json() == 1.5


async def test_unknown_events_are_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/thing/events/weather")).status_code == 404


# JSON Schema of actions -----------------------------------------------------------------------------------------------


async def test_every_action_has_a_json_schema(client: httpx2.AsyncClient) -> None:
    for name, schema in (await client.get("/schemas")).json().items():
        jsonschema.Draft202012Validator.check_schema(schema)
        response = await client.get(f"/schemas/{name}")

        assert response.headers["content-type"] == "application/schema+json"
        assert response.json() == schema


async def test_the_schema_of_an_action_takes_what_the_action_takes(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/schemas/dose")).json()

    jsonschema.validate({"volume": 2}, schema)
    assert schema["properties"]["volume"]["unit"] == "ml"
    for wrong in ({}, {"volume": "much"}, {"volume": 2, "speed": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)

"""The documentation that a board makes of itself."""

from heritage_app import app as heritage

from microfastapi import TestClient


def test_the_document_is_openapi_with_types_limits_and_units():
    document = TestClient(heritage).get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    item = document["paths"]["/items/{item_id}"]
    assert sorted(item) == ["delete", "get", "patch", "put"]
    assert item["get"]["parameters"][0]["schema"] == {"type": "integer"}
    body = document["paths"]["/pump"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["volume"] == {"type": "number", "minimum": 0, "maximum": 10, "unit": "mL"}
    assert body["required"] == ["volume"]
    assert "/docs" not in document["paths"]


def test_the_page_is_small_and_compressed():
    reply = TestClient(heritage).get("/docs")
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.content[:2] == b"\x1f\x8b"
    assert len(reply.content) <= 4096


def test_a_page_from_elsewhere_may_not_move_anything():
    client = TestClient(heritage)
    assert client.put("/items/1", {"a": 1}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.put("/items/1", {"a": 1}, headers={"Origin": "http://board"}).status_code == 200

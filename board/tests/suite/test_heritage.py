"""Heritage D, and what a handler may take and give back; through the real parser, without a network."""

from heritage_app import app, index, read_item, sensors

from microfastapi import TestClient

client = TestClient(app)


def faults(reply):
    assert reply.status_code == 422, reply.content
    return [(fault["type"], fault["loc"]) for fault in reply.json()["detail"]]


def test_the_original_spelling_answers_json():
    reply = client.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {"hello": "world"}


def test_a_query_parameter_is_converted_and_may_be_left_out():
    assert client.get("/sensors/?userId=7").json() == {"userId": 7}
    assert client.get("/sensors/").json() == {"userId": None}
    assert client.get("/sensors?userId=7").json() == {"userId": 7}


def test_a_path_parameter_is_converted():
    assert client.get("/items/5?q=abc").json() == {"item_id": 5, "q": "abc"}
    assert client.get("/items/5").json() == {"item_id": 5, "q": None}


def test_percent_encoding_and_plus_are_read():
    assert client.get("/items/5?q=%C3%A9+%26%2B").json()["q"] == "é &+"
    assert client.get("/whole/a%20b/c+d").json() == "a b/c+d"


def test_what_does_not_fit_is_a_422_in_fastapis_shape():
    assert faults(client.get("/items/five")) == [("int_parsing", ["path", "item_id"])]
    assert faults(client.get("/sensors/?userId=1_0")) == [("int_parsing", ["query", "userId"])]


def test_printing_tells_address_mac_and_the_url_to_open():
    text = str(app)
    assert "192.168.4.16" in text
    assert "28:cd:c1:00:00:01" in text
    assert "http://192.168.4.16/docs" in text


def test_routes_are_the_functions_themselves():
    assert app.routes["/"] is index
    assert app.routes["/sensors/"] is sensors
    assert app.routes["/items/{item_id}"] is read_item
    assert index() == {"hello": "world"}
    assert index.__name__ == "index"
    assert "PUT /items/{item_id}" in app.routes


def test_a_body_and_a_default_with_limits():
    assert client.put("/items/2", {"a": 1, "b": 2}).json() == {"item_id": 2, "sum": 3.0}
    assert client.put("/items/2?factor=2.5", {"a": 2}).json()["sum"] == 5.0
    assert faults(client.put("/items/x?factor=11", [1])) == [
        ("int_parsing", ["path", "item_id"]),
        ("dict_type", ["body"]),
        ("less_than_equal", ["query", "factor"]),
    ]


def test_fields_of_a_body_have_types_limits_and_choices():
    assert client.post("/pump", {"volume": 2}).json() == {"volume": 2.0, "mode": "slow", "on": False}
    assert faults(client.post("/pump", {"volume": -1, "mode": "mad"})) == [
        ("greater_than_equal", ["body", "volume"]),
        ("literal_error", ["body", "mode"]),
    ]
    assert faults(client.post("/pump", {})) == [("missing", ["body", "volume"])]
    assert faults(client.post("/pump", {"volume": "two"})) == [("number_parsing", ["body", "volume"])]
    assert client.post("/pump?on=yes", {"volume": 0}).json()["on"] is True
    assert faults(client.post("/pump?on=perhaps", {"volume": 0})) == [("boolean_parsing", ["query", "on"])]


def test_types_may_stand_in_the_decorator():
    assert client.patch("/items/4?name=x").json() == {"item_id": 4, "name": "x"}
    assert faults(client.patch("/items/4")) == [("missing", ["query", "name"])]


def test_json_that_was_cut_off_is_refused():
    for text in (b'{"volume":', b'{"volume": 1', b'{"volume": [1}', b"{", b'{"volume":}', b"\xff\xfe", b"nonsense"):
        assert faults(client.post("/pump", body=text)) == [("json_invalid", ["body"])], text
    assert client.put("/items/1", body=b'{"a}{": 1}').json()["sum"] == 1


def test_a_status_and_headers_may_come_with_the_result():
    reply = client.get("/teapot")
    assert (reply.status_code, reply.headers["x-pot"], reply.json()) == (418, "tea", {"short": True})
    reply = client.delete("/items/1")
    assert (reply.status_code, reply.content) == (204, b"")


def test_a_refusal_is_problem_details():
    reply = client.delete("/items/13")
    assert reply.status_code == 409
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["detail"] == "13 stays"


def test_an_unknown_path_is_404_and_an_unknown_method_405_with_what_is_allowed():
    assert client.get("/nothing").status_code == 404
    reply = client.post("/items/4")
    assert reply.status_code == 405
    assert sorted(reply.headers["allow"].split(", ")) == ["DELETE", "GET", "PATCH", "PUT"]


def test_head_is_get_without_the_body():
    reply = client.request("HEAD", "/")
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["content-length"] == str(len(client.get("/").content))


def test_an_exception_is_500_and_stays_in_the_log():
    before = app.errors
    assert client.get("/broken").status_code == 500
    assert app.errors == before + 1
    assert "ZeroDivisionError" in app.log[-1]
    assert client.get("/").status_code == 200


def test_short_memory_is_503_and_serving_goes_on():
    assert client.get("/hungry").status_code == 503
    assert client.get("/").status_code == 200


def test_what_json_has_no_word_for():
    assert client.get("/odd").json() == [None, None, [1, 2], "YWI=", "finance <b>(x)</b>"]


def test_text_bytes_and_pieces():
    reply = client.get("/plain")
    assert reply.text == "grüß Gott"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    reply = client.get("/pieces")
    assert reply.content[:4] == b"abcc"
    assert len(reply.content) == 602


def test_a_handler_may_ask_for_the_request():
    reply = client.get("/echo?a=1&b=&c", headers={"user-AGENT": "me"})
    assert reply.json() == {"method": "GET", "path": "/echo", "agent": "me", "query": {"a": "1", "b": "", "c": ""}}


def test_bad_utf8_and_bad_targets_are_400():
    assert client.get("/items/%ff").status_code == 400
    assert client.get("/items/%zz").status_code == 400
    assert client.get("items").status_code == 400

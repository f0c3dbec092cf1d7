"""The application of heritage D, as people wrote it, and what newer handlers add."""

from microfastapi import Body, HTTPException, MicroFastApi, Query, Response


class wifi:
    ip = "192.168.4.16"
    mac = "28:cd:c1:00:00:01"


app = MicroFastApi(ip=wifi.ip, port=80, mac=wifi.mac)


@app.get('/')
def index():
    return {"hello": "world"}


@app.get('/sensors/')
def sensors(userId: int = None):
    return {"userId": userId}


@app.get('/items/{item_id}')
def read_item(item_id: int, q=None):
    return {"item_id": item_id, "q": q}


@app.put("/items/{item_id}")
async def replace_item(
    item_id: int,  # a comment, and an annotation with brackets
    body: "dict[str, int]" = None,
    factor: float = Query(1.0, ge=0, le=10, unit="mm"),
):
    return {"item_id": item_id, "sum": sum(body.values()) * factor}


@app.patch("/items/{item_id:int}", name=str)
def rename(item_id, name):
    return {"item_id": item_id, "name": name}


@app.delete("/items/{item_id}", status_code=204)
def remove(item_id: int):
    if item_id == 13:
        raise HTTPException(409, "13 stays")


@app.post("/pump")
def pump(
    volume: float = Body(ge=0, le=10, unit="mL"),
    mode: str = Body("slow", choices=["slow", "fast"]),
    on: bool = False,
):
    return {"volume": volume, "mode": mode, "on": on}


@app.get("/teapot")
def teapot():
    return {"short": True}, 418, {"X-Pot": "tea"}


@app.get("/plain")
def plain():
    return Response("grüß Gott")


@app.get("/broken")
def broken():
    return 1 / 0


@app.get("/hungry")
def hungry():
    raise MemoryError


@app.get("/odd")
def odd():
    return [float("nan"), float("inf"), (1, 2), b"ab", "finance <b>(x)</b>"]


@app.get("/whole/{rest:path}")
def whole(rest):
    return rest


@app.get("/echo")
def echo(request):
    agent = request.header("User-Agent")
    return {"method": request.method.decode(), "path": request.path, "agent": agent, "query": request.query}


@app.get("/pieces")
def pieces():
    return Response(iter(["a", b"b", "c" * 600]), content_type="text/plain")

"""Connections, and clients that behave badly: nothing hangs, nothing leaks, everybody else is served."""

import asyncio
import json

from wire import Served

from microfastapi import MicroFastApi, Response

GET = b"GET / HTTP/1.1\r\nHost: board\r\n\r\n"


def made(**facts) -> MicroFastApi:
    app = MicroFastApi(docs=False, **facts)

    @app.get("/")
    def index():
        return {"hello": "world"}

    @app.get("/items/{item_id}")
    def item(item_id: int):
        return item_id

    @app.post("/length")
    def length(body: dict):
        return len(body["text"])

    @app.get("/slow")
    async def slow():
        for _ in range(3):
            await asyncio.sleep(0.01)
        return "done"

    @app.get("/large")
    def large():
        return Response(iter([b"x" * 400] * 10))

    return app


async def test_a_connection_is_kept_and_reused():
    async with Served(made()) as served:
        client = await served.open()
        for _ in range(3):
            assert (await client.ask(GET))[2] == b'{"hello": "world"}'
        assert len(served.app.connections) == 1
        assert (await client.ask(b"GET /items/7 HTTP/1.1\r\nConnection: close\r\n\r\n"))[2] == b"7"
        assert await client.ended()
        await client.close()


async def test_http_1_0_is_answered_once():
    async with Served(made()) as served:
        client = await served.open()
        assert (await client.ask(b"GET / HTTP/1.0\r\n\r\n"))[0] == 200
        assert await client.ended()
        await client.close()


async def test_a_request_may_come_byte_by_byte():
    async with Served(made()) as served:
        client = await served.open()
        for at in range(len(GET)):
            await client.send(GET[at : at + 1])
            await asyncio.sleep(0)
        assert (await client.reply())[0] == 200
        await client.close()


async def test_a_body_may_come_in_pieces_and_be_larger_than_the_head_buffer():
    body = json.dumps({"text": "y" * 3000}).encode()
    async with Served(made()) as served:
        client = await served.open()
        await client.send(b"POST /length HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 700):
            await client.send(body[at : at + 700])
            await asyncio.sleep(0)
        assert (await client.reply())[2] == b"3000"
        assert (await client.ask(GET))[0] == 200
        await client.close()


async def test_requests_in_one_piece_are_answered_in_order():
    async with Served(made()) as served:
        client = await served.open()
        body = b'{"text": "abc"}'
        post = b"POST /length HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        await client.send(GET + post + b"GET /items/1 HTTP/1.1\r\n\r\n" + GET)
        answers = []
        for _ in range(4):  # MicroPython knows no `await` in a comprehension
            answers.append((await client.reply())[2])
        assert answers == [b'{"hello": "world"}', b"3", b"1", b'{"hello": "world"}']
        await client.close()


async def test_a_head_that_never_ends_is_431():
    async with Served(made()) as served:
        client = await served.open()
        status, head, _ = await client.ask(b"GET / HTTP/1.1\r\nX: " + b"a" * 3000)
        assert status == 431
        assert b"Connection: close" in head
        await client.close()


async def test_a_body_beyond_the_bound_is_413_before_it_is_read():
    async with Served(made()) as served:
        client = await served.open()
        status, _, _ = await client.ask(b"POST /length HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"z" * 5000)
        assert status == 413
        await client.close()


async def test_nonsense_is_refused_in_words():
    asked = (
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),  # somebody speaks TLS
        (b"GET /\r\n\r\n", 400),
        (b"GET http HTTP/1.1\r\n\r\n", 400),
        (b"POST /length HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST /length HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /items/%FF HTTP/1.1\r\n\r\n", 400),
        (b"GET /items/\xff\xfe HTTP/1.1\r\n\r\n", 400),
        (b"GET /items/1?novalue&&=x&a=%41 HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nNo colon here\r\n: \r\n\r\n", 200),
        (b"BREW / HTTP/1.1\r\n\r\n", 405),
    )
    async with Served(made()) as served:
        for data, status in asked:
            client = await served.open()
            assert (await client.ask(data))[0] == status, data
            await client.close()
        client = await served.open()
        assert (await client.ask(GET))[0] == 200
        await client.close()


async def test_a_silent_connection_is_closed_when_its_time_is_up():
    app = made()
    app.beat_milliseconds = 5
    async with Served(app) as served:
        silent = await served.open()
        halting = await served.open()
        await halting.send(b"GET / HT")
        assert await silent.reply() == (
            408,
            b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"",
        )
        assert (await halting.reply())[0] == 408
        idle = await served.open()
        assert (await idle.ask(GET))[0] == 200
        assert await idle.ended()
        unfinished = await served.open()
        assert (await unfinished.ask(b"POST /length HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"))[0] == 408
        for client in (silent, halting, idle, unfinished):
            await client.close()
        assert app.connections == []


async def test_twelve_slow_clients_do_not_keep_a_newcomer_out():
    app = made()
    async with Served(app) as served:
        slow = []
        for _ in range(12):
            client = await served.open()
            await client.send(b"GET / HTTP/1.1\r\nX-Slow")
            slow.append(client)
        newcomer = await served.open()
        assert (await newcomer.ask(GET))[0] == 200
        assert len(app.connections) <= 4
        for client in slow + [newcomer]:
            await client.close()


async def test_the_idlest_connection_makes_room_and_a_busy_one_does_not():
    app = made(connections=2)
    async with Served(app) as served:
        busy = await served.open()
        await busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
        idle = await served.open()
        assert (await idle.ask(GET))[0] == 200
        newcomer = await served.open()
        assert (await newcomer.ask(GET))[0] == 200
        assert await idle.ended()
        assert (await busy.reply())[2] == b'"done"'
        for client in (busy, idle, newcomer):
            await client.close()


async def test_where_all_are_busy_a_newcomer_is_told_so():
    app = made(connections=1)
    async with Served(app) as served:
        busy = await served.open()
        await busy.send(b"GET /slow HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0.005)
        newcomer = await served.open()
        status, head, _ = await newcomer.reply()
        assert status == 503
        assert b"Retry-After" in head
        assert (await busy.reply())[0] == 200
        await busy.close()
        await newcomer.close()


async def test_a_client_that_goes_away_leaves_nothing_behind():
    app = made()
    async with Served(app) as served:
        for data in (
            b"",
            b"GET",
            b"POST /length HTTP/1.1\r\nContent-Length: 50\r\n\r\n{",
            b"GET /large HTTP/1.1\r\n\r\n",
        ):
            client = await served.open()
            if data:
                await client.send(data)
            await client.close()
        client = await served.open()
        status, head, body = await client.ask(b"GET /large HTTP/1.1\r\n\r\n")
        assert (status, len(body)) == (200, 4000)
        assert b"chunked" in head
        await client.close()
        for _ in range(200):
            if not app.connections:
                break
            await asyncio.sleep(0.005)
        assert app.connections == []


async def test_a_thousand_requests_leave_the_heap_as_it_was():
    import gc

    if not hasattr(gc, "mem_alloc"):
        return
    async with Served(made()) as served:
        client = await served.open()
        levels = []
        for _ in range(3):
            for _ in range(300):
                await client.ask(GET)
            gc.collect()
            levels.append(gc.mem_alloc())
        assert levels[2] - levels[1] < 256, levels
        await client.close()

"""Checks of the words of HTTP: paths, methods, statuses, problem details, bodies that are none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from labretto.instrument.invocation import new_id
from labretto.network.conformance.candidate import Candidate, counted_up
from labretto.network.conformance.judging import Checks, Failed, expect

checks = Checks()

_JSON = {"content-type": "application/json"}


async def _asked(
    host: Candidate, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = _JSON
) -> httpx2.Response:
    """What a stranger with plain HTTP is answered."""
    async with httpx2.AsyncClient(trust_env=False, timeout=None) as client:
        shown = dict(headers) | _shown(host)
        return await client.request(method, host.connection.address + path, content=body, headers=shown)


def _shown(host: Candidate) -> dict[str, str]:
    return {"authorization": f"Bearer {host.token}"} if host.token else {}


async def _refused(
    host: Candidate, method: str, path: str, *statuses: int, body: bytes | None = None, headers: Any = _JSON
) -> dict[str, Any]:
    """The problem details that it is refused with."""
    answer = await _asked(host, method, path, body, headers)
    asked = f"{method} {path[:80]}" + (f" with {body[:40]!r}" if body else "")
    wanted = " or ".join(map(str, statuses))
    expect(answer.status_code in statuses, asked, wanted, f"{answer.status_code}: {answer.text[:300]}")
    kind = answer.headers.get("content-type", "")
    expect(kind.startswith("application/problem+json"), asked, "application/problem+json", kind)
    problem = _json(answer, asked)
    whole = isinstance(problem, dict) and {"type", "title", "status", "detail"} <= set(problem)
    expect(whole, asked, "type, title, status and detail", problem)
    expect(problem["status"] == answer.status_code, asked, f"`status` {answer.status_code} as sent", problem)
    return dict(problem)


def _json(answer: httpx2.Response, asked: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise Failed(asked, "JSON", answer.text[:300]) from None


@checks.add("What is not there is 404 with problem details", wire="http")
async def _(host: Candidate) -> None:
    for path in ("/no/such/path", "/attributes/no_such_attribute", "/actions/no_such_action/" + new_id()):
        await _refused(host, "GET", path, 404)


@checks.add("A method that a path does not know is 405 and names those that it knows", wire="http")
async def _(host: Candidate) -> None:
    for method, path in (("DELETE", "/attributes"), ("PUT", "/health"), ("PATCH", "/"), ("GET", "/stop")):
        await _refused(host, method, path, 405)
        answer = await _asked(host, method, path)
        allowed = answer.headers.get("allow", "")
        expect(bool(allowed), f"{method} {path}", "the header Allow", dict(answer.headers))


@checks.add("A GET begins nothing", wire="http")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    before = await host.counted(action)
    answer = await _asked(host, "GET", f"/actions/{action.name}")
    expect(answer.status_code in (404, 405), f"GET /actions/{action.name}", "405", answer.status_code)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), f"GET /actions/{action.name}", "nothing is done", f"{after} times")


@checks.add("A body that cannot be read is refused with problem details, and nothing is done", wire="http")
async def _(host: Candidate) -> None:
    action = host.repeatable()[0]
    before, identity = await host.counted(action), new_id()
    deep = b'{"mark": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    for body in (b"{", b"\xff\xfe", b'{"a": NaN}', b"[1, 2]", b'"text"', b"17", deep, b'{"a": 1, ' * 100):
        await _refused(host, "PUT", f"/actions/{action.name}/{identity}", 400, 413, 422, body=body)
    after = await host.counted(action)
    expect(counted_up(before, after, 0), "Bodies that are none", "nothing is done", f"{after} times")


@checks.add("A body that is announced as larger than the host takes is refused without being read", wire="http")
async def _(host: Candidate) -> None:
    where = urlsplit(host.connection.address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port or 80)
    try:
        path = f"/actions/{host.repeatable()[0].name}/{new_id()}"
        head = f"PUT {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in _shown(host).items())
        writer.write(head.encode() + b"Content-Length: 1073741824\r\n\r\n{")
        await writer.drain()
        line = await reader.readline()
    except ConnectionError as error:
        raise Failed("A body of 1 GB", "413", str(error)) from error
    finally:
        writer.close()
    expect(b" 413 " in line, "A body of 1 GB", "413", line)


@checks.add("An action that failed is problem details with the invocation in it, never a 200", "fail", wire="http")
async def _(host: Candidate) -> None:
    path = f"/actions/{host.action('fail').name}/{new_id()}"
    problem = await _refused(host, "PUT", path, 502, body=b"{}")
    invocation = problem.get("invocation") or {}
    expect(invocation.get("state") == "failed", f"PUT {path}", "`invocation` with its state", problem)


@checks.add("Prefer: respond-async is answered while it runs, with 202 and the Location", "hold", wire="http")
async def _(host: Candidate) -> None:
    async with host.running("hold") as begun:
        path = f"/actions/{begun['action']}/{begun['id']}"
        body = json.dumps(begun["parameters"]).encode()
        answer = await _asked(host, "PUT", path, body, _JSON | {"prefer": "respond-async"})
        expect(answer.status_code == 202, f"PUT {path}, respond-async", "202", answer.status_code)
        location = answer.headers.get("location", "")
        expect(bool(location), f"PUT {path}, respond-async", "the header Location", dict(answer.headers))
        found = _json(await _asked(host, "GET", location), f"GET {location}")
        expect(found.get("id") == begun["id"], f"GET {location}", f"the invocation {begun['id']}", found)


@checks.add("A lease number that is none is refused", wire="http")
async def _(host: Candidate) -> None:
    action = host.repeatable()[-1]
    body = json.dumps(host.parameters(action)).encode()
    path = f"/actions/{action.name}/{new_id()}"
    for number in ("seven", "-1", "1e3", "9" * 400):
        await _refused(host, "PUT", path, 400, 409, 422, body=body, headers=_JSON | {"labretto-lease": number})

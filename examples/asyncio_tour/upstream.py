"""A stand-in for the two services that the server asks, with their addresses and the form of their answers.

    python upstream.py --port 8001

What is searched for decides how it behaves: `slow` is answered after a minute, `broken` with a 500, `nonsense` with
what is no JSON, `limited` with a 429; anything else with made-up findings.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

SLOW = 60.0
"""Seconds."""


class Upstream:
    """Both services, and how many requests they had at the same time."""

    def __init__(self) -> None:
        self.busy = 0
        self.most = 0
        """Requests at the same moment, so far."""
        self.seen: list[str] = []
        self.go = asyncio.Event()
        """Until it is set, `/page/held` is not answered."""
        self.full = asyncio.Event()
        """Set when so many requests wait at `/page/held` as `expected` says."""
        self.expected = 0

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._count])
        app.router.add_get("/v3/businesses/search", self._businesses)
        app.router.add_get("/v1/search", self._tracks)
        app.router.add_get("/page/{name}", self._page)
        return app

    @web.middleware
    async def _count(self, request: web.Request, handler):
        self.busy += 1
        self.most = max(self.most, self.busy)
        self.seen.append(request.path_qs)
        try:
            return await handler(request)
        finally:
            self.busy -= 1

    async def _businesses(self, request: web.Request) -> web.Response:
        term, limit = request.query.get("term", "food"), int(request.query.get("limit", 20))
        place = {"display_address": ["1 Main Street", request.query["location"]]}
        found = [
            {"name": f"{term} {number}", "rating": 4.5, "location": place, "url": f"https://example.org/{number}"}
            for number in range(1, limit + 1)
        ]
        return await _behaving(term, {"total": limit, "businesses": found})

    async def _tracks(self, request: web.Request) -> web.Response:
        words, limit = request.query["q"], int(request.query.get("limit", 20))
        found = [
            {
                "name": f"{words} {number}",
                "artists": [{"name": "The Band"}],
                "album": {"name": "First"},
                "external_urls": {"spotify": f"https://example.org/{number}"},
            }
            for number in range(1, limit + 1)
        ]
        return await _behaving(words, {"tracks": {"items": found}})

    async def _page(self, request: web.Request) -> web.Response:
        if request.match_info["name"] == "held":
            if self.busy >= self.expected:
                self.full.set()
            await self.go.wait()
        else:
            await asyncio.sleep(0.05)
        return web.Response(text=f"page {request.match_info['name']}")


async def _behaving(words: str, findings: object) -> web.Response:
    match words:
        case "slow":
            await asyncio.sleep(SLOW)
        case "broken":
            return web.Response(status=500, text="the database is away")
        case "limited":
            return web.Response(status=429, headers={"Retry-After": "30"})
        case "nonsense":
            return web.Response(text="<html>Welcome!</html>", content_type="text/html")
    return web.json_response(findings)


@contextlib.asynccontextmanager
async def running(upstream: Upstream, port: int = 0) -> AsyncIterator[str]:
    """The stand-in's address, while the block runs."""
    runner = web.AppRunner(upstream.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def main(port: int) -> None:
    """Serve until Ctrl-C."""
    async with running(Upstream(), port) as url:
        print(f"upstream: {url}  (Ctrl-C ends)", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="A stand-in for the services that server.py asks.")
    arguments.add_argument("--port", type=int, default=8001)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.parse_args().port))

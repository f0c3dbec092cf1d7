"""A little server that asks others: `uvicorn server:app`, and in another terminal `python upstream.py`.

While it waits for one service it answers everybody else, since every wait is an `await`. The environment says
YELP_URL and SPOTIFY_URL (the services; default: upstream.py on this machine), YELP_TOKEN and SPOTIFY_TOKEN, and
UPSTREAM_SECONDS (5), after which an answer is not waited for any more.
"""

import contextlib
import html
import os
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

import aiohttp
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse
from sources import SOURCES, Card, Source, cards_of, fetch

from labretto.network.docs import offline_docs
from labretto.network.http_guard import LOOPBACK, Guard

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 1rem/1.4 system-ui, sans-serif; margin: 2rem; background: #f4f4f2; color: #222; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }}
article {{ background: #fff; border-radius: .5rem; padding: 1rem; box-shadow: 0 1px 3px #0003; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .3rem; }}
p {{ margin: .2rem 0; }}
</style>
<h1>{title}</h1>
<main>{cards}</main>
</html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One session for all requests: it keeps the connections to the services open."""
    timeout = aiohttp.ClientTimeout(total=float(os.environ.get("UPSTREAM_SECONDS", "5")))
    async with aiohttp.ClientSession(timeout=timeout) as app.state.session:
        yield


app = FastAPI(
    title="The asyncio tour's server",
    description="Items, and what two services on the network find.",
    version="1",
    docs_url=None,
    redoc_url=None,
    lifespan=lifespan,
)
app.add_middleware(Guard, names=LOOPBACK)
offline_docs(app)


@app.get("/")
async def root() -> dict[str, str]:
    """Whether the server answers."""
    return {"message": "Hello World"}


@app.get("/items/{item_id}")
async def item(
    item_id: Annotated[int, Path(examples=[5])],
    search_term: Annotated[str | None, Query(examples=["argon"])] = None,
) -> dict[str, Any]:
    """An item, and what was searched for."""
    return {"item_id": item_id, "search_term": search_term}


def known(source: Annotated[str, Path(description="yelp or spotify", examples=["yelp"])]) -> Source:
    """The source of that name, or 404."""
    if source not in SOURCES:
        raise HTTPException(404, f"There is no source {source[:80]!r}; there are {', '.join(SOURCES)}.")
    return SOURCES[source]


async def found(
    request: Request,
    source: Annotated[Source, Depends(known)],
    location: Annotated[str | None, Query(description="yelp: where", examples=["Berlin"], max_length=200)] = None,
    term: Annotated[str | None, Query(description="yelp: what", examples=["coffee"], max_length=200)] = None,
    q: Annotated[str | None, Query(description="spotify: what", examples=["bach"], max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> dict[str, Any]:
    """What the service answers to these words."""
    given = {"location": location, "term": term, "q": q, "limit": str(limit)}
    query = {name: word for name, word in given.items() if name in source.words and word is not None}
    if not query.get(source.needed, "").strip():
        raise HTTPException(422, f"{source.name} needs {source.needed!r}, such as ?{source.needed}=…")
    return await fetch(request.app.state.session, source, query)


_FAULTS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such source"},
    422: {"description": "A word is missing or out of its limits"},
    502: {"description": "The service cannot be reached, or answered nonsense"},
    504: {"description": "The service did not answer in time"},
}


@app.get("/data/{source}", responses=_FAULTS)
async def data(answer: Annotated[dict[str, Any], Depends(found)]) -> dict[str, Any]:
    """What a service finds, as it answers it."""
    return answer


@app.get("/ui/{source}", responses=_FAULTS, response_class=HTMLResponse)
async def ui(source: Annotated[Source, Depends(known)], answer: Annotated[dict[str, Any], Depends(found)]) -> Any:
    """The same as cards."""
    page = PAGE.format(title=html.escape(source.name), cards=_cards(cards_of(source, answer)))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def _cards(cards: Iterable[Card]) -> str:
    """Every text comes from elsewhere, so every text is escaped; a link only leads to the web."""
    return "".join(map(_card, cards)) or "<p>Nothing was found.</p>"


def _card(card: Card) -> str:
    text = {name: html.escape(value) for name, value in card.items()}
    title = text["title"]
    if card["url"].startswith(("https://", "http://")):
        title = f'<a href="{text["url"]}" rel="noreferrer">{title}</a>'
    return f"<article><h2>{title}</h2><p>{text['text']}</p><p>{text['more']}</p></article>"

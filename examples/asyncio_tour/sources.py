"""What is asked of which service, and what comes of it: one function that fetches, and a row for each source.

A service that cannot be reached or answers with nonsense is a 502, one that does not answer in time a 504: the fault is
behind this server, not in the request and not in the server.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from fastapi import HTTPException

LOCAL = "http://127.0.0.1:8001"
"""Where `python upstream.py` listens."""

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""

Card = dict[str, str]


@dataclass(frozen=True)
class Source:
    """A service on the network."""

    name: str
    path: str
    needed: str
    """The word without which there is nothing to search for."""
    words: tuple[str, ...]
    """All words that it takes."""
    cards: Callable[[Mapping[str, Any]], list[Card]]
    """What `/ui/{source}` shows of an answer."""
    always: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        """Where it is: in the environment, else on this machine."""
        return os.environ.get(f"{self.name.upper()}_URL", LOCAL).rstrip("/") + self.path

    @property
    def headers(self) -> dict[str, str]:
        """Who asks, where the service wants to know it."""
        token = os.environ.get(f"{self.name.upper()}_TOKEN")
        return {"Authorization": f"Bearer {token}"} if token else {}


def _businesses(answer: Mapping[str, Any]) -> list[Card]:
    return [
        {
            "title": each["name"],
            "text": f"{each.get('rating', '–')} stars",
            "more": ", ".join(each.get("location", {}).get("display_address", [])),
            "url": each.get("url", ""),
        }
        for each in answer["businesses"]
    ]


def _tracks(answer: Mapping[str, Any]) -> list[Card]:
    return [
        {
            "title": each["name"],
            "text": ", ".join(artist["name"] for artist in each.get("artists", [])),
            "more": each.get("album", {}).get("name", ""),
            "url": each.get("external_urls", {}).get("spotify", ""),
        }
        for each in answer["tracks"]["items"]
    ]


SOURCES = {
    "yelp": Source("yelp", "/v3/businesses/search", "location", ("location", "term", "limit"), _businesses),
    "spotify": Source("spotify", "/v1/search", "q", ("q", "limit"), _tracks, (("type", "track"),)),
}


async def fetch(session: aiohttp.ClientSession, source: Source, query: Mapping[str, str]) -> dict[str, Any]:
    """What a service answers.

    Raises:
        HTTPException: 502 or 504, with a sentence that says what the service did.
    """
    try:
        async with session.get(
            source.address, params=[*query.items(), *source.always], headers=source.headers, allow_redirects=False
        ) as answer:
            body = await answer.content.read(LARGEST + 1)
            if answer.status != 200:
                raise HTTPException(502, f"{source.name} answered {answer.status} {answer.reason}.")
            while not answer.content.at_eof() and len(body) <= LARGEST:
                body += await answer.content.read(LARGEST + 1 - len(body))
    except TimeoutError:
        seconds = session.timeout.total
        raise HTTPException(504, f"{source.name} did not answer within {seconds:g} s; ask again later.") from None
    except aiohttp.ClientError as error:
        raise HTTPException(502, f"{source.name} cannot be reached: {error}.") from error
    if len(body) > LARGEST:
        raise HTTPException(502, f"{source.name} answered more than {LARGEST} bytes.")
    return _object(source, body)


def _object(source: Source, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        raise HTTPException(502, f"{source.name} answered what is no JSON.") from None
    if not isinstance(found, dict):
        raise HTTPException(502, f"{source.name} answered no JSON object.")
    return found


def cards_of(source: Source, answer: Mapping[str, Any]) -> list[Card]:
    """The answer as cards.

    Raises:
        HTTPException: 502: it does not have the form of this service's answers.
    """
    try:
        return [{name: str(text) for name, text in card.items()} for card in source.cards(answer)]
    except (KeyError, TypeError, AttributeError) as error:
        raise HTTPException(502, f"{source.name} answered in an unknown form ({type(error).__name__}).") from error

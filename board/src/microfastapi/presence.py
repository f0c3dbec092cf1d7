"""A board makes itself known: it tells a hub where it is, or tells everybody on the network by multicast DNS.

    app.instrument(Pump(), name="pump").register("http://lab-pc:8000", token="...").announce()

Nothing here waits for an answer from people: whether the hub takes the instrument is decided there. Of multicast DNS
(RFC 6762, 6763) only the half that speaks is here: records are sent unasked, and sent again before they grow old. To
answer questions a board would have to listen on port 5353, which its firmware's own responder (`pump.local`) has.
"""

import asyncio
import json
import socket

from .port import wait

SERVICE = "_labretto._tcp.local"
EVERYBODY = ("224.0.0.251", 5353)
_LIFE = 120  # seconds until a listener forgets what it was told
_AGAIN = 600  # seconds after which the hub is told again: its memory may have been lost


def register(instrument, hub: str, token: "str | None" = None) -> None:
    """While the board serves, tells the hub where it is: at the start, at a new address, and every ten minutes."""

    async def keep():
        pause = 1
        told = None
        since = 0
        while True:
            url = address(instrument)
            if url != told or since >= _AGAIN:
                try:
                    await _tell(hub, token, {"name": instrument.name, "url": url})
                    told, since, pause = url, 0, 10
                except (OSError, ValueError) as error:
                    if pause == 1:  # said once, not every minute
                        instrument.app.report(error)
                    pause = min(pause * 2, 60)
            await wait(pause * 1000)
            since += pause

    instrument.app.background.append(keep)


def announce(instrument, to: "tuple" = EVERYBODY) -> None:
    """While the board serves, tells everybody on the network: twice in a row, then every 30 seconds."""

    async def keep():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        pause = 1
        try:
            while True:
                try:
                    sock.sendto(records(instrument), socket.getaddrinfo(to[0], to[1])[0][-1])
                except OSError:
                    pass  # no network at this moment; the next round will tell
                await wait(pause * 1000)
                pause = 30
        finally:
            sock.close()

    instrument.app.background.append(keep)


def address(instrument) -> str:
    """Where the instrument is found, as a URL."""
    return instrument.app.address + instrument.prefix


async def _tell(hub: str, token: "str | None", words: dict) -> None:
    """Posts the instrument's name and URL; ValueError with the hub's words where it refuses."""
    scheme, _, rest = hub.partition("://")
    if scheme != "http":
        raise ValueError("a board speaks http to its hub, not " + hub)
    place = rest.split("/")[0]
    host, _, port = place.partition(":")
    body = json.dumps(words)
    guard = "Authorization: Bearer %s\r\n" % token if token else ""
    head = "POST /api/instruments HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n"
    reader, writer = await asyncio.open_connection(host, int(port or 80))
    try:
        writer.write((head % (place, guard, len(body)) + "Connection: close\r\n\r\n" + body).encode())
        await writer.drain()
        line = await reader.readline()
        if line[9:10] != b"2":
            while len(await reader.readline()) > 2:
                pass  # the rest of the head
            said = await reader.read(500)
            raise ValueError("%s does not take %s: %s" % (hub, words["name"], (line + said).decode()))
    finally:
        writer.close()


def records(instrument) -> bytes:
    """What is said: the service (PTR), its place (SRV), its facts (TXT), and the address of the host (A)."""
    app = instrument.app
    ip, _, port = app.address[7:].partition(":")
    name = instrument.name + "." + SERVICE
    host = (getattr(app.wifi, "hostname", None) or instrument.name) + ".local"
    facts = b""
    for fact in ("path=" + (instrument.prefix or "/"), "name=" + instrument.name):
        facts += bytes([len(fact)]) + fact.encode()
    number = int(port or 80)
    return b"\0\0\x84\0\0\0\0\x04\0\0\0\0" + b"".join(
        (
            _record(SERVICE, 12, 1, _name(name)),
            _record(name, 33, 0x8001, bytes([0, 0, 0, 0, number >> 8, number & 255]) + _name(host)),
            _record(name, 16, 0x8001, facts),
            _record(host, 1, 0x8001, bytes([int(part) for part in ip.split(".")])),
        )
    )


def _record(name: str, kind: int, of: int, data: bytes) -> bytes:
    facts = bytes([0, kind, of >> 8, of & 255, 0, 0, 0, _LIFE, len(data) >> 8, len(data) & 255])
    return _name(name) + facts + data


def _name(text: str) -> bytes:
    return b"".join([bytes([len(part)]) + part.encode() for part in text.split(".")]) + b"\0"

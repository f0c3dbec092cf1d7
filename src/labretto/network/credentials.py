"""What a client shows: the token for an address, and the public key that a ZMQ address may carry.

A ZMQ address beyond the loopback ends in the public key of its host, `tcp://192.0.2.7:5555#curve=...`, so that what
answers there has to be that host. A token that was not given is LABRETTO_TOKEN; else, for what this machine's own files
name, the token of its owner that lies beside them.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from urllib.parse import urldefrag

from labretto.access.tokens import owner_token
from labretto.errors import InvalidError
from labretto.network.directory import folder_of

_CURVE = "curve="


def token_for(address: str, given: str | None = None) -> str | None:
    """The token to show at `address`; None where there is none to show. What is given as empty shows none.

    Raises:
        InvalidError: it cannot stand in a header.
    """
    token = given if given is not None else os.environ.get("LABRETTO_TOKEN") or _owners(address)
    if token and not re.fullmatch(r"[\x21-\x7e]{1,200}", token):
        raise InvalidError("The token has letters that no token has.", way_out="Is LABRETTO_TOKEN what was told?")
    return token


def with_key(address: str, public: bytes | None) -> str:
    """The address with the host's public key (32 bytes)."""
    if public is None:
        return address
    return f"{address}#{_CURVE}{base64.urlsafe_b64encode(public).decode().rstrip('=')}"


def split_key(address: str) -> tuple[str, bytes | None]:
    """The address as ZMQ takes it, and the host's public key if it carries one.

    Raises:
        InvalidError: what it carries is no key.
    """
    bare, fragment = urldefrag(address)
    if not fragment:
        return bare, None
    try:
        public = base64.b64decode(fragment.removeprefix(_CURVE) + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        public = b""
    if not fragment.startswith(_CURVE) or len(public) != 32:
        raise InvalidError(f"{address[:200]!r} carries no public key.", way_out="Copy the address as the host told it.")
    return bare, public


def _owners(address: str) -> str | None:
    folder: Path | None = folder_of(address)
    return owner_token(folder) if folder else None

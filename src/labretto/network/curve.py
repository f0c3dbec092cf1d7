"""CURVE: ZMQ beyond the loopback, encrypted, and only with the host that was meant.

A host has one key pair for its life, in its folder. Its public half stands in its address. Clients have a new pair for
each connection, which says nothing of who they are: that a token does, inside the encrypted channel. So there is one
kind of credential for all wires, and it ends and is revoked in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85

from labretto.access.tokens import read_secret, write_secret
from labretto.errors import InvalidError, StorageError

Options = dict[zmq.SocketOption, Any]


@dataclass(frozen=True)
class ServerKey:
    """A host's key pair, 32 bytes each."""

    public: bytes
    secret: bytes = field(repr=False)

    def options(self) -> Options:
        """What makes a socket speak to nobody in clear."""
        return {zmq.CURVE_SERVER: 1, zmq.CURVE_SECRETKEY: self.secret}


def server_key(folder: Path) -> ServerKey:
    """The key pair of the host whose things stand in `folder`; made now if there is none.

    Raises:
        ForbiddenError: others can read it.
        InvalidError: pyzmq was built without CURVE, or the file holds no key.
        StorageError: it cannot be written.
    """
    if not zmq.has("curve"):
        raise InvalidError("This pyzmq cannot encrypt.", way_out="Install one from PyPI's wheels: they have CURVE.")
    path = folder / "curve.key"
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_secret(path, zmq.curve_keypair()[1].decode() + "\n", replace=False)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    secret = read_secret(path).encode()
    try:
        return ServerKey(z85.decode(zmq.curve_public(secret)), z85.decode(secret))
    except (ValueError, zmq.ZMQError) as error:
        raise InvalidError(f"{path} holds no key.", way_out="Remove it; a new one is made.") from error


def client_options(public: bytes | None) -> Options:
    """What makes a socket speak only to the host with this key; nothing where there is none."""
    if public is None:
        return {}
    own_public, own_secret = zmq.curve_keypair()
    return {zmq.CURVE_SERVERKEY: public, zmq.CURVE_PUBLICKEY: own_public, zmq.CURVE_SECRETKEY: own_secret}

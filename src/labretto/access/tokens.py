"""Tokens: who has been let in, as what, until when.

A token is 256 random bits, told once. What is kept is its SHA-256, in `tokens.json` in the lab's folder: nobody can try
out 2^256 of them, so a hash made slow on purpose (as for passwords) would cost every request and win nothing. The file
is looked at before each use, so a token that is revoked is refused from then on.

Two are not in the file: `owner.token`, which lies in clear beside it for programs of the user whose folder it is (who
reads that folder owns the lab anyway), and LABRETTO_TOKEN in the environment of a server, for containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from labretto.access.rule import ROLES, Actor, Role
from labretto.errors import ForbiddenError, InvalidError, NotFoundError, StorageError, TokenError

PREFIX = "labretto_"
"""Every token begins so: people and secret scanners know it when they see it."""

LONGEST = 200
"""Characters of what is looked at; anything longer is no token."""

OWNER = Actor("the lab's own programs", "admin", "owner")
FROM_ENVIRONMENT = "environment"
SHORTEST_FROM_ENVIRONMENT = 32
"""Characters of a LABRETTO_TOKEN that a server takes: somebody made it up, so it has to be long."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
_MOST_DAYS = 3650


@dataclass(frozen=True)
class Token:
    """One entry of tokens.json."""

    id: str
    name: str
    """Who has it: a person, or a hub elsewhere."""
    role: Role
    hash: str
    """SHA-256 of the token, hexadecimal."""
    created: str
    """ISO 8601, UTC."""
    expires: str | None
    """None: never."""

    def __post_init__(self) -> None:
        if self.role not in ROLES or not _NAME.fullmatch(self.name) or len(self.hash) != 64:
            raise ValueError(f"the entry {self.id!r} is none")
        _ = self.ends

    @property
    def ends(self) -> datetime | None:
        """When it ends; None: never."""
        return datetime.fromisoformat(self.expires).astimezone(UTC) if self.expires else None

    @property
    def expired(self) -> bool:
        """It has ended."""
        return self.ends is not None and self.ends <= datetime.now(UTC)

    @property
    def actor(self) -> Actor:
        """Who shows it."""
        return Actor(self.name, self.role, self.id, self.ends)


class Tokens:
    """The tokens of one lab.

    Args:
        folder: the lab's.
        environment: a token besides those of the file (LABRETTO_TOKEN of a server); an admin's.

    Raises:
        InvalidError: `environment` is too short.
    """

    def __init__(self, folder: Path, environment: str | None = None) -> None:
        if environment and len(environment) < SHORTEST_FROM_ENVIRONMENT:
            raise InvalidError(
                f"LABRETTO_TOKEN has {len(environment)} characters; a server takes one of {SHORTEST_FROM_ENVIRONMENT} "
                "or more.",
                way_out="Make one that cannot be guessed (labretto token create).",
            )
        self._folder = folder
        self._file = folder / "tokens.json"
        self._stamp: tuple[int, ...] | None = None
        self._by_hash: dict[str, Token] = {}
        self._by_id: dict[str, Token] = {}
        self._fixed: dict[str, Actor] = {}
        if environment:
            self._fixed[hashed(environment)] = Actor("LABRETTO_TOKEN", "admin", FROM_ENVIRONMENT)

    def __bool__(self) -> bool:
        """Somebody from elsewhere could be let in now."""
        return bool(self._fixed) or any(not token.expired for token in self.all())

    def admit_owner(self) -> str:
        """Let the lab's own programs in from now on; answers their token, made now if there was none."""
        secret = _owner_token(self._folder)
        self._fixed[hashed(secret)] = OWNER
        return secret

    def all(self) -> list[Token]:
        """Every token in the file, also those that have ended."""
        self._look()
        return list(self._by_id.values())

    def actor(self, text: str) -> Actor:
        """Who shows this token.

        Raises:
            TokenError: nobody that is known; or it has ended.
        """
        digest = hashed(text)
        for known, actor in self._fixed.items():
            if hmac.compare_digest(known, digest):
                return actor
        self._look()
        token = self._by_hash.get(digest)
        # The dictionary is asked for a hash, so its timing tells nothing of a token; this makes it plain.
        if token is not None and hmac.compare_digest(token.hash, digest):
            return _unexpired(token).actor
        raise TokenError("This token is not known here.", way_out="Ask for one: labretto token create.")

    def still(self, token: str) -> Actor:
        """Who has the token of this id.

        Raises:
            TokenError: it is revoked or has ended.
        """
        for actor in self._fixed.values():
            if actor.token == token:
                return actor
        self._look()
        if token not in self._by_id:
            raise TokenError("The token was revoked.", way_out="Ask for another: labretto token create.")
        return _unexpired(self._by_id[token]).actor

    def create(self, name: str, role: Role, days: float | None) -> tuple[str, Token]:
        """A new token, told here and never again, and what is kept of it.

        Raises:
            InvalidError: no name, no such role, or no time that makes sense.
            StorageError: it cannot be written.
        """
        if role not in ROLES:
            raise InvalidError(f"{role!r} is no role.", way_out=f"Use one of {', '.join(ROLES)}.")
        if not _NAME.fullmatch(name.strip()):
            raise InvalidError(f"{name[:80]!r} cannot be a name.", way_out="Say in up to 64 letters who has the token.")
        if days is not None and not 0 < days <= _MOST_DAYS:
            raise InvalidError(f"{days:g} days is no time.", way_out=f"Choose 1 to {_MOST_DAYS}.")
        now = datetime.now(UTC).replace(microsecond=0)
        expires = None if days is None else (now + timedelta(days=days)).isoformat()
        text = PREFIX + secrets.token_urlsafe(32)
        token = Token(secrets.token_hex(4), name.strip(), role, hashed(text), now.isoformat(), expires)
        with self._changing() as tokens:
            tokens[token.id] = token
        return text, token

    def revoke(self, which: str) -> list[Token]:
        """Take back the token of this id, or every token of this name.

        Raises:
            NotFoundError: there is none.
        """
        with self._changing() as tokens:
            gone = [token for token in tokens.values() if which in (token.id, token.name)]
            for token in gone:
                del tokens[token.id]
        if not gone:
            raise NotFoundError(f"There is no token {which[:80]!r}.", way_out="labretto token list shows them.")
        return gone

    def _look(self) -> None:
        """Read the file if it is another than last time."""
        try:
            found = self._file.stat()
        except OSError:
            self._take((), None)
            return
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            if found.st_mode & 0o022 or found.st_uid not in (os.geteuid(), 0):
                raise ForbiddenError(f"{self._file} can be changed by others.", way_out=f"chmod 600 {self._file}")
            self._take(_read(self._file), stamp)

    def _take(self, tokens: tuple[Token, ...], stamp: tuple[int, ...] | None) -> None:
        self._stamp = stamp
        self._by_id = {token.id: token for token in tokens}
        self._by_hash = {token.hash: token for token in tokens}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Token]]:
        """The tokens, to be changed; two who do so at one time do it one after the other."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / "tokens.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                tokens = {token.id: token for token in self.all()}
                yield tokens
                body = {"tokens": [asdict(token) for token in tokens.values()]}
                write_secret(self._file, json.dumps(body, indent=1) + "\n")
        except OSError as error:
            raise StorageError(f"{self._file} cannot be written: {error.strerror}.") from error


def hashed(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text[:LONGEST].encode("utf-8", "surrogatepass")).hexdigest()


def owner_token(folder: Path) -> str | None:
    """The token with which the lab's own programs ask; None if there is none, or it is not ours to read."""
    try:
        return (folder / "owner.token").read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


def read_secret(path: Path) -> str:
    """The token in a file that somebody named.

    Raises:
        NotFoundError: it cannot be read.
        ForbiddenError: others can read it too.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise NotFoundError(f"The token file {path} cannot be read: {error}.") from None
    if mode & 0o077:
        raise ForbiddenError(f"The token in {path} can be read by others.", way_out=f"chmod 600 {path}")
    if not text or len(text) > LONGEST:
        raise NotFoundError(f"There is no token in {path}.", way_out="Put the token into it, and nothing else.")
    return text


def write_secret(path: Path, text: str, *, replace: bool = True) -> None:
    """Write what is nobody else's business aside, then rename; without `replace` the first writer wins."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            aside.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)


def _owner_token(folder: Path) -> str:
    path = folder / "owner.token"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_secret(path, PREFIX + secrets.token_urlsafe(32) + "\n", replace=False)
        return read_secret(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error


def _unexpired(token: Token) -> Token:
    if token.expired:
        raise TokenError(
            f"The token of {token.name} has ended on {str(token.expires)[:10]}.",
            way_out="Ask for another: labretto token create.",
        )
    return token


def _read(path: Path) -> tuple[Token, ...]:
    try:
        body: Mapping[str, Any] = json.loads(path.read_bytes())
        return tuple(Token(**entry) for entry in body["tokens"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        # Closed, not open: while the file cannot be read nobody is let in.
        raise ForbiddenError(f"{path} cannot be understood: {error}.", way_out="Put it right, or remove it.") from error

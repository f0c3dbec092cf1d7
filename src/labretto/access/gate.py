"""The gate of one server: who asks, may they, not too often, and a line for it. Every wire asks here and nowhere else.

A gate without tokens stands open, as on the loopback: everybody may, and what they do still leaves its line.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from labretto.access import session
from labretto.access.listening import check_bind, is_loopback, names_answered
from labretto.access.pace import Pace
from labretto.access.rule import Actor, Verb, allow
from labretto.access.tokens import LONGEST, OWNER, Tokens
from labretto.access.trail import Act, Trail
from labretto.errors import ForbiddenError, LabError, PaceError, TokenError

ACTS = (2_000.0, 500.0)
"""Acts that one token may do at once, and each second from then on."""
FAILURES = (20.0, 1.0)
"""The same for tokens that are not known, of one address."""
REFUSALS = (100.0, 1.0)
"""Lines about refusals, of one token or address: nobody shall flush the trail with what did not happen."""


class Gate:
    """What stands between a server's wires and what it serves.

    Args:
        thing: the lab or the instrument behind it, as the trail calls it.
        tokens: who is let in; None: everybody.
        trail: where acts leave their line; None: nowhere.
        names: what a Host header may say; None: anything.
    """

    def __init__(
        self,
        thing: str,
        tokens: Tokens | None = None,
        trail: Trail | None = None,
        *,
        names: frozenset[str] | None = None,
    ) -> None:
        self.thing = thing
        self.names = names
        self._tokens = tokens
        self._trail = trail
        self._secret = tokens.admit_owner() if tokens is not None else ""
        self._acts = Pace(*ACTS)
        self._failures = Pace(*FAILURES)
        self._refusals = Pace(*REFUSALS)

    @property
    def guarded(self) -> bool:
        """A token is needed."""
        return self._tokens is not None

    def who(self, token: str | None, where: str = "") -> Actor:
        """Who shows `token`.

        Raises:
            TokenError: nobody that is known, or it has ended.
            PaceError: this address has shown too many that are not known.
        """
        if self._tokens is None:
            return Actor()
        if not token:
            raise TokenError(
                "This lab asks for a token.",
                way_out="Send it as `Authorization: Bearer TOKEN`; programs of ours take it from LABRETTO_TOKEN.",
            )
        try:
            if len(token) > LONGEST:
                raise TokenError("This is no token.", way_out="Ask for one: labretto token create.")
            return self._tokens.actor(token)
        except TokenError:
            if seconds := self._failures.wait(where):
                raise _too_often("tokens that are not known", seconds) from None
            raise

    def who_browses(self, cookie: str) -> Actor:
        """Who has the session of this cookie. Raises `TokenError` if nobody has."""
        if self._tokens is None:
            return Actor()
        if (token := session.opened(cookie, self._secret)) is None:
            raise TokenError("The session has ended.", way_out="Open the page and sign in again.")
        return self._tokens.still(token)

    def still(self, actor: Actor) -> bool:
        """What `actor` showed counts still; for connections that last."""
        if self._tokens is None:
            return True
        try:
            self._tokens.still(actor.token)
        except LabError:
            return False
        return True

    def cookie(self, actor: Actor) -> tuple[str, int]:
        """A session's cookie for `actor`, and the seconds that it lasts."""
        until = session.session_end(actor)
        return session.sealed(actor.token, until, self._secret), session.seconds_until(until)

    def check(self, actor: Actor, verb: Verb) -> None:
        """Let `actor` do `verb` now.

        Raises:
            ForbiddenError: it takes another role; says which.
            PaceError: too many acts at once. Looking and stopping are never too many.
        """
        decision = allow(actor, verb, self.thing)
        if not decision:
            raise ForbiddenError(f"{decision.reason}.", way_out="Ask with a token of that role; nothing moved.")
        if self._tokens is None or verb in ("read", "stop") or actor.token == OWNER.token:
            return
        if seconds := self._acts.wait(actor.token):
            raise _too_often("acts", seconds)

    def note(self, actor: Actor, verb: Verb, what: str, outcome: object, **more: Any) -> None:
        """Leave the line of an act."""
        if self._trail is not None:
            self._trail.add(Act.of(actor, verb, self.thing, what, outcome, **more))

    def note_refusal(self, actor: Actor | None, verb: Verb, what: str, error: LabError, **more: Any) -> None:
        """Leave the line of what was refused; not of all, if there are very many."""
        client = actor.token if actor else str(more.get("where", ""))
        if self._trail is not None and not self._refusals.wait(client):
            line = Act.of(actor or Actor("unknown"), verb, self.thing, what, error.problem()["status"], **more)
            self._trail.add(line if actor else replace(line, role="none"))


def gate_of(
    folder: Path, bound: str, thing: str, *, names: Collection[str] = (), trail_when_open: bool = False
) -> Gate | None:
    """The gate of a server of the lab in `folder` that listens at `bound`; None where everybody may pass unseen.

    Args:
        folder: the lab's.
        bound: the address that is listened on.
        thing: what is served, as the trail calls it.
        names: under which others ask; with any, tokens are needed on the loopback too, for somebody leads them here.
        trail_when_open: acts leave a line even where no token is needed.

    Raises:
        ForbiddenError: others can reach it, and there is no token that would let anybody in.
        InvalidError: LABRETTO_TOKEN is too short.
    """
    answered = names_answered(bound, names)
    if is_loopback(bound) and not names:
        return Gate(thing, None, Trail(folder), names=answered) if trail_when_open else None
    tokens = Tokens(folder, os.environ.get("LABRETTO_TOKEN"))
    check_bind("" if is_loopback(bound) else bound, tokens, folder.name)
    return Gate(thing, tokens, Trail(folder), names=answered)


def _too_often(what: str, seconds: float) -> PaceError:
    return PaceError(f"Too many {what} at once.", way_out=f"Ask again in {seconds:.1f} s.", retry_after=seconds)

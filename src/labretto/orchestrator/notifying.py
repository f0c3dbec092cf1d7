"""Notices reach people: a hook with one method, and two that stand behind it, webhooks and mail.

Each channel has a task of its own and its own place in the journal, kept on disk: what could not be told before the hub
was killed is told by the next one, and a mail server that is down delays no webhook. Attempts are few and spread; then
the notice is given up, which the log says. Nothing waits for any of this. Addresses may be secrets: none is logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import smtplib
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx2

from labretto.access import is_loopback
from labretto.catalog.live import Changes
from labretto.errors import ForbiddenError, InvalidError, LabError, StorageError, UnreachableError
from labretto.lab import Lab, Mail, Occasion
from labretto.orchestrator.following import follow
from labretto.orchestrator.journal import Event, Journal
from labretto.orchestrator.notices import Known, Notice, of_event

logger = logging.getLogger(__name__)

ATTEMPTS = 6
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before each further attempt: doubling, a minute and a half in all."""
WITHIN = 15.0
"""Seconds that one attempt may take."""
TOGETHER = 0.2
"""Seconds for which events are gathered: a notice is in no hurry, and a fast run is not slowed by it."""
_KEPT = 100
"""Notices of instruments that wait for a channel; the oldest go first."""


class Channel(Protocol):
    """A way on which notices reach somebody."""

    @property
    def key(self) -> str:
        """Of its place in the journal; the same in each hub of the lab, and no secret."""

    @property
    def name(self) -> str:
        """For the log; no secret."""

    async def send(self, notice: Notice) -> None:
        """Tell it.

        Raises:
            UnreachableError: not now; try again.
            LabError: never.
        """


class Webhook:
    """Posts a notice as JSON, in which `text` is what chat servers show."""

    def __init__(self, url: str, about: dict[str, str]) -> None:
        self._url = url
        self._about = about
        self.key = f"webhook {_hash(url)}"
        self.name = f"webhook at {urlsplit(url).hostname}"

    async def send(self, notice: Notice) -> None:
        """See `Channel`."""
        said = notice.as_dict()
        body = {**self._about, **said, "text": f"{notice.title}: {notice.text}", "detail": notice.text}
        try:
            async with httpx2.AsyncClient(timeout=WITHIN) as client:
                answer = await client.post(self._url, json=body)
        except httpx2.TransportError as error:
            raise UnreachableError(f"The {self.name} does not answer ({type(error).__name__}).") from None
        if answer.status_code >= 500 or answer.status_code in (408, 429):
            raise UnreachableError(f"The {self.name} answered {answer.status_code}.")
        if not answer.is_success:
            raise InvalidError(f"The {self.name} answered {answer.status_code}; it will not take this notice.")


class Letter:
    """Sends a notice as mail, from a thread."""

    def __init__(self, mail: Mail, about: dict[str, str]) -> None:
        self._mail = mail
        self._about = about
        self.key = f"mail {_hash(f'{mail.host} {mail.to}')}"
        self.name = f"mail by {mail.host}"
        if mail.user and mail.tls == "none" and not is_loopback(mail.host):
            raise InvalidError(
                f"notify.mail: a password is not sent to {mail.host} unhidden.",
                way_out='Use tls = "starttls" or "tls".',
            )

        self._password()  # what is wrong with the file is said when the hub starts, not at night

    async def send(self, notice: Notice) -> None:
        """See `Channel`."""
        try:
            await asyncio.to_thread(self._deliver, self._written(notice))
        except smtplib.SMTPResponseException as error:
            kind = InvalidError if error.smtp_code >= 500 else UnreachableError
            raise kind(f"The {self.name} answered {error.smtp_code}.") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise InvalidError(f"The {self.name} takes no letters for {', '.join(error.recipients)}.") from None
        except (smtplib.SMTPException, OSError) as error:
            raise UnreachableError(f"The {self.name} does not answer ({type(error).__name__}).") from None

    def _password(self) -> str:
        """Read each time: it may be changed while the hub runs."""
        return _secret_lines(self._mail.password_file)[0] if self._mail.password_file else ""

    def _written(self, notice: Notice) -> EmailMessage:
        letter = EmailMessage()
        lab = self._about["lab"]
        letter["Subject"] = " ".join(f"[{lab}] {notice.title}".split())[:200]
        letter["From"], letter["To"] = self._mail.sender, ", ".join(self._mail.to)
        letter["X-Labretto-Occasion"] = notice.occasions[0]
        about = [f"{key}: {value}" for key, value in (self._about | notice.as_dict()).items() if key != "text"]
        letter.set_content("\n".join([notice.text, "", *about]))
        return letter

    def _deliver(self, letter: EmailMessage) -> None:
        mail, context = self._mail, ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(mail.host, mail.port, timeout=WITHIN, context=context)
            if mail.tls == "tls"
            else smtplib.SMTP(mail.host, mail.port, timeout=WITHIN)
        )
        with server:
            if mail.tls == "starttls":
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, self._password())
            server.send_message(letter)


class Notifier:
    """Tells people. Use `async with telling(...)`.

    Args:
        channels: how.
        on: of what.
        journal, changes: from where it is known.
    """

    def __init__(self, channels: Sequence[Channel], on: Sequence[Occasion], journal: Journal, changes: Changes) -> None:
        self._channels = channels
        self._on = frozenset(on)
        self._journal = journal
        self._changes = changes

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[Notifier]:
        """Tell while the block runs."""
        wanted = [work for channel in self._channels for work in (self._of_runs(channel), self._of_the_rest(channel))]
        tasks = [asyncio.create_task(work, name="notifier") for work in wanted]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _of_runs(self, channel: Channel) -> None:
        """What the journal says, from where this channel was when it last told something."""
        place = self._journal.noted(_note(channel))
        if place is None:
            place = self._journal.newest_sequence()
            self._journal.note(_note(channel), place)
        while True:
            try:
                async for piece in follow(self._journal, self._changes, place, together=TOGETHER):
                    for sequence, event in piece:
                        place = sequence
                        if notice := self._notice(event):
                            await self._tell(channel, notice)
                            self._journal.note(_note(channel), sequence)
            except StorageError as error:
                logger.warning("notices wait for the journal", extra={"why": error.detail})
                await asyncio.sleep(LONGEST_PAUSE)
            else:
                return  # the hub ends

    async def _of_the_rest(self, channel: Channel) -> None:
        """What is told of instruments; it is so or it is not when the next hub comes, so nothing of it is kept."""
        known, waiting = Known(), asyncio.Queue[Notice](_KEPT)
        telling = asyncio.create_task(self._tell_all(channel, waiting))
        try:
            async for batch in self._changes.subscribe():
                for notice in (found for change in batch.changes for found in known.of_change(change)):
                    if not self._on.intersection(notice.occasions):
                        continue
                    if waiting.full():
                        waiting.get_nowait()
                    waiting.put_nowait(notice)
                await asyncio.sleep(TOGETHER)
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell_all(self, channel: Channel, waiting: asyncio.Queue[Notice]) -> None:
        while True:
            await self._tell(channel, await waiting.get())

    def _notice(self, event: Event) -> Notice | None:
        if event.kind not in ("waiting", "finished"):
            return None
        notice = of_event(event, self._journal.row(event.run).name)
        return notice if notice and self._on.intersection(notice.occasions) else None

    async def _tell(self, channel: Channel, notice: Notice) -> None:
        """Try until it is told, but not for ever."""
        for pause in (*pauses(), None):
            try:
                await channel.send(notice)
                return
            except UnreachableError as error:
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                why = error.detail
            except LabError as error:
                why = error.detail
            except Exception as error:  # noqa: BLE001 - a channel of others may raise anything; the next notice is told
                why = type(error).__name__
            logger.warning("a notice was given up", extra={"channel": channel.name, "title": notice.title, "why": why})
            return


def pauses() -> list[float]:
    """Seconds between the attempts."""
    return [min(FIRST_PAUSE * 2.0**n, LONGEST_PAUSE) for n in range(ATTEMPTS - 1)]


def channels_of(lab: Lab, url: str) -> list[Channel]:
    """The channels of a lab.

    Args:
        lab: with its `[notify]`.
        url: of the hub, for who wants to look.

    Raises:
        InvalidError: a file of addresses cannot be read, or a password would be sent unhidden.
    """
    about = {"lab": lab.name, "hub": url}
    addresses = [*lab.notify.webhooks, *(line for file in lab.notify.webhook_files for line in _secret_lines(file))]
    letters: list[Channel] = [Letter(lab.notify.mail, about)] if lab.notify.mail else []
    return [*(Webhook(address, about) for address in addresses), *letters]


def _note(channel: Channel) -> str:
    return f"notified: {channel.key}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _secret_lines(file: Path) -> list[str]:
    """The lines of a file that is nobody else's business."""
    try:
        mode, text = file.stat().st_mode, file.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise InvalidError(f"[notify]: {file} cannot be read: {error}.") from None
    if mode & 0o077:
        raise ForbiddenError(f"[notify]: {file} can be read by others.", way_out=f"chmod 600 {file}")
    if not (lines := [line.strip() for line in text.splitlines() if line.strip()]):
        raise InvalidError(f"[notify]: {file} is empty.")
    return lines

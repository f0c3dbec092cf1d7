"""Notices reach people over a real HTTP server and a real mail server; nothing waits for them, no secret is logged."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from fastapi import FastAPI, Request, Response

from labretto.catalog.live import Changes
from labretto.errors import ForbiddenError, InvalidError
from labretto.lab import Lab, Mail, Notify
from labretto.network.http import bound, run_app
from labretto.orchestrator import notifying
from labretto.orchestrator.journal import SqliteJournal
from labretto.orchestrator.notifying import Notifier, channels_of

SUBMITTED = ("submitted", {"name": "anneal", "experiment": {}, "parameters": {}})
FAILED = ("finished", {"state": "failed", "error": {"detail": "The lamp is broken."}})
QUESTION = {"path": "a", "text": "?", "kind": "ask", "choices": ["answer"]}
SECRET = "a-secret-in-an-address"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once; how they are spread is tested by itself."""
    monkeypatch.setattr(notifying, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notifying, "TOGETHER", 0.0)


class Receiver:
    """A web server that takes notices, with the statuses that the test wants."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.url = ""
        self.statuses: list[int] = []
        self.attempts = 0
        self.taken: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.app.post("/{path:path}")(self._take)

    async def _take(self, request: Request) -> Response:
        self.attempts += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status < 300:
            self.taken.put_nowait(await request.json())
        return Response(status_code=status)

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.taken.get(), 10)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    listening = bound("http://127.0.0.1:0")
    receiver.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook/{SECRET}"
    async with run_app(receiver.app, listening):
        yield receiver


class Bench:
    """A journal and a change stream, with whatever is to be told of them."""

    def __init__(self, folder: Path) -> None:
        self.journal = SqliteJournal(folder / "journal.db")
        self.changes = Changes()

    async def append(self, run: str, *entries: Any) -> None:
        await self.journal.append(run, len(self.journal.read(run)), entries)
        self.changes.publish("run", {"id": run})

    @asynccontextmanager
    async def telling(self, **notify: Any) -> AsyncIterator[None]:
        lab = Lab(name="bench", notify=Notify(**notify))
        channels = channels_of(lab, "http://127.0.0.1:8000")
        async with Notifier(channels, lab.notify.on, self.journal, self.changes).telling():
            await asyncio.sleep(0)  # each channel has its place now
            yield


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.changes.close()
    bench.journal.close()


# Webhooks ---------------------------------------------------------------------------------------------------------


async def test_a_run_that_fails_is_posted(bench: Bench, receiver: Receiver) -> None:
    async with bench.telling(webhooks=[receiver.url]):
        await bench.append("a", SUBMITTED, FAILED)
        told = await receiver.next()

    assert told["occasion"] == "run failed"
    assert told["text"] == "anneal failed: The lamp is broken."
    assert (told["lab"], told["run"], told["hub"]) == ("bench", "a", "http://127.0.0.1:8000")


async def test_only_what_somebody_wants_to_hear_is_told(bench: Bench, receiver: Receiver) -> None:
    async with bench.telling(webhooks=[receiver.url], on=["run ended"]):
        await bench.append("a", SUBMITTED, ("waiting", {"reason": "?", "question": QUESTION}))
        await bench.append("b", SUBMITTED, ("finished", {"state": "succeeded", "error": None}))
        assert (await receiver.next())["run"] == "b"

    assert receiver.taken.empty()


async def test_an_instrument_that_is_down_is_told(bench: Bench, receiver: Receiver) -> None:
    async with bench.telling(webhooks=[receiver.url]):
        bench.changes.publish("instrument", {"name": "pump", "state": "crash loop", "reason": "5 deaths", "since": ""})
        told = await receiver.next()

    assert (told["occasion"], told["instrument"]) == ("instrument down", "pump")


async def test_a_server_that_fails_is_asked_again(bench: Bench, receiver: Receiver) -> None:
    receiver.statuses = [503, 429, 500]
    async with bench.telling(webhooks=[receiver.url]):
        await bench.append("a", SUBMITTED, FAILED)
        await receiver.next()

    assert receiver.attempts == 4


async def test_attempts_are_few_and_the_next_notice_is_told(
    bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [503] * notifying.ATTEMPTS + [404]
    async with bench.telling(webhooks=[receiver.url]):
        for run in "abc":
            await bench.append(run, SUBMITTED, FAILED)
        told = await receiver.next()

    assert told["run"] == "c"
    assert receiver.attempts == notifying.ATTEMPTS + 2, "one that will never be taken is not tried again"
    given_up = [record for record in caplog.records if record.message == "a notice was given up"]
    assert len(given_up) == 2


async def test_what_could_not_be_told_is_told_by_the_next_hub(bench: Bench, receiver: Receiver) -> None:
    async with bench.telling(webhooks=[receiver.url]):
        await bench.append("a", SUBMITTED, FAILED)
        await receiver.next()
        await asyncio.to_thread(bench.journal.note("x", 1).result)  # its place is on the disk before the hub dies
    await bench.append("b", SUBMITTED, FAILED)

    async with bench.telling(webhooks=[receiver.url]):
        assert (await receiver.next())["run"] == "b"
    assert receiver.taken.empty()


async def test_a_lab_that_begins_to_notify_does_not_tell_its_past(bench: Bench, receiver: Receiver) -> None:
    await bench.append("a", SUBMITTED, FAILED)

    async with bench.telling(webhooks=[receiver.url]):
        await bench.append("b", SUBMITTED, FAILED)
        assert (await receiver.next())["run"] == "b"


async def test_a_channel_that_is_down_delays_no_other(
    bench: Bench, receiver: Receiver, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "FIRST_PAUSE", 30)
    silent = f"http://127.0.0.1:{free_port}/"
    async with bench.telling(webhooks=[silent, receiver.url]):
        for run in "ab":
            await bench.append(run, SUBMITTED, FAILED)
        assert [(await receiver.next())["run"] for _ in range(2)] == ["a", "b"]


async def test_no_secret_is_logged(
    bench: Bench, receiver: Receiver, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "labretto")
    receiver.statuses = [404]
    silent = f"http://127.0.0.1:{free_port}/{SECRET}"
    async with bench.telling(webhooks=[silent, receiver.url]):
        for run in "ab":
            await bench.append(run, SUBMITTED, FAILED)
        await receiver.next()

    ours = [record for record in caplog.records if record.name.startswith("labretto")]
    assert SECRET not in " ".join(str(vars(record)) for record in ours)
    assert any("webhook at 127.0.0.1" in str(vars(record)) for record in ours)


async def test_an_address_may_stand_in_a_file_that_nobody_else_reads(
    bench: Bench, receiver: Receiver, tmp_path: Path
) -> None:
    file = tmp_path / "chat.url"
    file.write_text(f"\n{receiver.url}\n")
    with pytest.raises(ForbiddenError, match="chmod 600"):
        async with bench.telling(webhook_files=[file]):
            raise AssertionError
    file.chmod(0o600)

    async with bench.telling(webhook_files=[file]):
        await bench.append("a", SUBMITTED, FAILED)
        assert (await receiver.next())["run"] == "a"


def test_attempts_are_spread_over_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "FIRST_PAUSE", 1.0)

    assert notifying.pauses() == [1, 2, 4, 8, 16]


# Mail -------------------------------------------------------------------------------------------------------------


class MailServer:
    """Takes letters, after the answers that the test wants."""

    def __init__(self) -> None:
        self.letters: asyncio.Queue[Any] = asyncio.Queue()
        self.answers: list[str] = []
        self.signed_in: list[tuple[bytes, bytes]] = []
        self._loop = asyncio.get_running_loop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            self._loop.call_soon_threadsafe(self.letters.put_nowait, envelope)
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.signed_in.append((data.login, data.password))
        return AuthResult(success=True)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.letters.get(), 10)


@pytest.fixture
async def mail(free_port: int) -> AsyncIterator[tuple[MailServer, Mail]]:
    server = MailServer()
    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=free_port,
        authenticator=server.authenticate,
        auth_require_tls=False,
        auth_required=False,
    )
    controller.start()
    yield server, Mail(host="127.0.0.1", port=free_port, tls="none", sender="lab@example.org", to=("ada@example.org",))
    controller.stop()


async def test_a_run_that_waits_is_a_letter(bench: Bench, mail: tuple[MailServer, Mail]) -> None:
    server, settings = mail
    question = QUESTION | {"text": "Lade einen Film größer als 5 mm."}
    async with bench.telling(mail=settings):
        await bench.append("a", SUBMITTED, ("waiting", {"reason": "?", "question": question}))
        letter = await server.next()

    assert letter.rcpt_tos == ["ada@example.org"]

    read = message_from_bytes(letter.content, policy=policy.default)
    assert read["Subject"] == "[bench] anneal waits for a person"
    assert "größer als 5 mm" in read.get_content()
    assert "run: a" in read.get_content()


async def test_a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    bench: Bench, mail: tuple[MailServer, Mail], caplog: pytest.LogCaptureFixture
) -> None:
    server, settings = mail
    server.answers = ["451 Later", "250 OK", "554 No"]
    async with bench.telling(mail=settings):
        for run in "abc":
            await bench.append(run, SUBMITTED, FAILED)
        letters = [await server.next() for _ in range(2)]

    assert [b"run: a" in letters[0].content, b"run: c" in letters[1].content] == [True, True]
    assert "mail by 127.0.0.1 answered 554" in str([vars(record) for record in caplog.records])


async def test_a_password_is_read_from_its_file(
    bench: Bench, mail: tuple[MailServer, Mail], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, settings = mail
    file = tmp_path / "password"
    file.write_text("geheim\n")
    file.chmod(0o600)
    async with bench.telling(mail=settings.model_copy(update={"user": "lab", "password_file": file})):
        await bench.append("a", SUBMITTED, FAILED)
        await server.next()

    assert server.signed_in == [(b"lab", b"geheim")]
    ours = [record for record in caplog.records if record.name.startswith("labretto")]
    assert "geheim" not in str([vars(record) for record in ours])


def test_a_password_is_not_sent_over_a_line_that_hides_nothing() -> None:
    mail = Mail(host="mail.example.org", tls="none", sender="a@b", to=("c@d",), user="lab")

    with pytest.raises(InvalidError, match="unhidden"):
        channels_of(Lab(name="bench", notify=Notify(mail=mail)), "")

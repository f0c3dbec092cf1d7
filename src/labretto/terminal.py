"""What the commands print and ask on a terminal: progress, tables, the little prompt of `labretto connect`.

On a terminal people see bars and tables (rich); into a pipe or with --json the same things are plain lines or JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from labretto.access import is_loopback
from labretto.access.tokens import Token, Tokens
from labretto.access.trail import read_trail
from labretto.errors import ConflictError, InvalidError, LabError, NotFoundError, UnreachableError, from_problem
from labretto.instrument import codec
from labretto.instrument.describe import Description
from labretto.lab import ALONE, NAME, LabInstrument, check_name, did_you_mean, home, load_lab
from labretto.network.blocking import BlockingInstrument, connect, describe, read_all
from labretto.network.directory import hubs
from labretto.orchestrator.client import Hub, RunHandle
from labretto.orchestrator.engine import OVER

if TYPE_CHECKING:
    from labretto.access import Role
    from labretto.hub import RunningHub
    from labretto.instrument.reading import Reading
    from labretto.network.conformance.judging import Finding

console = Console(width=None if sys.stdout.isatty() else 10_000)
"""In a pipe no row of a table is folded and no id is cut off: a line for each, for grep and awk."""
errors = Console(stderr=True)


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output, whatever an instrument put into it."""
    print(json.dumps(json.loads(codec.encode_json(value)), indent=2, ensure_ascii=False))


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """`["x=1.5", "name=A1"]` as `{"x": 1.5, "name": "A1"}`: values are JSON, or text where they are not.

    Raises:
        InvalidError: one has no `=`.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidError(f"{text!r} is not NAME=VALUE.", way_out="Write for instance x=1.5.")
        found[name] = value_of(value)
    return found


def value_of(text: str) -> Any:
    """A JSON value, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# labretto demo ----------------------------------------------------------------------------------------------------


def demonstrate(*, once: bool, port: int | None, as_json: bool) -> None:
    """See `labretto demo`."""
    from labretto import hub

    with resources.as_file(resources.files("labretto") / "demo") as folder:
        lab = load_lab(folder / "lab.toml")
        scan = folder / "scan.yaml"

        def ready(running: RunningHub) -> Any:
            if not as_json:
                console.print(f"The page: [bold]{running.url}[/]   (Ctrl-C ends)", highlight=False)
            work = asyncio.to_thread(_demo_run, running.url, scan, as_json)
            return work if once else _beside(work)

        try:
            done = hub.serve(lab, port=0 if once and port is None else port, ready=ready)
        except ConflictError as error:
            if port is not None or "listen" not in error.detail:
                raise
            done = hub.serve(lab, port=0, ready=ready)
        if once and not done:
            raise KeyboardInterrupt  # no finished record: the status says so, and the next demo goes on with it


async def _beside(work: Any) -> None:
    """Do the work, then go on until the hub ends; what goes wrong in the run is shown, and the page stays."""
    try:
        await work
    except LabError as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
    await asyncio.Event().wait()


def _demo_run(url: str, scan: Path, as_json: bool) -> None:
    """Watch the scan that an earlier demo left unfinished, or submit one."""
    with Hub(url) as hub:
        unfinished = hub.ask("GET", "/api/runs?state=running&state=queued&state=paused&state=waiting")
        handle = hub.run(unfinished[0]["id"]) if unfinished else hub.submit(scan)
        if unfinished and not as_json:
            console.print(f"Going on with run {handle.id}, which was interrupted.")
        finish(hub, handle, as_json=as_json)


# labretto serve ---------------------------------------------------------------------------------------------------


def serve_alone(
    driver: str,
    name: str,
    where: Mapping[str, Any],
    settings: Mapping[str, Any],
    path: Path | None,
    *,
    helao: bool,
) -> int:
    """See `labretto serve`; answers the exit status. `where`: host, port, whether to announce it."""
    from dataclasses import replace

    from labretto.network.serve import order_alone, serve

    try:
        found = LabInstrument(name=name, driver=driver, settings=dict(settings), path=path, **where)
    except ValueError as error:
        raise InvalidError(f"{driver!r} is not module:Class.", way_out="Write for instance furnace:Furnace.") from error
    order = replace(order_alone(found), helao=helao)

    def ready(file: Any) -> None:
        print(f"{name}: {', '.join(file.addresses.values())}  (Ctrl-C ends)", flush=True)
        if not is_loopback(found.host):
            print(f"Its folder, with the tokens it knows: {order.lab_folder}", flush=True)

    return serve(order, ready=ready)


# labretto doctor --------------------------------------------------------------------------------------------------


def diagnose(lab: Path | None, *, as_json: bool) -> bool:
    """See `labretto doctor`; answers whether nothing is at fault."""
    from labretto.network.doctor.examine import examine

    with console.status("Looking ...") if console.is_terminal and not as_json else contextlib.nullcontext():
        findings = list(examine(lab))
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    elif console.is_terminal:
        table = Table("", "what", "how it is", box=None)
        colours = {"ok": "green", "note": "yellow", "fault": "red"}
        for each in findings:
            way_out = f"\n[dim]{escape(each.way_out)}[/]" if each.way_out else ""
            state = f"[{colours[each.state]}]{each.state}[/]"
            table.add_row(state, escape(each.subject), escape(each.detail) + way_out)
        console.print(table, highlight=False)
    else:
        for each in findings:
            print(f"{each.state}  {each.subject}: {each.detail} {each.way_out}".rstrip())
    return all(each.state != "fault" for each in findings)


# labretto token, labretto audit ------------------------------------------------------------------------------------


def access_folder(lab: str) -> Path:
    """The folder whose tokens and audit trail are meant: of the lab named, or of the only one there is.

    Raises:
        InvalidError: it is not clear which.
    """
    if lab:
        return home() / check_name(lab, "lab")
    known = sorted(path.name for path in home().glob("*") if path.is_dir()) or [ALONE]
    if len(known) > 1:
        raise InvalidError(
            "There are several labs here.", way_out=f"Say which is meant: --lab {' or --lab '.join(known)}."
        )
    return home() / known[0]


def create_token(lab: str, name: str, role: str, days: float | None, *, as_json: bool) -> None:
    """See `labretto token create`."""
    folder = access_folder(lab)
    text, token = Tokens(folder).create(name, cast("Role", role), days)
    if as_json:
        print_json({"token": text, "lab": folder.name, **_shown(token)})
        return
    print(text)
    until = f"until {token.expires[:10]}" if token.expires else "without an end"
    words = f"{token.name} is {token.role} in {folder.name}, {until}. It is not shown again; give it as LABRETTO_TOKEN."
    errors.print(words, highlight=False, soft_wrap=True)


def list_tokens(lab: str, *, as_json: bool) -> None:
    """See `labretto token list`."""
    tokens = Tokens(access_folder(lab)).all()
    if as_json:
        print_json([_shown(token) for token in tokens])
        return
    table = Table("id", "name", "role", "created", "expires", box=None)
    for token in tokens:
        ends = "ended" if token.expired else str(token.expires or "never")[:10]
        table.add_row(token.id, token.name, token.role, token.created[:10], ends)
    console.print(table if tokens else "There are no tokens.")


def revoke_token(lab: str, which: str) -> None:
    """See `labretto token revoke`."""
    for token in Tokens(access_folder(lab)).revoke(which):
        print(f"{token.id} of {token.name} is revoked.")


def show_trail(lab: str, limit: int, *, as_json: bool) -> None:
    """See `labretto audit`."""
    lines = read_trail(access_folder(lab), limit)
    if as_json:
        print_json(lines)
        return
    table = Table("when", "who", "role", "what", "outcome", "from", "parameters", box=None)
    for line in lines:
        when = on_this_clock(line.get("at"))
        who = line.get("on_behalf_of") or line.get("who")
        told = json.dumps(line["parameters"], ensure_ascii=False)[:80] if "parameters" in line else ""
        words = [f"{line.get('thing')}: {line.get('what')}", line.get("outcome"), line.get("where", ""), told]
        table.add_row(*(escape(str(word)) for word in (when, who, line.get("role"), *words)))
    console.print(table if lines else "Nothing was done yet.")


def _shown(token: Token) -> dict[str, Any]:
    plain = {name: getattr(token, name) for name in ("id", "name", "role", "created", "expires")}
    return plain | {"expired": token.expired}


# labretto run -----------------------------------------------------------------------------------------------------


def run_experiment(
    file: Path,
    parameters: Mapping[str, Any],
    terms: Mapping[str, Any],
    *,
    lab: Path | None,
    hub: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """See `labretto run`."""
    if lab is None:
        with Hub(hub) as found:
            _submit(found, file, parameters, terms, wait=wait, as_json=as_json)
        return
    from labretto.hub import serve

    def ready(running: RunningHub) -> Any:
        def work() -> None:
            with Hub(running.url) as found:
                _submit(found, file, parameters, terms, wait=True, as_json=as_json)

        return asyncio.to_thread(work)

    if not serve(load_lab(lab), port=0, ready=ready):
        raise KeyboardInterrupt


def _submit(
    hub: Hub, file: Path, parameters: Mapping[str, Any], terms: Mapping[str, Any], *, wait: bool, as_json: bool
) -> None:
    handle = hub.enqueue(file, parameters, terms)
    if wait:
        finish(hub, handle, as_json=as_json)
    elif as_json:
        print_json(handle.status())
    else:
        print(handle.id)


def finish(hub: Hub, handle: RunHandle, *, as_json: bool) -> None:
    """Show a run's progress to its end, and where its record is.

    Raises:
        LabError: the run failed or was aborted; in its own words.
    """
    try:
        with _progress(handle, quiet=as_json) as show:
            for status in _statuses(hub, handle):
                show(status)
    except KeyboardInterrupt:
        errors.print(f"The run goes on; `labretto runs abort {handle.id}` ends it.", highlight=False, soft_wrap=True)
        raise
    status = handle.status()
    folder = hub.ask("GET", f"/api/records/{handle.id}")["folder"]
    if as_json:
        print_json({**status, "record": folder})
    else:
        console.print(f"Run {handle.id}: {status['state']}", highlight=False)
        console.print(f"Record: {folder}", highlight=False, soft_wrap=True, markup=False)
    if status["state"] != "succeeded":
        raise from_problem(status["error"] or {"status": 409, "detail": f"The run was {status['state']}."})


@contextlib.contextmanager
def _progress(handle: RunHandle, *, quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """How a run is shown: a bar on a terminal, a line for each change of state elsewhere."""
    if quiet:
        yield lambda status: None
        return
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(handle.id, total=None)

        def show(status: Mapping[str, Any]) -> None:
            words = f"{status['name']}: {status['state']}"
            reason = f" ({status['reason']})" if status.get("reason") else ""
            total = status.get("steps_total")
            progress.update(
                task, description=escape(words + reason), completed=status.get("steps_done") or 0, total=total
            )

        yield show


def _lines() -> Callable[[Mapping[str, Any]], None]:
    told: list[str] = []

    def show(status: Mapping[str, Any]) -> None:
        reason = f": {status['reason']}" if status.get("reason") else ""
        line = f"{status['name']}: {status['state']}{reason}"
        if told[-1:] != [line]:
            told.append(line)
            print(line, flush=True)

    return show


def _statuses(hub: Hub, handle: RunHandle) -> Iterator[Mapping[str, Any]]:
    """The run's summary whenever it changes, until it is over; told by the hub, not asked for again and again.

    Raises:
        UnreachableError: the hub went away; the run goes on when it is started again.
    """
    from websockets.exceptions import WebSocketException

    try:
        yield from _told(hub, handle)
    except (WebSocketException, OSError) as error:
        raise UnreachableError(
            f"The hub at {hub.address} went away while run {handle.id} was not over.",
            way_out="Start the hub again: the run goes on where it was.",
        ) from error


def _told(hub: Hub, handle: RunHandle) -> Iterator[Mapping[str, Any]]:
    from websockets.sync.client import connect as listen

    address = hub.address.replace("http", "ws", 1) + "/live"
    with listen(address, max_size=None, additional_headers=hub.headers) as live:
        live.recv()  # from here on no change is missed
        status = handle.status()
        yield status
        total = status.get("steps_total")
        while status["state"] not in OVER:
            frame = live.recv()
            if isinstance(frame, bytes):
                continue
            changes = json.loads(frame)
            if changes.get("missed"):
                status = handle.status()
                yield status
            for change in changes.get("changes", ()):
                if change["body"].get("run" if change["topic"] != "run" else "id") == handle.id:
                    status = _after(status, change, handle) | {"steps_total": total}
                    yield status


def _after(status: Mapping[str, Any], change: Mapping[str, Any], handle: RunHandle) -> dict[str, Any]:
    if change["topic"] == "run":
        return {**status, **change["body"]}
    done = status.get("steps_done") or 0
    ended = change["topic"] == "saved" or (change["topic"] == "step" and change["body"]["state"] != "intended")
    return {**status, "steps_done": done + 1} if ended else dict(status)


# labretto records -------------------------------------------------------------------------------------------------


def list_records(lab: str, query: Mapping[str, Any], *, as_json: bool) -> None:
    """See `labretto records`."""
    found = found_records(lab, {**query, **{word: _with_zone(query[word]) for word in ("after", "before")}})
    if as_json:
        print_json(found)
        return
    table = Table("submitted", "state", "name", "who", "run", box=None)
    for record in found:
        submitted = on_this_clock(record["submitted"])
        words = (submitted, record["state"], record["name"], record["who"], record["id"])
        table.add_row(*(escape(str(word)) for word in words))
    console.print(table if found else "No records are found.")


def on_this_clock(time: str | None) -> str:
    """A time in ISO 8601 as a table shows it: `2026-11-22 02:00:00`, on the clock of this machine."""
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}" if time else ""


def _with_zone(time: str | None) -> str | datetime | None:
    """A time without a zone is meant on the clock of this machine; what is no time the search says."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(time).astimezone() if time else None
    return time


def found_records(lab: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records that a query finds in one lab, or in all of this machine; the newest first."""
    found = [record for folder in _lab_folders(lab) for record in _search(folder, query)]
    found.sort(key=lambda record: str(record["submitted"]), reverse=True)
    return found[: query["limit"]]


def _lab_folders(lab: str) -> list[Path]:
    folders = [folder for folder in sorted(home().glob(lab or "*")) if (folder / "catalog.db").exists()]
    if lab and not folders:
        raise NotFoundError(f"The lab {lab!r} has no records in {home()}.", way_out="LABRETTO_HOME says where to look.")
    return folders


def _search(lab_folder: Path, query: Mapping[str, Any]) -> list[dict[str, Any]]:
    from labretto.catalog.search import Index

    with Index(lab_folder / "catalog.db") as index:
        rows = index.search(**query)
    return [{**row, "lab": lab_folder.name, "folder": str(lab_folder / "records" / row["folder"])} for row in rows]


def export_record(lab: str, run: str, form: str, out: Path | None) -> None:
    """See `labretto export`."""
    from labretto.catalog import durable
    from labretto.catalog.export import format_named
    from labretto.catalog.read import open_record

    chosen = format_named(form)
    found = [record for folder in _lab_folders(lab) for record in _search(folder, {"text": run, "limit": 1})]
    if not found:
        raise NotFoundError(f"No record has {run[:80]!r} in its id or name.", way_out="`labretto records` lists them.")
    newest = max(found, key=lambda record: str(record["submitted"]))
    pieces = chosen(open_record(newest["folder"]))
    if out is None:
        sys.stdout.buffer.writelines(pieces)
        return
    with durable.aside(out, flush=False) as beside, beside.open("wb") as file:
        file.writelines(pieces)
    print(out)


# labretto connect -------------------------------------------------------------------------------------------------

_HELP = """list                  what it offers
get ATTRIBUTE         read one ("get" alone: all)
set ATTRIBUTE VALUE   set one
call ACTION A=1 B=2   do it, and wait for its end
stop                  the driver's stop(), at once
quit"""


def look_at(name: str, words: Sequence[str], *, as_json: bool) -> None:
    """See `labretto connect`."""
    with _connected(name) as instrument:
        if words:
            _obey(instrument, list(words), as_json=as_json)
            return
        console.print(_HELP, highlight=False)
        while (line := _ask(f"{name}> ")) is not None:
            try:
                if line.split() in (["quit"], ["exit"]):
                    return
                if line.strip():
                    _obey(instrument, shlex.split(line), as_json=as_json)
            except (LabError, ValueError) as error:
                errors.print(str(error), style="red", highlight=False, markup=False)


def _connected(name: str) -> BlockingInstrument:
    """Connected to; of one that is known here and does not come up the hub knows why."""
    try:
        return connect(name)
    except NotFoundError:
        lab, _, instrument = name.rpartition("/")
        for each in hubs():
            if lab in ("", each.lab) and NAME.fullmatch(instrument):
                with Hub(each.url) as hub, contextlib.suppress(NotFoundError):
                    told = hub.ask("GET", f"/api/instruments/{instrument}")
                    why = f"{name} is {told['state']}: {told['reason']}"
                    raise UnreachableError(why, way_out=f"`labretto logs {instrument}` shows what it said.") from None
        raise


def _ask(prompt: str) -> str | None:
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except EOFError:
        return None


def _obey(instrument: BlockingInstrument, words: list[str], *, as_json: bool) -> None:
    description = describe(instrument)
    match words:
        case ["list"]:
            _show_offer(description, as_json=as_json)
        case ["get"]:
            _show_readings(read_all(instrument), as_json=as_json)
        case ["get", attribute]:
            reading = _member(instrument, description.attributes, attribute).get()
            _show(reading.as_dict() if as_json else repr(reading), as_json=as_json)
        case ["set", attribute, value]:
            reading = _member(instrument, description.attributes, attribute).set(value_of(value))
            _show(reading.as_dict() if as_json else repr(reading), as_json=as_json)
        case ["call", action, *arguments]:
            _show(_called(_member(instrument, description.actions, action), pairs(arguments)), as_json=as_json)
        case ["stop"]:
            _show(instrument.stop(), as_json=as_json)
        case ["help" | "?"]:
            console.print(_HELP, highlight=False)
        case _:
            raise InvalidError(f"{shlex.join(words)!r} is not understood.", way_out="\n" + _HELP)


def _member(instrument: BlockingInstrument, known: Mapping[str, Any], name: str) -> Any:
    if name not in known:
        raise NotFoundError(f"There is no {name!r}.", way_out=did_you_mean(name, known) or "There is none at all.")
    return getattr(instrument, name)


def _called(action: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return action(**arguments)
    except TypeError as error:  # as Python says it of any call: to a user it is no traceback
        raise InvalidError(f"{error}.") from None


def _show(value: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        console.print(_plain(value), highlight=False, markup=False)


def _plain(value: Any) -> str:
    """What an action answered: the columns of a table each in a line, with their units."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_plain(entry)}" for name, entry in value.items())
    unit = getattr(value, "unit", None)
    return f"{value} {unit}" if unit and unit not in str(value) else str(value)


def _show_readings(readings: Mapping[str, Reading], *, as_json: bool) -> None:
    if as_json:
        print_json({name: reading.as_dict() for name, reading in readings.items()})
        return
    table = Table("attribute", "value", "status", "time", box=None)
    for name, reading in readings.items():
        value = "" if reading.value is None else str(reading)
        words = (name, value, reading.detail or reading.status, f"{reading.time:%Y-%m-%d %H:%M:%S}Z")
        table.add_row(*map(escape, words))
    console.print(table)


def _show_offer(description: Description, *, as_json: bool) -> None:
    if as_json:
        print_json(description.as_dict())
        return
    table = Table("", "name", "takes", "unit", "what", box=None)
    for name, attribute in description.attributes.items():
        kind = "attribute" if not attribute.writable else "attribute (set)"
        table.add_row(kind, name, "", *map(escape, (attribute.unit or "", _first_line(attribute.description))))
    for name, action in description.actions.items():
        takes = ", ".join(f"{p}{_unit(entry.schema)}" for p, entry in action.parameters.items())
        words = (takes, action.result.get("unit", ""), _first_line(action.description))
        table.add_row(f"action ({action.effect})", name, *map(escape, words))
    console.print(table)


def _unit(schema: Mapping[str, Any]) -> str:
    return f" [{schema['unit']}]" if "unit" in schema else ""


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


# labretto conformance ---------------------------------------------------------------------------------------------


def hold_to_the_contract(
    url: str,
    allow: Sequence[str],
    roles: Mapping[str, Any],
    parameters: Mapping[str, Any],
    *,
    token: str | None,
    as_json: bool,
) -> bool:
    """See `labretto conformance`; answers whether the host keeps the contract."""
    from labretto.network.conformance.candidate import permission
    from labretto.network.conformance.suite import examine

    allowed = permission(allow, roles, parameters)
    report = asyncio.run(examine(url, allowed, token=token, told=_silent if as_json else _show_finding))
    if as_json:
        print_json(report.as_dict())
    else:
        counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in ("passed", "failed", "not applicable"))
        about = f"{report.instrument} ({report.driver}) at {report.address}: {counts}"
        console.print(about, highlight=False, markup=False)
    return report.passed


def _silent(finding: Finding) -> None:
    pass


def _show_finding(finding: Finding) -> None:
    match finding.verdict:
        case "passed":
            console.print(f"[green]passed[/]  {escape(finding.sentence)}", highlight=False)
        case "failed":
            console.print(f"[red]failed[/]  {escape(finding.sentence)}", highlight=False)
            for word in ("asked", "expected", "came"):
                console.print(f"        {word}: {escape(getattr(finding, word))}", highlight=False)
        case _:
            console.print(f"[dim]   -    {escape(finding.sentence)} ({escape(finding.why)})[/]", highlight=False)

"""The command line: `labretto demo | up | serve | run | queue | records | connect | conformance | doctor`.

Commands read arguments and print; everything they do is done by the rooms below. What is imported by a command is
imported inside it, so that `labretto --help` is quick.

Exit status: 0 done · 1 failed (something may have moved) · 2 wrong usage · 3 refused (nothing moved) ·
4 not reachable, ask again · 130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import enum
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from labretto import cli_queue, cli_runs, cli_tasks, cli_time
from labretto.errors import FailedError, LabError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from labretto.lab import Lab

app = typer.Typer(
    name="labretto",
    help="Your Python drivers, on the network, in experiments that survive a crash.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LogForm(enum.StrEnum):
    """How a log is written."""

    text = "text"
    json = "json"


Log = Annotated[LogForm | None, typer.Option(help="Lines of the log: for people, or JSON, with fields, for programs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
HubOption = Annotated[str | None, typer.Option("--hub", help="The hub's address or its lab's name, if several run.")]
LabName = Annotated[
    str, typer.Option("--lab", help="The lab's name, or 'instruments' for those served alone; default: the only one.")
]
Port = Annotated[int | None, typer.Option(help="Where the hub listens; 0 takes any free port.", min=0, max=65535)]


def main() -> NoReturn:
    """Run the command line; an error is told in its own words, never as a traceback."""
    try:
        sys.exit(_status())
    except LabError as error:
        print(f"labretto: {error}", file=sys.stderr)
        sys.exit(exit_status(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone: `labretto records | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # standard output goes into a file on a full disk, for instance
        print(f"labretto: {error}", file=sys.stderr)
        sys.exit(1)


def _status() -> str | int | None:
    """What the command ended with, once its output has left."""
    try:
        app()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer and rich would call it a failure
            raise ended.__context__ from None
        status = ended.code
    sys.stdout.flush()
    return status


def exit_status(error: LabError) -> int:
    """What a script reads of an error."""
    if isinstance(error, UnreachableError):
        return 4
    return 3 if isinstance(error, RefusedError) and not isinstance(error, FailedError) else 1


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Your Python drivers, on the network, in experiments that survive a crash."""


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Run to one finished record without a page, then end.")] = False,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    """A simulated laboratory that measures a sample library, and its page."""
    from labretto.terminal import demonstrate

    demonstrate(once=once, port=port, as_json=as_json)


@app.command()
def up(
    lab: Annotated[Path | None, typer.Argument(help="The lab's file, such as lab.toml; none: an empty lab.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond the loopback only with a token.")
    ] = None,
    port: Port = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM); with it the hub speaks HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's secret key (PEM).")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
    log: Log = None,
) -> None:
    """The hub of a lab: its instruments as supervised processes, the queue, the records and the page."""
    from labretto import hub
    from labretto.lab import load_lab
    from labretto.terminal_hosts import with_certificate

    _log(verbose, log)
    hub.serve(with_certificate(load_lab(lab), tls_cert, tls_key), host=host, port=port, ready=_tell_address)


@app.command()
def serve(
    driver: Annotated[str, typer.Argument(help="module:Class of the driver.")],
    name: Annotated[
        str | None, typer.Option(help="What the lab calls it; default: the class's name, in lower case.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; beyond the loopback only with a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(help="HTTP port; default: any free one.", min=1, max=65535)] = None,
    setting: Annotated[list[str] | None, typer.Option(help="An argument of the constructor: NAME=VALUE.")] = None,
    path: Annotated[Path | None, typer.Option(help="Folder in which the driver's module stands.")] = None,
    helao: Annotated[bool, typer.Option("--helao", help="Also offer the HELAO tutorial's routes (GET acts).")] = False,
    announce: Annotated[
        bool, typer.Option("--announce", help="Let others find it on the network by its name.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
    log: Log = None,
) -> None:
    """Serve one driver over HTTP and ZMQ, until Ctrl-C."""
    from labretto.terminal import pairs, serve_alone

    _log(verbose, log)
    shown = name or driver.rpartition(":")[2].rpartition(".")[2].lower()
    where = {"host": host, "port": port, "announce": announce}
    raise typer.Exit(serve_alone(driver, shown, where, pairs(setting or []), path, helao=helao))


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(help="An experiment file (YAML or JSON).")],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, VALUE as JSON.")] = None,
    lab: Annotated[
        Path | None, typer.Option(help="Start this lab's hub for the run, instead of using a running one.")
    ] = None,
    hub: HubOption = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show progress.")] = True,
    priority: cli_queue.Priority = None,
    not_before: cli_queue.NotBefore = None,
    finish_by: cli_time.FinishBy = None,
    labels: cli_queue.Labels = None,
    again: Annotated[int, typer.Option(help="How often it is to be done after this time.", min=0)] = 0,
    hold: Annotated[bool, typer.Option("--hold", help="It does not begin before it is released.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit an experiment, watch it, and say where its record is."""
    from labretto.terminal import pairs, run_experiment

    terms = cli_queue.terms(priority, not_before, labels) | {"again": again, "held": hold}
    terms |= {"finish_by": finish_by} if finish_by else {}
    run_experiment(experiment, pairs(parameter or []), terms, lab=lab, hub=hub, wait=wait, as_json=as_json)


@app.command()
def records(
    text: Annotated[str | None, typer.Argument(help="Words in the name, or a run's id.")] = None,
    state: Annotated[str | None, typer.Option(help="succeeded, failed, aborted, running ...")] = None,
    after: Annotated[str | None, typer.Option(help="Submitted then or later, such as 2026-11-21.")] = None,
    before: Annotated[str | None, typer.Option(help="Submitted earlier.")] = None,
    label: Annotated[str | None, typer.Option(help="With this label.")] = None,
    lab: Annotated[str, typer.Option(help="The lab's name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Find the records that runs have left; works whether or not a hub runs."""
    from labretto.terminal import list_records

    query = {"text": text, "state": state, "after": after, "before": before, "label": label, "limit": limit}
    list_records(lab, query, as_json=as_json)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run's id, or words in its name: then the newest of them.")],
    form: Annotated[str, typer.Option("--format", help="documents (Bluesky's), csv, or one that a package adds.")] = (
        "documents"
    ),
    out: Annotated[Path | None, typer.Option(help="The file to write; default: standard output.")] = None,
    lab: Annotated[str, typer.Option(help="The lab's name.")] = "",
) -> None:
    """Write a record in a format of others; works whether or not a hub runs."""
    from labretto.terminal import export_record

    export_record(lab, run, form, out)


@app.command()
def connect(
    name: Annotated[str, typer.Argument(help="An instrument's name, lab/name, or its address.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="list | get X | set X VALUE | call ACTION A=1 ... | stop")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A look at one instrument: list what it offers, get, set, call; interactive without a command."""
    from labretto.terminal import look_at

    look_at(name, command or [], as_json=as_json)


@app.command()
def conformance(
    url: Annotated[str, typer.Argument(help="The host's address: http://HOST:PORT or tcp://HOST:PORT.")],
    allow: Annotated[
        list[str] | None, typer.Option(help='An effect that may be asked for besides read and absolute: "once".')
    ] = None,
    use: Annotated[list[str] | None, typer.Option(help="ROLE=ACTION, such as hold=dispense.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="ACTION.NAME=VALUE, VALUE as JSON.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="What the host asks for; default: LABRETTO_TOKEN.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a host, whoever wrote it, to the contract; status 0 if it keeps it, 1 if not."""
    from labretto.terminal import hold_to_the_contract, pairs

    words = (allow or [], pairs(use or []), pairs(parameter or []))
    kept = hold_to_the_contract(url, *words, token=token, as_json=as_json)
    raise typer.Exit(0 if kept else 1)


@app.command()
def doctor(
    lab: Annotated[Path | None, typer.Argument(help="The lab's file; none: this machine and its data only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look for everything that could stop a run at night; status 3 if there is a fault. Nothing is moved or started."""
    from labretto.terminal import diagnose

    raise typer.Exit(0 if diagnose(lab, as_json=as_json) else 3)


@app.command()
def reload(
    name: Annotated[str, typer.Argument(help="An instrument whose driver's file has changed.")],
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """Start an instrument's host anew with its driver as it is written now; refused while an action runs.

    The driver is imported and described first: one that is broken leaves the host as it is.
    """
    from labretto import terminal_hosts

    terminal_hosts.reload(name, hub, as_json=as_json)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="An instrument whose host a hub has started.")],
    lines: Annotated[int, typer.Option("--lines", "-n", help="So many, the newest last.", min=1, max=10_000)] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """What an instrument's host and driver have written; works whether or not the hub runs."""
    from labretto import terminal_hosts

    terminal_hosts.show_log(name, lines, hub, follow=follow, as_json=as_json)


@app.command("find")
def find_instruments(
    seconds: Annotated[float, typer.Option(help="How long to look; a board tells every half minute.", min=0.1)] = 3.0,
    as_json: AsJson = False,
) -> None:
    """What announces itself on this network. Nothing is connected to: lab.toml says which of it is meant."""
    from labretto import terminal_hosts

    terminal_hosts.show_announced(seconds, as_json=as_json)


@app.command()
def alarms(
    seen: Annotated[str | None, typer.Option("--seen", help="Id of an alarm that you have seen.")] = None,
    note: Annotated[str, typer.Option(help="What you want to say about it.")] = "",
    hub: HubOption = None,
    as_json: AsJson = False,
) -> None:
    """What is beyond a limit of the lab, or was and nobody has seen it."""
    from labretto import terminal_hosts

    terminal_hosts.show_alarms(hub, seen, note, as_json=as_json)


app.add_typer(cli_queue.app, name="queue")
app.add_typer(cli_runs.app, name="runs")
app.command("halt")(cli_runs.halt)
app.command()(cli_time.forecast)
app.command()(cli_time.record)
app.add_typer(cli_time.schedules, name="schedule", no_args_is_help=True)
app.add_typer(cli_tasks.app, name="tasks")
app.command("answer")(cli_tasks.answer)

tokens = typer.Typer(help="Who may ask a lab from elsewhere: make, list and revoke their tokens.", no_args_is_help=True)
app.add_typer(tokens, name="token")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Option(help="Who gets it: a person, or a hub elsewhere.")],
    role: Annotated[str, typer.Option(help="observer (looks, stops), operator (acts too), admin.")] = "operator",
    days: Annotated[float, typer.Option(help="How long it is good; 0: without an end.", min=0)] = 90,
    lab: LabName = "",
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it: once, here and now."""
    from labretto import terminal

    terminal.create_token(lab, name, role, days or None, as_json=as_json)


@tokens.command("list")
def list_tokens(lab: LabName = "", as_json: AsJson = False) -> None:
    """Who has one, as what, until when."""
    from labretto import terminal

    terminal.list_tokens(lab, as_json=as_json)


@tokens.command("revoke")
def revoke_token(
    which: Annotated[str, typer.Argument(help="Id of the token, or a name: then all that have it.")],
    lab: LabName = "",
) -> None:
    """Take a token back; servers that run refuse it from now on."""
    from labretto import terminal

    terminal.revoke_token(lab, which)


@app.command()
def audit(
    limit: Annotated[int, typer.Option(help="So many lines, the newest last.", min=1, max=1_000_000)] = 50,
    lab: LabName = "",
    as_json: AsJson = False,
) -> None:
    """Who did what, as what, from where, when, and what came of it."""
    from labretto import terminal

    terminal.show_trail(lab, limit, as_json=as_json)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    print(installed("labretto"))


def _log(verbose: bool, form: LogForm | None) -> None:
    from labretto.network.log_lines import configure

    configure(logging.INFO if verbose else logging.WARNING, form.value if form else None)


def _tell_address(hub: Any) -> None:
    lab: Lab = hub.lab
    names = ", ".join(lab.instruments) or "none"
    print(f"{lab.name}: {hub.url}  (instruments: {names}; Ctrl-C ends)", flush=True)

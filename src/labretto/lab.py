"""A laboratory as its file says: `lab.toml` in, frozen models out; and the folders in which its data lives.

Everything wrong with a file is found at once and refused together, each fault with its line where the file has one.
Whether a driver can be imported is seen only where it is served (`labretto.network.serve`).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
import pydantic
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from labretto.errors import InvalidError, NotFoundError

Effect = Literal["read", "absolute", "checkable", "once"]
"""The words of `labretto.instrument.invocation.Effect`, which stands above this room."""

Severity = Literal["notice", "warning", "critical"]
"""How grave an alarm is."""

Occasion = Literal["run failed", "run waits", "run ended", "instrument down", "instrument up", "alarm", "reminder"]
"""What people can be told of (`labretto.orchestrator.notices`)."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
"""A name of a lab or an instrument: it becomes a folder, a part of a URL and the first half of `stage.move`."""

ALONE = "instruments"
"""The folder, beside those of the labs, of instruments that are served without a lab."""

SIDE = (
    *("hidden", "concurrent", "effects", "units", "descriptions", "measurement", "slow", "poll", "safe"),
    *("expected", "consumes", "refills", "dead_band", "alarms"),
)
"""The keys that say of a driver what its class does not (`labretto.instrument.overlay`); they may stand in a file."""

_WORDS = {
    "name": "1 to 64 letters, digits, _ or -",
    "driver": 'a class as "module:Class"',
    "url": 'an address as "http://host:port", "http://board/name" or "tcp://host:port"',
}

_Port = Annotated[int, Field(ge=1, le=65535)]
_Driver = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", max_length=200)]
_WebUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+(/\S*)?$", max_length=2000)]
_Url = Annotated[
    str,
    StringConstraints(
        pattern=r"^https?://[^\s/]+(/[A-Za-z0-9_-]+)*/?$|^tcp://[^\s/]+/?$|^memory:.+$",  # a board has several at paths
        max_length=200,
    ),
]


def home() -> Path:
    """Where all data lives: the environment's LABRETTO_HOME, else the platform's folder for a user's data."""
    chosen = os.environ.get("LABRETTO_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path(platformdirs.user_data_dir("labretto", False))


def check_name(name: str, what: str = "instrument") -> str:
    """`name`, if it may name a lab or an instrument.

    Raises:
        InvalidError: it may not.
    """
    if NAME.fullmatch(name):
        return name
    raise InvalidError(
        f"{name[:80]!r} cannot be the name of a{'n' * (what[0] in 'aeiou')} {what}.", way_out=f"Use {_WORDS['name']}."
    )


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class AlarmLimit(_Frozen):
    """Where an alarm is raised: above a value, below one, or at one that should not be."""

    above: Annotated[float, Field(allow_inf_nan=False)] | None = None
    below: Annotated[float, Field(allow_inf_nan=False)] | None = None
    equals: bool | int | str | None = None
    hysteresis: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """How far within the limit it has to be before the alarm is over."""
    severity: Severity = "warning"

    @pydantic.model_validator(mode="after")
    def _says_where(self) -> AlarmLimit:
        if self.above is None and self.below is None and self.equals is None:
            raise ValueError("it says neither above nor below nor equals")
        if self.above is not None and self.below is not None and self.below >= self.above:
            raise ValueError(f"below={self.below:g} and above={self.above:g} leave no value without an alarm")
        return self


_Alarms = Annotated[list[AlarmLimit], pydantic.BeforeValidator(lambda said: said if isinstance(said, list) else [said])]


class LabInstrument(_Frozen):
    """One `[instruments.<name>]` table: a driver to serve, or the address of a host elsewhere."""

    name: str
    driver: _Driver | None = None
    """`module:Class`."""
    url: _Url | None = None
    """A host that somebody else runs."""
    discover: bool | Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")] = False
    """The name under which a host elsewhere announces itself; true: the same name (`labretto.network.announce`)."""
    key: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None
    """Public key of a host that is found by its name: only that host is understood, and shown a token."""
    announce: bool = False
    """Its host announces itself on the network."""
    token_file: Path | None = None
    """The token that the host elsewhere asks for."""
    host: str = "127.0.0.1"
    """Address on which its host listens; not the loopback only with a token (`labretto.access`)."""
    port: _Port | None = None
    """HTTP port on this machine; None for any free one."""
    settings: dict[str, Any] = {}
    """Arguments of the driver's constructor."""
    path: Path | None = None
    """Put on `sys.path` before the folder of lab.toml; absolute once loaded."""
    hidden: frozenset[str] = frozenset()
    """Names of the driver that are not offered."""
    concurrent: frozenset[str] = frozenset()
    """Actions that may run while another runs."""
    effects: dict[str, Effect] = {}
    """Action → what repeating it would do."""
    units: dict[str, str] = {}
    """Attribute, or "action.parameter" → unit."""
    descriptions: dict[str, str] = {}
    """Attribute or action → what it is."""
    measurement: str | None = None
    """The attribute for which people come to the instrument; shown before the others."""
    slow: frozenset[str] = frozenset()
    """Attributes that are read only when somebody asks for them by name."""
    poll: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Attribute → seconds between two looks at it."""
    dead_band: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    """Attribute → how far it has to move, in its unit, before that is told."""
    alarms: dict[str, _Alarms] = {}
    """Attribute → the limits at which all are told."""
    safe: dict[str, Any] = {}
    """Attribute → value that `stop()` sets, for a driver without a `stop` of its own."""
    expected: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Action → seconds that it takes; undeclared, it is learned."""
    consumes: dict[str, dict[str, float | str]] = {}
    """Action → attribute that tells what is left → what one call takes of it: a number or a parameter's name."""
    refills: dict[str, dict[str, float | str]] = {}
    """Action → attribute that tells what is left → what is there afterwards: a number or an attribute's name."""
    limits: dict[str, Any] | Path | None = None
    """What the lab allows, or the TOML or YAML file that says it; read by the host (`instrument.limits_file`)."""
    overrun: Annotated[float, Field(gt=1)] = 3.0
    """Times its usual duration after which it is told that an action takes too long."""
    overlay: Path | None = None
    """A file with the keys of `SIDE`, for a driver that is used in many labs; what stands here comes before it."""
    compat: dict[str, str] = {}
    """Old route → attribute or action."""


class Compat(_Frozen):
    """The `[compat]` table: which of the old wire contracts are offered besides our own."""

    helao: bool = False
    """The HELAO tutorial's routes, where an action is a GET."""


class Access(_Frozen):
    """The `[access]` table: who may ask from elsewhere. Their tokens stand in the lab's folder, not here."""

    names: frozenset[str] = frozenset()
    """Names under which others ask the hub, as behind a proxy; with any, everybody needs a token, here too."""
    tls_cert: Path | None = None
    """Certificate chain (PEM) with which the hub speaks HTTPS."""
    tls_key: Path | None = None
    """Its secret key."""

    @pydantic.model_validator(mode="after")
    def _says_both(self) -> Access:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self

    @property
    def tls(self) -> tuple[Path, Path] | None:
        """Certificate and key; None: plain HTTP."""
        return (self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None


class Orchestration(_Frozen):
    """The `[orchestrator]` table: how runs are done."""

    runs: Annotated[int, Field(ge=1)] | None = None
    """How many may act at once; None: as many as have no instrument in common."""
    autostart: bool = True
    """False: after each start of the hub nothing begins before a person has started the queue."""


class Mail(_Frozen):
    """The `[notify.mail]` table: the server that takes letters, and who gets them."""

    host: str
    """The mail server."""
    port: _Port = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """How what is sent is hidden on its way; none: not at all, and then no password is sent either."""
    sender: str
    """Address from which letters come."""
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """Addresses to which they go."""
    user: str | None = None
    """Who signs in at the server; nobody, where it takes letters without."""
    password_file: Path | None = None
    """File whose first line is the password, readable by nobody else."""


class Notify(_Frozen):
    """The `[notify]` table: who is told what, where nobody looks at the page."""

    on: tuple[Occasion, ...] = ("run failed", "run waits", "instrument down", "alarm")
    """What is told."""
    webhooks: tuple[_WebUrl, ...] = ()
    """Addresses to which it is posted as JSON."""
    webhook_files: tuple[Path, ...] = ()
    """Files with such addresses, one a line: an address with a secret in it need not stand here."""
    mail: Mail | None = None
    """Letters."""


class Lab(_Frozen):
    """A laboratory: its hub's address and its instruments."""

    name: str
    host: str = "127.0.0.1"
    """Address on which the hub listens; not the loopback only with a token (`labretto.access`)."""
    port: _Port = 8000
    instruments: Mapping[str, LabInstrument] = {}
    compat: Compat = Compat()
    access: Access = Access()
    notify: Notify = Notify()
    telemetry: _WebUrl | None = None
    """Address of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each run."""
    orchestrator: Orchestration = Orchestration()
    file: Path | None = None
    """The lab.toml it was read from."""

    @property
    def runs_at_once(self) -> int | None:
        """How many runs may act at once; None: any number. Where the old contract is offered, one."""
        return self.orchestrator.runs or (1 if self.compat.helao else None)

    @property
    def folder(self) -> Path:
        """Where this lab's journal, records and hosts live."""
        return home() / self.name

    @property
    def hub_lock(self) -> Path:
        """Held by the hub as long as it lives (`labretto.network.liveness`)."""
        return self.folder / "hub.lock"

    @property
    def hub_file(self) -> Path:
        """Where the running hub says its address."""
        return self.folder / "hub.json"

    def host_folder(self, instrument: str) -> Path:
        """Where the host of one instrument keeps its ledger, its lock, its address and its log."""
        return self.folder / "hosts" / check_name(instrument)

    def search_path(self, instrument: str) -> tuple[Path, ...]:
        """Folders in which the driver's module may stand, besides where Python looks anyway."""
        own = self.instruments[instrument].path
        return tuple(folder for folder in (own, self.file.parent if self.file else None) if folder)


def alone_folder(instrument: str) -> Path:
    """Where the host of an instrument that is served without a lab keeps its things."""
    return home() / ALONE / check_name(instrument)


def load_lab(path: Path | str | None = None) -> Lab:
    """The lab that the file `path` describes; None for an empty one named "default".

    Raises:
        NotFoundError: there is no such file.
        InvalidError: the file is wrong; `faults` lists everything found.
    """
    if path is None:
        return Lab(name="default")
    file = Path(path).expanduser().absolute()
    try:
        return parse_lab(file.read_text("utf-8"), file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise NotFoundError(
            f"{path} cannot be read: {(error.strerror or 'no such file').lower()}.",
            way_out="Name the lab's file, such as lab.toml, or leave it out for an empty lab.",
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}.") from None


def parse_lab(text: str, file: Path) -> Lab:
    """The lab that `text` describes; `file` gives its folder and its name unless the text does.

    Raises:
        InvalidError: `faults` lists everything found.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refusal(file, [_syntax_fault(str(error), text)]) from None
    named = table | {"name": table.get("name", _default_name(file)), "file": file}
    if isinstance(table.get("instruments"), dict):
        named["instruments"] = {n: _instrument(n, t, file) for n, t in table["instruments"].items()}
    if isinstance(table.get("access"), dict):
        paths = {key: table["access"].get(key) for key in ("tls_cert", "tls_key")}
        resolved = {key: file.parent / path for key, path in paths.items() if isinstance(path, str)}
        named["access"] = table["access"] | resolved
    if isinstance(table.get("notify"), dict):
        named["notify"] = _beside(table["notify"], file)
    faults = [*_unwanted(table), *_name_faults(named), *_side_faults(named)]
    lab: Lab | None = None
    try:
        lab = Lab.model_validate(named)
    except pydantic.ValidationError as error:
        faults += [_fault(e["loc"], e) for e in error.errors(include_url=False) if e["loc"][-1:] != ("file",)]
    faults += _disagreements(named)
    if faults or lab is None:
        raise _refusal(file, [fault | _place(text, fault["path"]) for fault in faults])
    return lab


def _beside(table: dict[str, Any], file: Path) -> dict[str, Any]:
    """The table with its files in the folder of `file`, where they are not absolute."""
    found = {key: _beside(value, file) if isinstance(value, dict) else value for key, value in table.items()}
    if isinstance(name := found.get("password_file"), str):
        found["password_file"] = file.parent / name
    if isinstance(names := found.get("webhook_files"), list):
        found["webhook_files"] = [file.parent / name if isinstance(name, str) else name for name in names]
    return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or what there is to choose from."""
    choices = list(known)
    near = difflib.get_close_matches(word[:100], choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known here: {', '.join(choices[:20])}." if choices else ""


def _default_name(file: Path) -> str:
    """The stem of the file, or for a plain lab.toml the folder in which it stands."""
    wanted = file.parent.name if file.stem == "lab" else file.stem
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted).strip("-")[:64]
    return cleaned if NAME.fullmatch(cleaned) else "lab"


def _instrument(name: str, table: Any, file: Path) -> Any:
    if not isinstance(table, dict):
        return table
    files = ("path", "overlay", "limits", "token_file")
    resolved = {key: file.parent / table[key] for key in files if isinstance(table.get(key), str)}
    side, _ = _side(resolved.get("overlay"))
    both = {
        key: side[key] | table[key] for key in side if isinstance(side[key], dict) and isinstance(table.get(key), dict)
    }
    return side | table | both | resolved | {"name": name}


def _side(file: Path | None) -> tuple[dict[str, Any], list[str]]:
    """The keys of `SIDE` that stand in a file of their own, and what is wrong with it."""
    if file is None:
        return {}, []
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{file} cannot be read: {getattr(error, 'strerror', None) or error}."]
    unknown = [f"{file}: the key {key} is not known. {did_you_mean(key, SIDE)}" for key in said if key not in SIDE]
    return {key: value for key, value in said.items() if key in SIDE}, unknown


def _unwanted(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Keys that our models have and a file may not set."""
    if "file" in table:
        yield {"path": ["file"], "detail": "the key 'file' is not known.", "way_out": ""}
    instruments = table.get("instruments")
    for name, entry in instruments.items() if isinstance(instruments, dict) else ():
        if isinstance(entry, dict) and "name" in entry:
            path = ["instruments", name, "name"]
            yield {"path": path, "detail": f"instruments.{name} has its name already.", "way_out": "Drop this key."}


def _side_faults(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wrong with the files of `overlay` keys."""
    instruments = table.get("instruments")
    for name, entry in instruments.items() if isinstance(instruments, dict) else ():
        file = entry.get("overlay") if isinstance(entry, dict) else None
        for detail in _side(file)[1] if isinstance(file, Path) else ():
            yield {"path": ["instruments", name, "overlay"], "detail": detail, "way_out": ""}


def _name_faults(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    instruments = table.get("instruments")
    names = [(["instruments", n], n, "instrument") for n in (instruments if isinstance(instruments, dict) else ())]
    for path, name, what in [(["name"], table["name"], "lab"), *names]:
        if isinstance(name, str) and (not NAME.fullmatch(name) or (what == "lab" and name == ALONE)):
            detail = f"{name[:80]!r} cannot be the name of a{'n' * (what[0] == 'i')} {what}."
            yield {"path": path, "detail": detail, "way_out": f"Use {_WORDS['name']}, but not {ALONE!r} for a lab."}


def _disagreements(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wrong only together: a driver and an address, a port given twice."""
    instruments = table.get("instruments")
    entries = {n: t for n, t in instruments.items() if isinstance(t, dict)} if isinstance(instruments, dict) else {}
    taken: dict[Any, str] = {table.get("port", 8000): "the hub"}
    for name, entry in entries.items():
        place, path = f"instruments.{name}", ["instruments", name]
        ways = [way for way in ("driver", "url", "discover") if entry.get(way)]
        if len(ways) != 1:
            what = f"both a {' and a '.join(ways)}" if ways else "neither a driver nor a url"
            way_out = f"Give it {_WORDS['driver']}, or a host elsewhere: {_WORDS['url']}, or discover = true."
            yield {"path": path, "detail": f"{place} has {what}.", "way_out": way_out}
        elsewhere = next((way for way in ways if way != "driver"), None)
        useful = {"url", "token_file", "name", "compat", "discover", *(["key"] if elsewhere == "discover" else [])}
        for key in (k for k in entry if elsewhere and k not in useful | {"driver"} and k in LabInstrument.model_fields):
            detail = f"{place}.{key} means nothing beside a {elsewhere}: the host elsewhere has its own settings."
            yield {"path": [*path, key], "detail": detail, "way_out": "Drop it."}
        if elsewhere == "discover" and "token_file" in entry and "key" not in entry:
            detail = f"{place}: anybody can announce a name, and would be shown the token in {place}.token_file."
            yield {"path": [*path, "token_file"], "detail": detail, "way_out": "Give its `key`, or its `url`."}
        port = entry.get("port")
        if port in taken:
            detail = f"{place}.port={port} is the port of {taken[port]} already."
            yield {"path": [*path, "port"], "detail": detail, "way_out": "Choose another, or none for a free one."}
        elif port is not None:
            taken[port] = name


def _fault(location: Sequence[int | str], error: Any) -> dict[str, Any]:
    """What pydantic found, in the words of the file."""
    path = [part for part in map(str, location) if part != "[key]"]
    place = ".".join(path)
    if error["type"] == "extra_forbidden":
        known = [key for key in _keys_at(path) if key not in {"file", *(["name"] if len(path) > 2 else [])}]
        return {"path": path, "detail": f"the key {place} is not known.", "way_out": did_you_mean(path[-1], known)}
    came = repr(error["input"])[:80]
    if error["type"] == "literal_error":
        return {"path": path, "detail": f"{place}={came} is not known.", "way_out": f"Use {error['ctx']['expected']}."}
    if error["type"] == "string_pattern_mismatch" and path[-1] in _WORDS:
        return {"path": path, "detail": f"{place}={came} is not {_WORDS[path[-1]]}.", "way_out": ""}
    message = error["msg"][:1].lower() + error["msg"][1:]
    return {"path": path, "detail": f"{place}={came} does not fit: {message}.", "way_out": ""}


def _keys_at(path: Sequence[str]) -> Iterable[str]:
    match path:
        case ["instruments", _, _]:
            return LabInstrument.model_fields
        case ["compat", _]:
            return Compat.model_fields
        case ["access", _]:
            return Access.model_fields
        case ["notify", "mail", _]:
            return Mail.model_fields
        case ["notify", _]:
            return Notify.model_fields
        case [_]:
            return Lab.model_fields
    return ()


def _place(text: str, path: Sequence[str]) -> dict[str, Any]:
    """Line and column of the key `path`, or of the nearest table that holds it; empty if the text does not say."""
    table: list[str] = []
    best: tuple[int, dict[str, Any]] = (0, {})
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.lstrip()
        if header := re.match(r"\[\s*([^\[\]]+?)\s*\]", bare):
            table = _dotted(header[1])
            key = table
        elif assignment := re.match(r"([\w.\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=", bare):
            key = [*table, *_dotted(assignment[1])]
        else:
            continue
        if len(key) > best[0] and key == list(path[: len(key)]):
            best = (len(key), {"line": number, "column": len(line) - len(bare) + 1})
    return best[1]


def _dotted(key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in key.split(".")]


def _syntax_fault(message: str, text: str) -> dict[str, Any]:
    words, _, where = message.partition(" (at ")
    numbers = [int(n) for n in re.findall(r"\d+", where)] or [text.count("\n") + 1, 1]
    detail = f"not TOML: {words[:1].lower()}{words[1:]}."
    return {"path": [], "detail": detail, "way_out": "", "line": numbers[0], "column": numbers[-1]}


def _refusal(file: Path, faults: Sequence[dict[str, Any]]) -> InvalidError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    said = [fault | {"path": ".".join(fault["path"])} for fault in sorted(faults, key=lambda f: f.get("line", 0))]
    return InvalidError(f"{file} has {count}; nothing was started.", faults=said, file=str(file))

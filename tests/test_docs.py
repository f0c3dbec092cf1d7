"""The reference says what there is: every public name, error, command, option, key, route and variable is in it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer.main

import labretto
from labretto import cli, errors
from labretto.errors import LabError
from labretto.lab import Compat, Lab, LabInstrument, Mail, Notify, parse_lab
from labretto.network.background import start_background
from labretto.network.load import load_driver, maker

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
SOURCE = Path(labretto.__file__).parent


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text("utf-8")


def missing(words: Any, text: str) -> list[str]:
    """The words that do not stand in the text as a whole word in code."""
    return [word for word in words if not re.search(rf"`[^`]*(?<![\w-]){re.escape(word)}(?![\w-])[^`]*`", text)]


def test_every_public_name_is_in_the_reference() -> None:
    assert missing([f"labretto.{name}" for name in labretto.__all__], page("python")) == []


@pytest.mark.parametrize("name", ["Hub", "RunHandle", "Record"])
def test_what_a_public_class_can_do_is_in_the_reference(name: str) -> None:
    row = next(
        line
        for line in page("python").splitlines()
        if line.startswith((f"| `labretto.{name}`", f"| `labretto.{name}("))
    )

    assert missing([member for member in dir(getattr(labretto, name)) if not member.startswith("_")], row) == []


def kinds(cls: type[LabError] = LabError) -> Iterator[type[LabError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from (kind for kind in kinds(sub) if kind.__module__ == errors.__name__)


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_error_is_in_the_reference_with_its_status_and_what_it_is_a_kind_of(kind: type[LabError]) -> None:
    above = f"`{kind.__base__.__name__}`" if kind is not LabError and kind.__base__ else "–"

    assert f"| `{kind.__name__}` | {above} | {kind.status} |" in page("errors")


def test_every_command_and_option_is_in_the_reference() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    sections = dict(
        re.findall(r"^## labretto (\w+)[^\n]*\n(.*?)(?=^## |\Z)", page("command-line"), re.MULTILINE | re.DOTALL)
    )

    assert set(sections) == set(commands)
    for name, command in commands.items():
        options = [
            option for each in command.params for option in [*each.opts, *each.secondary_opts] if option[0] == "-"
        ]
        assert missing(options, sections[name]) == [], name


def test_every_exit_status_is_in_the_reference() -> None:
    assert [status for status in (0, 1, 2, 3, 4, 130) if f"\n| {status} |" not in page("command-line")] == []


def test_every_variable_of_the_environment_is_in_the_reference() -> None:
    used = {word for file in SOURCE.rglob("*.py") for word in re.findall(r"LABRETTO_[A-Z_]+", file.read_text("utf-8"))}

    assert missing(used, page("command-line")) == []


def test_every_key_of_the_lab_file_is_in_the_reference() -> None:
    outer, inner = page("lab-file").split("## `[instruments.NAME]`")

    assert missing(set(Lab.model_fields) - {"file"}, outer) == []
    assert missing(set(LabInstrument.model_fields) - {"name"}, inner) == []
    for table in (Compat, Notify, Mail):
        assert missing(table.model_fields, outer) == []


def test_the_lab_files_of_the_reference_are_read(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```$", page("lab-file"), re.MULTILINE | re.DOTALL)

    assert examples
    assert all(parse_lab(example, tmp_path / "lab.toml").instruments for example in examples)


def test_the_simulated_instruments_of_the_reference_are_all_there_are_and_can_be_made(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", page("simulated"), re.MULTILINE | re.DOTALL)

    lab = parse_lab(example, tmp_path / "lab.toml")

    made = [maker(load_driver(str(each.driver)), each.settings, name)() for name, each in lab.instruments.items()]
    modules = {type(each).__module__.rpartition(".")[2] for each in made}
    assert modules == {"stage", "potentiostat", "camera", "furnace", "pump"}


def requests_of(document: Any) -> set[str]:
    """`GET /path` of every route in an OpenAPI document."""
    methods = {"get", "put", "post", "patch", "delete"}
    return {f"{each.upper()} {path}" for path, told in document["paths"].items() for each in methods & set(told)}


def told(text: str) -> set[str]:
    return set(re.findall(r"`((?:GET|PUT|POST|PATCH|DELETE) /[^`]*)`", text))


def test_the_requests_of_a_hub_are_those_of_the_reference(command_line: Any) -> None:
    with command_line.hub("--port", "0") as hub:
        offered = requests_of(httpx2.get(f"{hub}/openapi.json").json())

    assert told(page("http").split("## One instrument")[0]) == offered


class Lamp:
    """A lamp."""

    @property
    def brightness(self) -> float:
        return 0.5

    def flash(self) -> None:
        """Once."""


def test_the_requests_of_an_instrument_are_in_the_reference() -> None:
    with start_background(Lamp) as served:
        document = httpx2.get(f"{served.url}/openapi.json").json()
    general = {
        request.replace("/attributes/brightness", "/attributes/{name}").replace("/actions/flash", "/actions/{action}")
        for request in requests_of(document)
    }

    instrument = {re.sub(r"\{[^}]*\}", "{}", request) for request in told(page("http").split("## One instrument")[1])}
    assert {re.sub(r"\{[^}]*\}", "{}", request) for request in general} <= instrument


def test_the_links_of_the_documentation_lead_somewhere() -> None:
    documentation = REFERENCE.parent
    links = [
        (file, link)
        for file in (documentation.parent / "README.md", *documentation.rglob("*.md"))
        for link in re.findall(r"\]\(([\w./-]+)\)", file.read_text("utf-8"))
    ]

    assert [link for file, link in links if not (file.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    documentation = REFERENCE.parent
    indexes = {file.parent: file.read_text("utf-8") for file in documentation.rglob("README.md")}
    linked = {
        (folder / link).resolve() for folder, text in indexes.items() for link in re.findall(r"\]\(([^)]+)\)", text)
    }

    assert set(documentation.rglob("*.md")) - linked - {documentation / "README.md"} == set()

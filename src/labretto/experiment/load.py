"""An experiment from text: every fault at once, each with its line and column.

The text's syntax is `document`'s matter, steps are `steps`'s, `soe`/`params` is `soe`'s; here are the outermost words
and the parameters. Whether the instruments can do what is asked is seen in `check`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labretto.errors import InvalidError, NotFoundError
from labretto.experiment import soe
from labretto.experiment.document import MAX_BYTES, Node, read_text
from labretto.experiment.faults import EnoughFaultsError, Faults, refusal
from labretto.experiment.model import Experiment, Fault, Parameter, Step
from labretto.experiment.steps import is_name, kind, read_steps, refuse_unknown

WORDS = ("name", "description", "parameters", "steps")
SCHEMA_WORDS = (
    *("type", "enum", "default", "unit", "title", "description", "items"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)
"""The JSON Schema words of a parameter.

No `$ref` (it would fetch) and no `pattern` (it can be made to run for ever).
"""


def load(text: str, *, file: str | None = None) -> Experiment:
    """Read an experiment from YAML or JSON.

    Args:
        text: at most 1 MiB.
        file: the file's name, for messages and as the name of an experiment that gives none.

    Raises:
        InvalidError: with all faults, each with line and column.
    """
    faults = Faults()
    experiment = None
    with contextlib.suppress(EnoughFaultsError):
        root = read_text(text, faults)
        experiment = _experiment(root, text, file, faults) if root is not None else None
    if faults.found or experiment is None:
        faults.found.sort(key=lambda fault: (fault.line or 0, fault.column or 0))
        raise refusal(faults.found, file or "the experiment")
    return experiment


def load_file(path: Path | str) -> Experiment:
    """Read an experiment from a file.

    Raises:
        NotFoundError: if there is no such file, or it cannot be opened.
        InvalidError: as `load`.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        return load(content.decode("utf-8-sig"), file=str(path))
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror or error}", way_out="give the path of a file"
        ) from error
    except UnicodeDecodeError as error:
        before = content[: error.start]
        where = (before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise refusal(
            [Fault("there is a byte that is not UTF-8", *where, way_out="save it as UTF-8")], str(path)
        ) from error


def load_object(experiment: Mapping[str, Any], *, file: str | None = None) -> Experiment:
    """Read an experiment that came as the body of a request; its source is that body as JSON."""
    try:
        text = json.dumps(experiment, indent=2, ensure_ascii=False, allow_nan=False)
        if len(text) > MAX_BYTES // 2:  # long tables: a line for each number would be most of the text
            text = json.dumps(experiment, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidError(f"the experiment is not a JSON object: {error}", way_out="send plain JSON values") from error
    return load(text, file=file)


def _experiment(root: Node, text: str, file: str | None, faults: Faults) -> Experiment | None:
    if not isinstance(root.value, dict):
        found = "nothing" if root.value is None else kind(root)
        faults.add(f"an experiment is a mapping with `name` and `steps`; here is {found}", root.where)
        return None
    name = Path(file).stem if file else "experiment"
    if "soe" in root.value:
        return _made(text, file, name, "", {}, soe.read_steps(root, faults), "soe")
    refuse_unknown(root, WORDS, "an experiment", "", faults)
    if "steps" not in root.value:
        faults.add("the experiment has no `steps`", root.where, way_out="add `steps:` with a list of steps")
    parameters = _parameters(root.value.get("parameters"), faults)
    steps = read_steps(root.value["steps"], "steps", faults) if "steps" in root.value else ()
    title, description = (_text(root.value.get(word), word, faults) for word in ("name", "description"))
    return _made(text, file, title or name, description, parameters, steps, "file")


def _made(
    text: str,
    file: str | None,
    name: str,
    description: str,
    parameters: dict[str, Parameter],
    steps: tuple[Step, ...],
    form: Any,
) -> Experiment:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Experiment(name, description, parameters, steps, form, text, digest, file)


def _text(node: Node | None, word: str, faults: Faults) -> str:
    if node is None or node.value is None:
        return ""
    if not isinstance(node.value, str):
        faults.add(f"`{word}` is a text; here is {kind(node)}", node.where, word, "put it in quotes")
        return ""
    return node.value.strip()


def _parameters(node: Node | None, faults: Faults) -> dict[str, Parameter]:
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        faults.add(f"`parameters` is a mapping of names; here is {kind(node)}", node.where, "parameters")
        return {}
    found = {}
    for name, each in node.value.items():
        path = f"parameters.{name}"
        is_name(name, "a parameter", node.keys[name], path, faults)
        found[name] = _parameter(name, each, node, path, faults)
    return found


def _parameter(name: str, node: Node, within: Node, path: str, faults: Faults) -> Parameter:
    """A mapping is JSON Schema with `default`, anything else a default; nothing is a required parameter of any kind."""
    if isinstance(node.value, dict):
        refuse_unknown(node, SCHEMA_WORDS, f"the parameter {name}", path, faults)
        schema = node.plain
    else:
        schema = {} if node.value is None else {"default": node.plain}
    if "default" in schema and not {"type", "enum"} & schema.keys():
        schema = {**_type_of(schema["default"]), **schema}
    return Parameter(name, schema, "default" not in schema, schema.get("default"), within.keys[name])


def _type_of(value: Any) -> dict[str, str]:
    """What a default says about the type; a whole number says no more than `number`."""
    types = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return {"type": types[type(value)]} if type(value) in types else {}

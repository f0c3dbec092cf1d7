"""An experiment file that names other files, made into one text: what those hold is put below `files:`.

Done where the files are, before submission; so the hub never reads a file that somebody names to it, and the record of
a run keeps everything. The text itself stays as it was, line by line, and the files follow it, indented.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from labretto.errors import NotFoundError
from labretto.experiment.document import MAX_BYTES, Node, read_text
from labretto.experiment.faults import Faults, refusal
from labretto.experiment.parts import read_part
from labretto.experiment.placing import INDENT
from labretto.experiment.words import mapping_of


def inline(text: str, folder: Path) -> str:
    """`text` with the files in it that its `experiments:` name; the same text if there are none.

    Args:
        text: of an experiment; if it cannot be read it is answered as it is, and refused where it is submitted.
        folder: where relative names begin.

    Raises:
        NotFoundError: a file cannot be read; names it.
        InvalidError: what is in a file is no experiment; with its faults, placed in that file.
    """
    if "experiments" not in text:
        return text
    root = read_text(text, Faults())
    names = [] if root is None else _named(root)
    if root is None or not names:
        return text
    files = {name: _content(folder / name, name) for name in names}
    composed = text.rstrip("\n") + "\nfiles:\n" + "".join(_below(name, content) for name, (content, _) in files.items())
    values = {name: node.plain for name, (_, node) in files.items()}
    if _means(composed, {**root.plain, "files": values}):
        return composed
    # JSON, a mapping in braces, a text with an end of its own: nothing can be put below it.
    return json.dumps({**root.plain, "files": values}, indent=2, ensure_ascii=False)


def _named(root: Node) -> list[str]:
    words = mapping_of(root)
    if "files" in words or "experiments" not in words:
        return []
    named = [each.value for each in mapping_of(words["experiments"]).values()]
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


def _content(path: Path, name: str) -> tuple[str, Node]:
    """A file's text, and what it says."""
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        way_out = f"The experiment names the file {name}; its place is counted from the experiment's own folder."
        raise NotFoundError(f"{path} cannot be read: {error.strerror or error}.", way_out=way_out) from error
    except UnicodeDecodeError as error:
        raise NotFoundError(f"{path} cannot be read: it is not UTF-8.", way_out="Save it as UTF-8.") from error
    faults = Faults()
    node = read_text(text, faults)
    if node is not None:
        read_part(name, node, name, faults)
    if node is None or faults.found:
        raise refusal(sorted(faults.found, key=lambda fault: (fault.line or 0, fault.column or 0)), str(path))
    return text, node


def _below(name: str, text: str) -> str:
    """One entry of `files:`, the file's text as it stands in its file."""
    lines = text.rstrip("\n").split("\n")
    if lines[0].rstrip() == "---":
        lines[0] = "# ---"  # every line keeps its number
    content = textwrap.indent("\n".join(lines), " " * INDENT)
    return f"  {json.dumps(name, ensure_ascii=False)}:\n{content}\n"


def _means(text: str, wanted: Any) -> bool:
    faults = Faults()
    found = read_text(text, faults)
    return found is not None and not faults.found and bool(found.plain == wanted)

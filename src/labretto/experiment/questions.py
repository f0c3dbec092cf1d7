"""`ask` steps of an experiment file, read into `question`."""

from __future__ import annotations

from typing import cast, get_args

from labretto.experiment.document import Node
from labretto.experiment.faults import Faults, quoted
from labretto.experiment.parameters import fields_of
from labretto.experiment.question import Late, Priority, Question
from labretto.experiment.words import duration_of, kind, mapping_of, one_of, text_of

WORDS = (
    *("ask", "description", "choices", "fields", "show"),
    *("deadline", "late", "default", "remind", "assignee", "priority", "release"),
)
_TAKEN = ("abort", "answer", "late")
"""Words that an answer has for itself."""


def question_of(node: Node, path: str, faults: Faults) -> Question:
    """The question at a node."""
    words = mapping_of(node)
    text = text_of(node, "ask", f"{path}.ask", faults)
    if not text and isinstance(words["ask"].value, str | None):
        faults.add("`ask` needs the text of the question", words["ask"].where, f"{path}.ask", "write it in quotes")
    if "choices" in words and "fields" in words:
        faults.add(
            "a question has `choices` or `fields`", node.keys["fields"], path, "make the choice one of the fields"
        )
    late = one_of(node, "late", get_args(Late), path, faults)
    if "deadline" not in words and late is not None:
        faults.add("`late` needs a `deadline`", node.keys["late"], path, "add for instance `deadline: 2 h`")
    if (late == "default") is not ("default" in words):
        where = node.keys["default" if "default" in words else "late"]
        faults.add("`default` and `late: default` belong together", where, path, "give both or none")
    return Question(
        text,
        text_of(node, "description", f"{path}.description", faults),
        _choices(node, path, faults),
        fields_of(node, path, faults),
        deadline=duration_of(node, "deadline", path, faults),
        late=cast("Late", late or "mark"),
        default=words["default"].plain if "default" in words else None,
        remind=duration_of(node, "remind", path, faults),
        assignee=text_of(node, "assignee", f"{path}.assignee", faults) or None,
        priority=cast("Priority", one_of(node, "priority", get_args(Priority), path, faults) or "medium"),
        release=_release(node, path, faults),
    )


def _choices(node: Node, path: str, faults: Faults) -> tuple[str, ...]:
    below = mapping_of(node).get("choices")
    if below is None:
        return ()
    if not isinstance(below.value, list) or not below.value:
        faults.add(f"`choices` is a list of texts; here is {kind(below)}", below.where, f"{path}.choices")
        return ()
    for each in below.value:
        if not isinstance(each.value, str) or not each.value:
            faults.add(f"a choice is a text; here is {kind(each)}", each.where, f"{path}.choices", "put it in quotes")
        elif each.value in _TAKEN:
            faults.add(f"{quoted(each.value)} has a meaning already", each.where, f"{path}.choices", "use another word")
    return tuple(dict.fromkeys(str(each.value) for each in below.value))


def _release(node: Node, path: str, faults: Faults) -> bool | tuple[str, ...]:
    """True for all instruments, or the names of some."""
    below = mapping_of(node).get("release")
    if below is None:
        return False
    if isinstance(below.value, bool):
        return below.value
    if isinstance(below.value, list) and all(isinstance(each.value, str) for each in below.value):
        return tuple(str(each.value) for each in below.value)
    faults.add(f"`release` is true or a list of instruments; here is {kind(below)}", below.where, f"{path}.release")
    return False

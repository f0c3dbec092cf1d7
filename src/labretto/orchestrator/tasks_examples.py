"""What the documentation of `/tasks` shows: an example of each request, and of each answer that may come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from labretto.errors import ConflictError, InvalidError, LabError, NotFoundError
from labretto.orchestrator.task import SORTS

_Answers: TypeAlias = dict[int | str, dict[str, Any]]

SORT = f"One of {', '.join(SORTS)}; with a minus before it, downwards."

PLAIN: dict[str, Any] = {
    "id": 7,
    "title": "Order argon",
    "description": "Two bottles of 50 l, 5.0; the last one is at 30 bar.",
    "status": "pending",
    "priority": "high",
    "due_date": "2026-12-01",
    "assignee": "Ada",
    "created": "2026-11-21T09:12:44.102938Z",
    "updated": "2026-11-21T09:12:44.102938Z",
    "kind": "task",
    "run": None,
    "path": None,
    "remind_every": None,
    "choice": None,
    "answer": None,
    "closed": None,
    "closed_by": None,
    "why": None,
    "reminder": None,
    "overdue": False,
    "form": None,
    "late": None,
    "choices": None,
    "meanings": None,
}

ASKED: dict[str, Any] = PLAIN | {
    "id": 8,
    "title": "Weigh the film",
    "description": "Weigh the film",
    "due_date": None,
    "assignee": None,
    "kind": "ask",
    "run": "019e5d5a-6f1f-7c3e-9d5d-0d2c1c1d8a11",
    "path": "ask",
    "form": {"type": "number", "exclusiveMinimum": 0, "unit": "mg"},
    "choices": ["answer", "abort"],
}

DONE: dict[str, Any] = ASKED | {
    "status": "completed",
    "choice": "answer",
    "answer": 12.5,
    "closed": "2026-11-21T09:20:01.000412Z",
    "closed_by": "Ada",
    "why": "Mean of three",
}

NEW: dict[str, Any] = {
    "shortest": {"value": {"title": "Order argon", "description": "Two bottles of 50 l, 5.0."}},
    "with everything": {
        "value": {
            "title": "Order argon",
            "description": "Two bottles of 50 l, 5.0.",
            "status": "pending",
            "priority": "high",
            "due_date": "2026-12-01",
            "assignee": "Ada",
            "reminder": "2026-11-30T09:00:00+01:00",
        }
    },
}

CHANGES: dict[str, Any] = {
    "begin": {"value": {"title": "Order argon", "description": "Two bottles of 50 l, 5.0.", "status": "in_progress"}},
    "close": {"value": {"title": "Order argon", "description": "Two bottles of 50 l, 5.0.", "status": "completed"}},
    "answer what a run asks": {
        "value": {
            "title": "Weigh the film",
            "description": "Weigh the film",
            "status": "completed",
            "answer": 12.5,
            "why": "Mean of three",
        }
    },
}

PARTS: dict[str, Any] = {
    "give it to somebody": {"value": {"assignee": "Grace", "due_date": "2026-12-01T18:00:00Z"}},
    "close": {"value": {"status": "completed"}},
}

ANSWERS: dict[str, Any] = {
    "a number": {"value": {"value": 12.5, "why": "Mean of three"}},
    "several fields": {"value": {"value": {"mass": 12.5, "cracked": False}}},
    "one of the choices": {"value": {"choice": "skip", "why": "The film is broken."}},
    "an interrupted action happened": {"value": {"choice": "happened", "value": 20.0, "why": "The drop hangs there."}},
}

FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "…"}},
    }
}


def _answered(description: str, example: Any, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = {"schema": dict(schema or {"type": "object"}), "example": example}
    return {"description": description, "content": {"application/json": content}}


def _refused(error: LabError) -> dict[str, Any]:
    content = {"schema": {"type": "object"}, "example": error.problem()}
    return {"description": error.title, "content": {"application/problem+json": content}}


_NOT_FOUND: _Answers = {
    404: _refused(NotFoundError("There is no task 9.", way_out="GET /tasks lists those there are."))
}
_FAULT = {"detail": "body.title: it must not be empty; blanks do not count"}
_INVALID: _Answers = {422: _refused(InvalidError("POST /tasks does not fit.", faults=[_FAULT]))}
_UNFIT = {"field": "mass", "detail": "mass=-1 mg is not above 0 mg."}
_MISFIT: _Answers = {422: _refused(InvalidError("The answer does not fit; nothing was written.", faults=[_UNFIT]))}
_WAITED_FOR = ConflictError(
    "Task 8 cannot be deleted: run 019e5d5a-6f1f-7c3e-9d5d-0d2c1c1d8a11 waits for its answer.",
    way_out="Answer it, or end the run: POST /tasks/8/answer with the choice 'abort'.",
)
_CONFLICT: _Answers = {409: _refused(_WAITED_FOR)}
_SORT: _Answers = {
    422: _refused(InvalidError("sort='colour' is not known.", way_out=f"Sort by one of {', '.join(SORTS)}."))
}
_NO_NAME: _Answers = {
    422: _refused(InvalidError("POST /tasks/8/files does not fit.", faults=[{"detail": "query.name: Field required"}]))
}

LIST: _Answers = {
    200: _answered(
        "The tasks of this page; `X-Total-Count` says how many there are.", [PLAIN, ASKED], {"type": "array"}
    ),
    **_SORT,
}
CREATED: _Answers = {201: _answered("The task", PLAIN), **_INVALID}
ONE: _Answers = {200: _answered("The task", ASKED), **_NOT_FOUND, **_INVALID}
CHANGED: _Answers = {200: _answered("The task", DONE), **_NOT_FOUND, **_CONFLICT, **_MISFIT}
REMOVED: _Answers = {204: {"description": "It is gone."}, **_NOT_FOUND, **_CONFLICT, "4XX": _NOT_FOUND[404]}
FILED: _Answers = {
    201: _answered("Where it stands in the run's record: the value to answer with", {"file": "files/photo.png"}),
    **_NOT_FOUND,
    **_CONFLICT,
    **_NO_NAME,
}

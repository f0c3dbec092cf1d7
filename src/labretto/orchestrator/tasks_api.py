"""`/tasks`: what people have to do, over HTTP. Routes translate; what a change means is decided in `people`.

The same tasks as the page, the command line and the runs have; a plain client needs to know nothing of runs to close
one. Every request and answer is shown with an example in the documentation at `/docs` and `/redoc`.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from labretto.errors import InvalidError, NotFoundError
from labretto.orchestrator import tasks_examples as shown
from labretto.orchestrator.api import Actor, answer
from labretto.orchestrator.people import People
from labretto.orchestrator.task import Priority, Status, Wanted, moment


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be empty; blanks do not count")
    return text.strip()


def _moment(text: str) -> str:
    try:
        moment(text, end=True)
    except InvalidError as error:
        raise ValueError(str(error)) from None
    return text.strip()


def _lower(word: Any) -> Any:
    return word.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(word, str) else word


Title = Annotated[str, Field(max_length=500), AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=20_000), AfterValidator(_not_blank)]
Moment = Annotated[
    str,
    Field(max_length=40, description="A date, or a time in ISO 8601."),
    AfterValidator(_moment),
    PlainSerializer(str),
]
Word = Annotated[Status, BeforeValidator(_lower)]
Rank = Annotated[Priority, BeforeValidator(_lower)]


class TaskBody(BaseModel):
    """A task as somebody puts it down. What the list answers besides may be sent back, and is not looked at."""

    model_config = ConfigDict(extra="ignore")
    title: Title
    description: Description
    status: Word | None = None
    priority: Rank | None = None
    due_date: Moment | None = None
    assignee: Annotated[str, Field(max_length=200)] | None = None
    reminder: Moment | None = None

    def said(self) -> dict[str, Any]:
        """The words that were sent; a state or a priority that is null was not."""
        words = self.model_dump(exclude_unset=True)
        return {name: value for name, value in words.items() if value is not None or name not in ("status", "priority")}


class ChangedTask(TaskBody):
    """The same, with what came of it: `answer` is what a run asks for, `choice` one of those that it offers."""

    answer: Any = None
    choice: Annotated[str, Field(max_length=200)] | None = None
    why: Annotated[str, Field(max_length=2000)] | None = None


class PartOfTask(ChangedTask):
    """Some words of a task; what is not sent stays."""

    title: Title = ""
    description: Description = ""


class AnswerBody(BaseModel):
    """The answer to what a run asks: a value that fits `form`, or one of `choices`, or both."""

    model_config = ConfigDict(extra="forbid")
    value: Any = None
    choice: Annotated[str, Field(max_length=200)] | None = None
    why: Annotated[str, Field(max_length=2000)] | None = None


def _number(task_id: str) -> int:
    if not task_id.isascii() or not task_id.isdigit() or len(task_id) > 15:
        raise NotFoundError(f"There is no task {task_id[:80]!r}.", way_out="GET /tasks lists those there are.")
    return int(task_id)


Number = Annotated[int, Depends(_number)]
Page = Annotated[int, Query(ge=1, le=1000, description="Tasks on one page.")]


def task_routes(people: People) -> APIRouter:
    """`/tasks` and what is below it."""
    router = APIRouter(prefix="/tasks", tags=["tasks"])

    @router.get("", summary="What people have to do", responses=shown.LIST)
    async def list_tasks(
        request: Request,
        status: Annotated[list[Word] | None, Query(description="May be repeated.")] = None,
        priority: Annotated[list[Rank] | None, Query(description="May be repeated.")] = None,
        due_before: Annotated[Moment | None, Query(description="Due before this time, or before this day.")] = None,
        due_after: Annotated[Moment | None, Query(description="Due after this time, or after this day.")] = None,
        assignee: str | None = None,
        text: Annotated[str | None, Query(description="Stands in the title or the description.")] = None,
        run: Annotated[str | None, Query(description="Only what is about this run.")] = None,
        sort: Annotated[str, Query(description=shown.SORT)] = "id",
        limit: Page = 100,
        offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    ) -> Response:
        wanted = Wanted(status or (), priority or (), assignee, text, due_before, due_after, run, sort, limit, offset)
        tasks, count = people.tasks.listed(wanted)
        headers = {"X-Total-Count": str(count)}
        if offset + limit < count:
            following = request.url.include_query_params(offset=offset + limit, limit=limit)
            headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
        return answer([task.as_dict() for task in tasks], headers=headers)

    @router.post("", status_code=201, summary="Put a task down", responses=shown.CREATED)
    async def create(body: Annotated[TaskBody, Body(openapi_examples=shown.NEW)], actor: Actor = None) -> Response:
        task = await people.tasks.create(**body.said(), who=_who(actor))
        return answer(task.as_dict(), 201, {"Location": f"/tasks/{task.id}"})

    @router.get("/{task_id}", summary="One task", responses=shown.ONE)
    async def show(task_id: Number) -> Response:
        return answer(people.tasks.find(task_id).as_dict())

    @router.put("/{task_id}", summary="Change a task, or close it; a run that waits goes on", responses=shown.CHANGED)
    async def change(
        task_id: Number, body: Annotated[ChangedTask, Body(openapi_examples=shown.CHANGES)], actor: Actor = None
    ) -> Response:
        return answer(await _changed(task_id, body, actor))

    @router.patch("/{task_id}", summary="The same with some of its words", responses=shown.CHANGED)
    async def change_part(
        task_id: Number, body: Annotated[PartOfTask, Body(openapi_examples=shown.PARTS)], actor: Actor = None
    ) -> Response:
        return answer(await _changed(task_id, body, actor))

    @router.delete("/{task_id}", status_code=204, summary="Take a task off the list", responses=shown.REMOVED)
    async def remove(task_id: Number) -> Response:
        await people.remove(task_id)
        return Response(status_code=204)

    @router.post("/{task_id}/answer", summary="Answer what a run asks, and close the task", responses=shown.CHANGED)
    async def settle(
        task_id: Number, body: Annotated[AnswerBody, Body(openapi_examples=shown.ANSWERS)], actor: Actor = None
    ) -> Response:
        words = {"status": "completed", "choice": body.choice, "answer": body.value}
        task = await people.change(task_id, words, who=_who(actor), why=body.why)
        return answer(task.as_dict())

    @router.post(
        "/{task_id}/files",
        status_code=201,
        summary="Send a file that belongs to the answer; it is kept in the run's record",
        responses=shown.FILED,
        openapi_extra=shown.FILE,
    )
    async def bring(
        task_id: Number, request: Request, name: Annotated[str, Query(min_length=1, max_length=500)]
    ) -> Response:
        place = await people.bring(task_id, name, request.stream())
        return answer({"file": place}, 201)

    async def _changed(task_id: int, body: ChangedTask, actor: str | None) -> dict[str, Any]:
        words = body.said()
        why = words.pop("why", None)
        return (await people.change(task_id, words, who=_who(actor), why=why)).as_dict()

    return router


def _who(actor: str | None) -> str | None:
    return unquote(actor) if actor else None

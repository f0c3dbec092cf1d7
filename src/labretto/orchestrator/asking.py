"""A run asks people: each branch waits for its own answer, and what is asked and answered is in the journal first.

What a question and an answer are is in `answering`. Who answers need not know which process asked: an answer is taken
as soon as the journal has the question, also when the run has been taken up again and has not come there yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labretto.errors import ConflictError
from labretto.experiment.question import Question
from labretto.instrument.reading import now, with_units
from labretto.orchestrator import answering
from labretto.orchestrator.brought import has_file
from labretto.orchestrator.engine import RunState, Step
from labretto.orchestrator.runlog import RunLog
from labretto.orchestrator.seat import Seat
from labretto.orchestrator.standing import Standing


class Asking:
    """The questions of one run.

    Args:
        log: its state, and where it is written.
        standing: what holds it up.
        seat: its place among the runs of the lab.
    """

    def __init__(self, log: RunLog, standing: Standing, seat: Seat) -> None:
        self._log = log
        self._standing = standing
        self._seat = seat

    @property
    def _state(self) -> RunState:
        return self._log.state

    async def ask(self, path: str, question: Question) -> Any:
        """The answer to an `ask` step, with its units; it is asked for once only.

        Raises:
            LateError: nobody answered in time, and the question says that this is a failure.
            AbortedError: a person ended the run.
        """
        while path not in self._state.answers:
            if path in self._state.late:
                raise answering.too_late(self._state.late[path])
            await self._standing.may_go_on()
            asked = answering.asked(path, question, now())
            await self._wait(question.text, asked, keep=self._kept(asked))
        return with_units(self._state.answers[path], question.schema)

    async def about(
        self, step: Step, reason: str, choices: Mapping[str, str], result: Mapping[str, Any] | None
    ) -> None:
        """Ask what became of a step, or what is to be done about it; return when somebody has said it."""
        await self._standing.may_go_on()
        await self._wait(reason, answering.about(step, reason, choices, result), keep=None)

    async def answer(
        self,
        choice: str | None,
        value: Any,
        *,
        who: str | None,
        why: str | None,
        path: str | None = None,
        number: int | None = None,
        task: Mapping[str, Any] | None = None,
        by_clock: bool = False,
    ) -> None:
        """An answer to one of the questions.

        Args:
            choice: one of those offered; None: what the value says.
            value: what the question's schema asks for.
            path: of the step that asks; None where one thing is asked.
            number: of the question, where it is said: a step may ask once more under the same path.
            task: words of the task that are changed with it.
            by_clock: nobody answered; the choice is the question's own.

        Raises:
            ConflictError: it does not ask this (any more); or it asks several things, and it is not said which.
            InvalidError: the choice is not one of those offered, or the value does not fit; nothing was written.
        """
        async with self._log.appending:  # of two people who answer at once, the second is told that nothing is asked
            question = self._one_asked(path)
            if number is not None and number != question["number"]:
                raise ConflictError(
                    f"Question {number} of run {self._state.id} is not open any more.",
                    way_out=f"Look at what it asks now: question {question['number']}.",
                )
            if not by_clock:
                folder = self._log.record.folder
                choice, value = answering.checked(question, choice, value, lambda place: has_file(folder, place))
            body = {"path": question["path"], "choice": choice, "value": value, "who": who, "why": why}
            body |= {"task": dict(task)} if task else {}
            body |= {"at_once": True} if choice == "abort" and self._state.aborting else {}
            await self._log.write(("settled", body), flush=True)
        self._standing.look_again()

    def _one_asked(self, path: str | None) -> Mapping[str, Any]:
        asked = self._state.questions
        if path is not None and path in asked:
            return asked[path]
        if path is not None or not asked:
            what = "asks nothing" if path is None else f"does not ask {path[:200]!r} any more"
            raise ConflictError(f"Run {self._state.id} {what}; it is {self._state.word}.")
        if len(asked) > 1:
            raise ConflictError(
                f"Run {self._state.id} asks {len(asked)} things.",
                way_out=f"Say which, by its path: {', '.join(asked)}.",
            )
        return next(iter(asked.values()))

    async def ready(self) -> None:
        """Return when a run that is taken up again waits neither for an answer nor for a resume.

        What it keeps for itself while it asks is kept from here on. A run whose other branches can go on does not wait.
        """
        if not self._waits:
            return
        asked = [] if self._state.pausing else [self._kept(each) for each in self._state.questions.values()]
        keep = self._standing.kept_by(asked)
        self._seat.keep(self._seat.needs if keep is None and self._state.acted else keep or ())
        await self._standing.until(lambda: not self._waits, keep)

    @property
    def _waits(self) -> bool:
        state = self._state
        asks = bool(state.questions) and not state.branched
        return (asks or state.pausing) and not state.aborting

    def _kept(self, question: Mapping[str, Any]) -> frozenset[str] | None:
        """What nobody else may use while this is asked; see `Standing.standing`."""
        release = question.get("release", False)
        if question["kind"] != "ask":
            return None
        if release is True:
            return frozenset()
        return self._seat.needs - frozenset(release or ())

    async def _wait(self, reason: str, question: Mapping[str, Any], keep: frozenset[str] | None) -> None:
        path = question["path"]
        async with self._standing.standing(keep):  # first: who is asked may want to act before the answer
            async with self._log.appending:
                if path not in self._state.questions and not self._standing.leaving:
                    await self._log.write(("waiting", {"reason": reason, "question": question}), flush=True)
            await self._standing.until(lambda: path not in self._state.questions, keep)

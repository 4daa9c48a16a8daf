"""A conversation: pages told, questions asked, answers read as lines; for a person, a script, or a program."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TextIO

from hardway.console import jsonl
from hardway.console.visible import visible
from hardway.console.writer import Writer
from hardway.events import Asked, Event, Told, Walked


class Talk:
    """Prints on one stream and reads answers from another, a line each.

    With `json` all that is told and asked is an event a line. Without a terminal the answer is written behind its
    question, so that what was recorded can be read.
    """

    def __init__(
        self, out: TextIO, answers: TextIO, *, output: Literal["text", "json"] = "text", is_terminal: bool = False
    ) -> None:
        self._out, self._answers = out, answers
        self._writer = Writer(out)
        self._output, self._is_terminal = output, is_terminal

    def tell(self, phase: str, part: str, lines: list[str]) -> None:
        """A page, or a few lines."""
        if self._output == "json":
            self._event(Told(phase, part, tuple(lines)))
        elif lines:
            self._writer.line("\n".join([*lines, ""]))

    def walked(self, event: Walked) -> None:
        """That a chapter is behind; a person sees it by what is asked next."""
        if self._output == "json":
            self._event(event)

    def ask(self, phase: str, question: str, answers: tuple[str, ...]) -> str | None:
        """The next line, stripped; None where there is none any more."""
        if self._output == "json":
            self._event(Asked(phase, question, answers))
        elif self._is_terminal:
            self._out.write(visible(f"{question} > "))
            self._out.flush()
        line = self._answers.readline()
        said = line.strip() if line else None
        if self._output == "text":
            if self._is_terminal:
                self._writer.line("" if said is not None else "\n")
            else:
                self._writer.line(f"{question} > {said if said is not None else '(no answer)'}\n")
        return said

    def _event(self, event: Event) -> None:
        self._writer.line(jsonl.line(event, datetime.now(UTC)))

"""Many questions to a machine in one script, and its one answer.

Each answer stands between two lines with a nonce that no machine can guess, so nothing that a file or a process
says is taken for another answer. A question is a shell of its own: none can end or change the next.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hardway.errors import ProtocolError

MOST = 64 * 1024
MOST_TOGETHER, MOST_ERROR_TOGETHER = 3000, 800
"""Bytes, of a question asked beside others: what a pipe takes at once (4096) is not mixed with another answer."""
MOST_ERROR = 4000
FILE_MOST = 32 * 1024 * 1024
"""Bytes of a file of hardway's own; a journal has some hundred for each resource."""
TIMED_OUT = (124, 137)
ERROR_SHOWN = 200


@dataclass(frozen=True)
class Question:
    """A fragment of sh that changes nothing.

    With a `limit` (seconds) it is ended where it takes longer, at most `most` bytes of its output are taken, and its
    errors are kept apart; that costs a few processes. `together`: asked at the same time as its neighbours.
    `strict`: where any of its commands fails, the whole script does.
    """

    name: str
    shell: str
    limit: float = 0
    most: int = MOST
    together: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Answer:
    """Exit status (None: there is no whole answer), standard output, and the errors of a question with a limit."""

    code: int | None = None
    raw: bytes = b""
    error: str = ""

    @property
    def output(self) -> str:
        return self.raw.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """Lines with something on them."""
        return [line.rstrip() for line in self.output.splitlines() if line.strip()]

    @property
    def text(self) -> str:
        """The output of a command that did well; else empty."""
        return self.output.strip() if self.code == 0 else ""


class Answers(dict[str, Answer]):
    """Answers by the questions' names. Of what was not asked there is an empty one."""

    def __missing__(self, name: str) -> Answer:
        return Answer()


def new_nonce() -> str:
    """Sets off the answers of one script."""
    return f"hardway-{secrets.token_hex(8)}"


def script(questions: Iterable[Question], nonce: str) -> str:
    """Asks the questions, for a shell that runs with `set -eu`."""
    parts = [_FUNCTIONS.replace("NONCE", nonce)]
    waiting = False
    for question in questions:
        if waiting and not question.together:
            parts.append("wait")
        waiting = question.together
        parts.append(_framed(question))
    return "\n".join(parts) + ("\nwait\n" if waiting else "\ntrue\n")


def answers(output: bytes, nonce: str) -> Answers:
    """What a machine said to `script`; a fragment may have said more, with `answer` and `answered`."""
    found = Answers()
    name = ""
    for part in output.split(f"\n{nonce} ".encode())[1:]:
        head, _, text = part.partition(b"\n")
        code = head.removeprefix(b". ")
        if head == code:
            name = head.decode(errors="replace")
            found[name] = Answer(None, text)
        elif name in found and code.isdigit() and len(code) <= 3:
            found[name] = Answer(int(code), found[name].raw, text.decode(errors="replace"))
            name = ""
    return found


@contextlib.contextmanager
def understood(machine: str, question: str) -> Iterator[None]:
    """While an answer is read. What a parser cannot make sense of was not in the form that was asked for.

    Raises ProtocolError, with the machine and what it was asked.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ProtocolError(
            f"its answer to the question {question!r} is not in the form that was asked for",
            machine=machine,
            tried=question,
            said=f"{type(error).__name__}: {error}"[:ERROR_SHOWN],
            hint=f"nothing of it was used; see what prints there besides, beginning with: hardway ssh {machine}",
        ) from error


def cat(path: str) -> str:
    """Prints a file of hardway's own, and nothing where there is none."""
    return f"[ ! -r {path} ] || head -c {FILE_MOST} {path}"


_FUNCTIONS = rf"""answer() {{ printf '\nNONCE %s\n' "$1"; }}
answered() {{ printf '\nNONCE . %s\n%.{MOST_ERROR}s' "$1" "${{2:-}}"; }}
# Output, at most $1 bytes of it, on descriptor 3; the status in $code and the errors in $error.
bounded() {{
  most=$1; shift
  error=$({{ {{ timeout -k 1 "$@" 2>&4 3>&- 4>&- && code=0 || code=$?; printf '\n%s' "$code" >&4; }} |
    head -c "$most" >&3; }} 4>&1)
  code=${{error##*
}} error=${{error%
*}}
}}"""


def _framed(question: Question) -> str:
    name = shlex.quote(question.name)
    if not question.limit:
        if question.strict:
            return f"answer {name}\n(\n{question.shell}\n)\nanswered 0"
        return f"answer {name}; code=0\n(\nset +e\n{question.shell}\n) || code=$?\nanswered $code"
    query = f"{question.limit} sh -euc {shlex.quote(question.shell)}"
    if question.together:
        error = f"$(printf '%.{MOST_ERROR_TOGETHER}s' \"$error\")"
        asked = f'answer {name}; {{ bounded {MOST_TOGETHER} {query}; }} 3>&1; answered $code "{error}"'
        # bash's own printf writes line by line; the program writes once.
        return f"( said=$({asked}); env printf '%s' \"$said\" ) &"
    return f'answer {name}; {{ bounded {question.most} {query}; }} 3>&1; answered $code "$error"'

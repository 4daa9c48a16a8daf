"""The same work on many machines at once, bounded, with every failure told."""

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from hardway.errors import FAILED, HardwayError, MachineError


class Named(Protocol):
    @property
    def name(self) -> str: ...


Subject = TypeVar("Subject", bound=Named | str)
Outcome = TypeVar("Outcome")


class MachineErrors(MachineError):
    """What went wrong on several machines; `errors` has one for each."""

    def __init__(self, errors: dict[str, HardwayError]) -> None:
        super().__init__(f"{len(errors)} machines failed: {', '.join(errors)}")
        self.errors = errors
        codes = {error.exit_code for error in errors.values()}
        self.exit_code = codes.pop() if len(codes) == 1 else FAILED

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors.values())


def fan_out(machines: Iterable[Subject], function: Callable[[Subject], Outcome], forks: int) -> dict[str, Outcome]:
    """Call the function for every machine, `forks` at a time; results by name, in the order given.

    Machines are given as they are, or by name. All are worked on even if some fail. Raises the only
    error, or MachineErrors; what is no HardwayError is a fault of ours and raised as it is. An
    interrupt does not wait for the threads.
    """
    subjects = list(machines)
    waiting: queue.SimpleQueue[Subject] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[str, Outcome | None, BaseException | None]] = queue.SimpleQueue()
    for subject in subjects:
        waiting.put(subject)

    def work() -> None:
        while True:
            try:
                subject = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((_name(subject), function(subject), None))
            except BaseException as error:
                finished.put((_name(subject), None, error))

    # daemon threads: after Ctrl-C nothing waits for an answer from a machine
    for _ in range(max(1, min(forks, len(subjects)))):
        threading.Thread(target=work, daemon=True).start()
    try:
        outcomes = [finished.get() for _ in subjects]
    except BaseException:
        while not waiting.empty():
            waiting.get_nowait()
        raise
    names = [_name(subject) for subject in subjects]
    _raise_errors({name: error for name, _, error in outcomes if error is not None}, names)
    results = {name: outcome for name, outcome, _ in outcomes}
    return {name: results[name] for name in names}  # type: ignore[misc]


def _name(subject: Named | str) -> str:
    return subject if isinstance(subject, str) else subject.name


def _raise_errors(errors: dict[str, BaseException], names: Iterable[str]) -> None:
    told: dict[str, HardwayError] = {}
    for name in names:
        error = errors.get(name)
        if isinstance(error, HardwayError):
            told[name] = error
        elif error is not None:
            raise error
    if len(told) > 1:
        raise MachineErrors(told)
    for error in told.values():
        raise error

"""One tree of errors. Each says where, what was tried, what came back, and the next move.

The command line's boundary (`hardway/cli/`) is the only place that turns one into an exit code.
"""

from collections.abc import Sequence

OK, FAILED, USAGE, DIFFERS, LOCKED, INTERRUPTED = 0, 1, 2, 3, 4, 130


class HardwayError(Exception):
    """What a user reads when something cannot go on.

    `what` is one sentence with the cause; `machine` the machine it happened on (None: this
    computer); `tried` the command or step; `said` the last lines that came back; `hint` the next
    move. None of them may hold a secret.
    """

    exit_code = FAILED

    def __init__(
        self,
        what: str,
        *,
        machine: str | None = None,
        tried: str | None = None,
        said: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.machine = machine
        self.tried = tried
        self.said = said
        self.hint = hint

    def __str__(self) -> str:
        head = f"{self.machine}: {self.what}" if self.machine else self.what
        lines = [head]
        if self.tried:
            lines.append(f"  tried: {self.tried}")
        if self.said:
            said = self.said.strip().splitlines()
            lines += [f"  said:  {said[0]}", *(f"         {line}" for line in said[1:])] if said else []
        if self.hint:
            lines.append(f"  next:  {self.hint}")
        return "\n".join(lines)


class UsageError(HardwayError):
    """Flags or names on the command line that cannot be meant."""

    exit_code = USAGE


class InventoryError(HardwayError):
    """Everything that is wrong with an inventory, each as `file:line:column: path: wrong, right`."""

    exit_code = USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Interrupted(HardwayError):
    """Somebody pressed Ctrl-C."""

    exit_code = INTERRUPTED


class PlanChanged(HardwayError):
    """What would be done is no longer what somebody agreed to (`--expect`)."""

    exit_code = DIFFERS


class RefusedAnswers(HardwayError):
    """Certificates from a CA elsewhere that are not what was asked for."""


class Locked(HardwayError):
    """Somebody else is changing this cluster now."""

    exit_code = LOCKED


class MachineError(HardwayError):
    """Anything that has to do with reaching or commanding one machine."""


class Unreachable(MachineError):
    """No SSH connection: no route, refused, timed out, or lost and not opened again."""


class HostKeyError(MachineError):
    """The host key is unknown, or is not the one that was recorded."""


class AuthenticationFailed(MachineError):
    """SSH refused the user or the key."""


class SudoRefused(MachineError):
    """The user may not become root, or needs a password that was not given."""


class CommandFailed(MachineError):
    """A command on a machine returned a status that was not 0."""


class OutputTooLarge(MachineError):
    """A machine wrote more than any command of ours has to say; it was not read to its end."""


class ProtocolError(MachineError):
    """What a machine answered is not in the form in which it was asked for."""


class NotSettled(MachineError):
    """What was started did not become ready within its time limit; `said` says what was missing."""


class NotConverged(MachineError):
    """Observed again after a change, something still differs from what was declared."""


class ProofFailed(HardwayError):
    """A proof or a trial found the cluster not to be as its chapter promises."""


class ArtifactError(HardwayError):
    """A component's file could not be had, or is not the one that was pinned."""


class WorkspaceError(HardwayError):
    """The operator's folder is missing, older than the cluster, or damaged."""


class JournalError(MachineError):
    """A machine's journal is damaged, or was written by a newer hardway."""


class LabError(HardwayError):
    """The lab on this computer could not be raised, found or taken down."""

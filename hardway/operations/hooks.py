"""Commands of the operator's before and after what happens to a machine: the inventory's `hooks`.

One that fails stops the operation: before, while nothing about that machine is changed; after, so that nothing happens
to the next one. docs/decisions/hooks.md has the reasons.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError, NotSettled
from hardway.events import Note
from hardway.inventory.model import Hook, HookName, Machine
from hardway.remote.model import LAST_BYTES, last_lines

LINES = 20
"""Lines of its output that are shown and go into the log."""


def run(
    session: Session,
    name: HookName,
    machines: Sequence[str],
    operation: str,
    way_on: str = "run the same command",
) -> None:
    """Runs the hook of that name, for one machine after the other; one that was cut is run again.

    Raises HardwayError for the first that fails, with the end of what it said, and the way on once it is fixed.
    """
    hook = session.cluster.hooks.get(name)
    if hook is None:
        return
    for machine in machines:
        listed = session.cluster.by_name.get(machine)
        if listed and hook.is_for(listed):
            _run(session, name, hook, listed, operation, way_on)


def _run(session: Session, name: HookName, hook: Hook, machine: Machine, operation: str, way_on: str) -> None:
    session.events(Note(f"{machine.name}: hook {name}: {hook.run}"))
    values = {
        "HARDWAY_HOOK": name,
        "HARDWAY_OPERATION": operation,
        "HARDWAY_CLUSTER": session.cluster.name,
        "HARDWAY_NODE": machine.name,
        "HARDWAY_ADDRESS": str(machine.ip),
    }
    if hook.on == "node":
        fault, output = _on_node(session, hook, machine.name, values)
    else:
        fault, output = _here(session, hook, values)
    said = last_lines(output, LINES)
    for line in said.splitlines():
        session.events(Note(f"{machine.name}: {name}: {line}"))
    if fault:
        raise HardwayError(
            f"the hook {name} of {machine.name} failed: {fault}",
            said=said or None,
            hint=f"fix it ({session.cluster.path}: hooks.{name}), then {way_on}",
        )


def _on_node(session: Session, hook: Hook, machine: str, values: Mapping[str, str]) -> tuple[str, bytes]:
    """What was wrong, empty where nothing was, and what it printed."""
    unreached = session.reach([machine])
    if unreached:
        return f"the machine cannot be reached: {unreached[machine].what}", b""
    exports = "".join(f"export {key}={quote(value)}\n" for key, value in values.items())
    # One output for both, in its own shell: an exit in it must not be taken for one of hardway's.
    script = f"{exports}exec 2>&1\nsh -c {quote(hook.run)}"
    try:
        result = session.run(machine, script, what=f"hook {values['HARDWAY_HOOK']}", timeout=hook.timeout, check=False)
    except NotSettled as error:
        return f"not done within {hook.timeout} s", (error.said or "").encode()
    return f"status {result.code}" if result.code else "", result.stdout


def _here(session: Session, hook: Hook, values: Mapping[str, str]) -> tuple[str, bytes]:
    """The same on this computer, in the inventory's folder, with the cluster's kubeconfig."""
    environment = {**os.environ, **values, "KUBECONFIG": str(session.workspace.root.absolute() / "kubeconfig")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["sh", "-c", hook.run],
            cwd=session.cluster.path.absolute().parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(hook.timeout)
            fault = f"status {code}" if code > 0 else f"ended by {signal.Signals(-code).name}" if code else ""
        except subprocess.TimeoutExpired:
            fault = f"not done within {hook.timeout} s"
        finally:
            _end(process)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - LAST_BYTES))
        return fault, output.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of it goes on where it took too long, or hardway was interrupted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

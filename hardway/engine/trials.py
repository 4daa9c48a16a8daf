"""A component tries what it is to be started with: on the first member of a rollout, before anything changes there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hardway.declare.resources import Binary, Context, File, Service
from hardway.declare.resources.base import STAGE, quote, staged_name
from hardway.engine.changes import Change
from hardway.engine.session import Session
from hardway.engine.upload import member
from hardway.errors import CommandFailed

TRIAL_SECONDS = 20
REFUSED = 3
"""Exit status of a trial in which a program did not take what it was given."""

_TRIAL = rf"""
running() {{ case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in ''|Z*) return 1 ;; esac; }}
# trial ENDS REACHES NAMES PROGRAM WORD…: what a program says of what it is to be started with. NAMES is sed.
trial() {{
  ends=$1 reaches=$2 names=$3; shift 3
  [ -x "$1" ] || return 0
  said=$(mktemp) || return 0
  "$@" >"$said" 2>&1 </dev/null &
  pid=$! left={TRIAL_SECONDS * 5}
  while [ $left -gt 0 ] && running $pid; do
    # What is wrong beyond that is found at once.
    if [ -n "$reaches" ] && [ $left -gt 10 ] && grep -qF -e "$reaches" "$said"; then left=10; fi
    sleep 0.2
    left=$((left - 1))
  done
  if running $pid; then
    kill -9 $pid
  elif ! wait $pid; then
    [ -n "$ends" ] && grep -qF -e "$ends" "$said" || complain
  fi
  rm -f "$said"
}}
# complain: the error with which it ended, in its own words: of Kubernetes' components, of etcd, of Go's flags.
complain() {{
  cause=$(sed -n '
    s/.*"command failed" err="\(.*\)"$/\1/p
    s/^Error: //p
    s/^panic: //p
    s/^containerd: //p
    /^invalid \(boolean \)*value \|^flag provided but not defined/p
    s/.*"level":"\(fatal\|warn\)".*"error":"\(\([^"\\]\|\\.\)*\)".*/\2/p
  ' "$said" | tail -n 1 | sed 's/\\"/"/g')
  [ -n "$cause" ] || cause=$(tail -n 6 "$said")
  printf '%s\n' "$cause" | sed "$names" >&2
  rm -f "$said"
  exit {REFUSED}
}}
"""


def trial_script(service: Service, changes: Sequence[Change], context: Context) -> str:
    """Has a service try what these changes bring, before any of it is put in place. What was staged must be there.

    Empty for a service that has no trial, or that is not to be restarted.
    """
    restarts = any(change.key == service.key and change.difference.verb == "restart" for change in changes)
    if service.trial is None or not restarts:
        return ""
    staged = dict(_staged(changes, context))
    words = [_as_staged(word, staged) for word in service.trial.argv]
    names = "; ".join(f"s|{there}|{path}|g" for path, there in staged.items())
    return f"set -u\n{_TRIAL}\ntrial {quote(service.trial.ends, service.trial.reaches, names, *words)}\n"


def _staged(changes: Sequence[Change], context: Context) -> Iterator[tuple[str, str]]:
    """Files that are to be put in place, and where they are until then."""
    for change in changes:
        match change.resource:
            case File() as file if file.staged(context):
                yield file.path, f"{STAGE}/{staged_name(file.key)}"
            case Binary() as binary:
                yield binary.path, f"{STAGE}/{member(binary)}"


def _as_staged(word: str, staged: Mapping[str, str]) -> str:
    for path, there in staged.items():
        word = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w/.-])", there, word)
    return word


def try_first(
    session: Session, name: str, service: Service, changes: Sequence[Change], context: Context, untouched: str
) -> None:
    """Raises CommandFailed with the component's own words where it does not take what these changes bring.

    A trial that cannot be made is none: the restart itself is one.
    """
    script = trial_script(service, changes, context)
    if not script:
        return
    component = service.unit.removesuffix(".service")
    result = session.run(name, script, what=f"try {component}", timeout=3 * TRIAL_SECONDS, check=False)
    if result.code == REFUSED:
        cause, *more = result.stderr.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
        state = f"it runs on as before; {untouched}" if untouched else "it runs on as before"
        raise CommandFailed(
            f"{component} does not take what it would be started with: {cause}",
            machine=name,
            said="\n".join([*more, state]),
            hint="fix the setting or revert it, then run the same command; finished steps are skipped",
        )

"""The scripts that change a machine: text only; `engine.py` sends them.

First the intents go into the journal and onto the disk (`begin`); then, chapter by chapter, each step
and what was done (`activation_script`). A step prints its key first, so that a failure names what it was about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from hardway import journal
from hardway.declare.phases.base import Placed
from hardway.declare.resources import ApiObjects, Context, Directory, Image, Resource, Service
from hardway.declare.resources.base import REPOSITORY, STAGE, Absent, quote
from hardway.declare.resources.files import SHARED
from hardway.declare.resources.kernel import SWAP_SERVICES
from hardway.declare.resources.service import Check, main_pid, stays_up
from hardway.declare.undo import undo
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.journal import FOLDER, Journal
from hardway.platforms import RED_HAT

FETCHED = f"{FOLDER}/fetched"
"""What a machine has downloaded by itself: binaries by their digest."""

_RUNNING = (Service, Image, ApiObjects)
"""Kinds that need something to run; all others only lie on disk or in the kernel."""

_RED_HAT_NAMES = " ".join(f"{debian}) set -- {name};;" for debian, name in RED_HAT.packages.items())

PRELUDE = rf"""
JOURNAL={journal.PATH}
at() {{ printf '@%s\n' "$1"; }}
# put STAGED TARGET MODE OWNER: in place by rename(2), so that no reader ever sees half of it.
put() {{
  if [ ! -e "$1" ]; then [ -e "$2" ]; return; fi
  folder=${{2%/*}}
  own "$folder"
  [ -d "$folder" ] || mkdir -p -m 0755 -- "$folder"
  [ "$4" = root:root ] || chown "$4" -- "$1"
  chmod "$3" -- "$1"
  if [ "$(stat -c %d -- "$1")" = "$(stat -c %d -- "$folder")" ]; then
    mv -fT -- "$1" "$2"
  else
    # Not one command after another with &&: only the last one's failure would end the script.
    cp -p -- "$1" "$folder/.hardway-new" || {{ rm -f -- "$folder/.hardway-new"; return 1; }}
    mv -fT -- "$folder/.hardway-new" "$2"
    rm -f -- "$1"
  fi
  label "$2"
}}
# tried STAGED TARGET PROGRAM WORD…: what the program says of a file before it replaces one that works.
tried() {{
  staged=$1 target=$2; shift 2
  [ -e "$staged" ] && [ -x "$1" ] || return 0
  said=$("$@" "$staged" 2>&1) && return 0
  printf '%s\n' "$said" | sed "s|$staged|$target|g" >&2
  return 1
}}
# label FILE: what came by rename has the label of the folder that it came from, and SELinux would keep systemd from it.
label() {{ ! command -v restorecon >/dev/null 2>&1 || restorecon -F -- "$1"; }}
# marked FILE: stops where hardway's block lacks an end: all that follows would count as hardway's.
marked() {{
  case $([ ! -e "$1" ] || sed -n 's/^# \(BEGIN\|END\) hardway$/\1/p' -- "$1" | tr '\n' ' ') in
  ''|'BEGIN END ') ;;
  *) echo "$1: '# BEGIN hardway' and then '# END hardway' must stand there once each, or not at all" >&2; return 1 ;;
  esac
}}
# holds FILE DIGEST: whether that is its SHA-256.
holds() {{ [ "$(sha256sum 2>/dev/null <"$1" | cut -c 1-64)" = "$2" ]; }}
# put_block STAGED TARGET: replaces (or with /dev/null takes away) hardway's marked block.
put_block() {{
  [ -e "$1" ] || return 0
  # A link stays one.
  set -- "$1" "$(readlink -f -- "$2")"
  [ -e "$2" ] || : >"$2"
  marked "$2"
  sed '/^# BEGIN hardway$/,/^# END hardway$/d' -- "$2" >"$2.hardway-new"
  # A last line without its end would swallow the block's first.
  [ -z "$(tail -c 1 -- "$2.hardway-new")" ] || echo >>"$2.hardway-new"
  cat -- "$1" >>"$2.hardway-new"
  chmod --reference="$2" -- "$2.hardway-new"
  # A file that is itself a mount (containers bind /etc/hosts) cannot be renamed over. On a full disk it is put back.
  mv -fT -- "$2.hardway-new" "$2" 2>/dev/null || {{
    cp -- "$2" "$2.hardway-old"
    cat -- "$2.hardway-new" >"$2" || {{ cat -- "$2.hardway-old" >"$2"; full=1; }}
    rm -f -- "$2.hardway-new" "$2.hardway-old"
    [ -z "${{full-}}" ] || return 1
  }}
  label "$2"
}}
# shared FOLDER: whether others have files in it, too.
shared() {{ case $1 in ''|{"|".join(SHARED)}) ;; *) return 1 ;; esac; }}
# own FOLDER: stops where it is a link, or one above it that is hardway's: what that points to is somebody else's.
own() {{
  shared "$1" && return 0
  [ ! -L "$1" ] || {{ echo "$1 is a symbolic link" >&2; return 1; }}
  own "${{1%/*}}"
}}
# prune FOLDER: away with it and its parents while they are empty.
prune() {{
  shared "$1" && return 0
  rmdir -- "$1" 2>/dev/null && prune "${{1%/*}}" || true
}}
# unmount_below FOLDER: what is mounted below it, the deepest first.
unmount_below() {{
  sort -r /proc/self/mountinfo | while read -r a b c d point rest; do
    case $point in "$1"/*) printf '%s\n' "$point";; esac
  done | sort -r | while read -r point; do umount -l -- "$(printf '%b' "$point")" || true; done
}}
# folder PATH MODE OWNER GROUP: install -d follows links, and would give what they point to another owner and mode.
folder() {{
  own "$1"
  install -d -m "$2" -o "$3" -g "$4" -- "$1"
}}
# empty_folder FOLDER: all of its content, then itself unless it is a mount of somebody else's.
empty_folder() {{
  own "$1"
  [ -d "$1" ] || return 0
  find "$1" -xdev -mindepth 1 -delete 2>/dev/null || find "$1" -xdev -mindepth 1 ! -type d -delete || true
  prune "$1"
}}
# begin_unit VERB UNIT SECONDS: a unit may be ready only with its peers, so systemctl may wait for ever.
begin_unit() {{
  timeout "$3" systemctl "$1" -- "$2" && return 0
  [ $? = 124 ] || unit_failed "$2" "systemctl $1 $2 failed"
  unit_failed "$2" "waited $3 s for systemctl $1 $2; last answer: $(check 2>&1 || true)"
}}
# unit_failed UNIT WHAT: with the last lines of its journal that complain, else that are no mere information, else any.
unit_failed() {{
  said=$(journalctl -u "$1" -n 200 --no-pager -o cat 2>/dev/null)
  other=$(printf '%s\n' "$said" | grep -v '^I[0-9][0-9]* \|level"*[:=]"*\(info\|debug\)\|^ ')
  wrong=$(printf '%s\n' "$other" | grep -i 'error\|fail\|invalid\|unknown\|panic\|fatal\|cannot\|could not' | tail -n 6)
  {{ echo "$2"; printf '%s\n' "${{wrong:-${{other:-$said}}}}" | tail -n 15; }} >&2
  exit 1
}}
# settle SECONDS EVERY WHAT UNIT: until the function `check` succeeds.
settle() {{
  end=$(( $(date +%s) + $1 ))
  until missing=$(check 2>&1); do
    if [ "$(date +%s)" -ge $end ]; then
      unit_failed "$4" "waited $1 s for: $3; last answer: ${{missing:-(nothing)}}"
    fi
    sleep "$2"
  done
}}
# stood PID UNIT: it is active, and still the process that it was then.
stood() {{ [ "$({main_pid('"$2"')})" = "$1" ] && systemctl is-active --quiet -- "$2"; }}
swap_off() {{
  for unit in {quote(*SWAP_SERVICES)}; do
    case $(systemctl is-enabled "$unit" 2>/dev/null) in enabled*) systemctl mask --quiet --now -- "$unit";; esac
  done
  swapoff -a
  if [ -f /etc/fstab ]; then sed -i 's/^\([^#]\S*\s\+\S\+\s\+swap\s.*\)$/#hardway# \1/' /etc/fstab; fi
  systemctl list-units --all --plain --no-legend --type=swap 2>/dev/null | while read -r unit rest; do
    systemctl mask --quiet -- "$unit"
  done
}}
swap_back() {{
  if [ -f /etc/fstab ]; then sed -i 's/^#hardway# //' /etc/fstab; fi
  systemctl daemon-reload; swapon -a || true
}}
SENT={STAGE}/{REPOSITORY}
# apt_sent NAME: apt with the packages that were sent as its only source; of them it takes what is missing here.
apt_sent() {{
  set -- "$1" -o "Dir::Etc::sourcelist=$SENT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State::lists=$SENT/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
  name=$1; shift
  if [ ! -d "$SENT/lists" ]; then
    printf 'deb [trusted=yes] file:%s ./\n' "$SENT" >"$SENT/sources.list"
    mkdir -p "$SENT/lists/partial"
    apt-get -qq "$@" update >&2
  fi
  apt-get -y -qq "$@" --no-install-recommends -o DPkg::Lock::Timeout=120 install -- "$name" >/dev/null
}}
# install_package NAME COMMAND UNIT PROXY: with the distribution's own tool; UNIT must not start by that.
install_package() {{
  command -v "$2" >/dev/null 2>&1 && return 0
  [ -z "$4" ] || export http_proxy="$4" https_proxy="$4"
  if command -v apt-get >/dev/null 2>&1; then
    [ -z "$3" ] || systemctl mask --quiet -- "$3"
    export DEBIAN_FRONTEND=noninteractive
    if [ -e "$SENT/Packages" ]; then
      apt_sent "$1"
    else
      find /var/lib/apt/lists -name '*_Packages*' -mmin -1440 2>/dev/null | grep -q . || apt-get update -qq >&2
      apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 -- "$1" >/dev/null
    fi
    [ -z "$3" ] || systemctl unmask --quiet -- "$3"
    [ -z "$3" ] || systemctl disable --quiet -- "$3" 2>/dev/null || true
  elif command -v dnf >/dev/null 2>&1; then
    case $1 in {_RED_HAT_NAMES} esac
    dnf install -y -q -- "$1" >/dev/null
  else
    echo "no package manager that hardway knows: install $1 (it brings the command $2)" >&2; return 1
  fi
}}
"""


def activation_script(changes: Sequence[Change], view: View, context: Context) -> str:
    """One chapter's changes on one machine as a script. What was staged must be there.

    Everything that is on disk is put there first and systemd reads it once; then what runs, in
    the order in which it is declared.
    """
    lying = [change for change in changes if not isinstance(change.resource, _RUNNING)]
    running = [change for change in changes if isinstance(change.resource, _RUNNING)]
    units = [change.resource.unit for change in running if isinstance(change.resource, Service)]
    lines = [PRELUDE, "set -eu", *_each(lying, view, context)]
    if units:
        lines.append(f"systemctl --no-reload --quiet enable -- {quote(*units)}")
        lines.append("systemctl daemon-reload")
    lines += [*_in_turn(running, view, context), _append([_finished(change) for change in changes])]
    return "\n".join(line for line in lines if line) + "\n"


def _each(changes: Sequence[Change], view: View, context: Context) -> Iterator[str]:
    for change in changes:
        yield f"at {quote(change.key)}"
        yield _steps(change, view, context)


def _in_turn(changes: Sequence[Change], view: View, context: Context) -> Iterator[str]:
    """One after the other; but units that start side by side, and say nothing themselves, are watched together."""
    for quiet, some in groupby(changes, _starts_quietly):
        if quiet:
            yield from _watched_together(list(some), context)
        else:
            yield from _each(list(some), view, context)


def _starts_quietly(change: Change) -> bool:
    service = change.resource
    if not isinstance(service, Service) or change.difference.verb != "start":
        return False
    return service.check.script == stays_up(service.unit).script


def _watched_together(changes: Sequence[Change], context: Context) -> Iterator[str]:
    """All are begun before the first is watched, which takes a second: what is the same process then has stayed up."""
    services = [change.resource for change in changes if isinstance(change.resource, Service)]
    for number, (change, service) in enumerate(zip(changes, services, strict=True)):
        yield f"at {quote(change.key)}"
        yield f"{_check(service.check)}\n{service.steps(change.difference, context)}"
        yield f"begun{number}=$({main_pid(service.unit)})"
    for number, service in enumerate(services):
        watched = f"{_check(service.check)}\n{settle(service.check, service.unit)}"
        yield f"at {quote(service.key)}"
        yield watched if number == 0 else f'stood "$begun{number}" {quote(service.unit)} || {{\n{watched}\n}}'


def _steps(change: Change, view: View, context: Context) -> str:
    if change.resource is None:
        return undo(change.key, view.journal.entries.get(change.key, {}))
    steps = change.resource.steps(change.difference, context)
    if isinstance(change.resource, Service) and change.restarts:
        check = change.resource.check
        return f"{_check(check)}\n{steps}\n{settle(check, change.resource.unit)}"
    return steps


def _check(check: Check) -> str:
    return f"check() {{\n{check.script}\n}}"


def settle(check: Check, unit: str) -> str:
    """Waits for the function `check`; at the end of its time the unit's journal comes with the error."""
    return f"settle {int(check.limit)} {check.every} {quote(check.what)} {quote(unit)}"


def _finished(change: Change) -> str:
    return journal.gone(change.key) if change.resource is None else journal.done(change.key)


def _entry(resource: Resource, view: View, context: Context) -> Mapping[str, object]:
    return resource.entry(view.observed.get(resource.key, Absent()), context)


def _append(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "cat >>$JOURNAL <<'HARDWAY_JOURNAL'\n" + "\n".join(lines) + "\nHARDWAY_JOURNAL"


def stage_command(codec: str, openssl: bool, fetched: Mapping[str, str] | None = None) -> str:
    """The root command that takes the stream on stdin: unpacks it below STAGE and checks every digest there.

    `fetched` are files that the machine has downloaded by itself: their digests by path. They leave their folder here:
    a link that goes later would change the file's ctime, and what started from it would count as stale.

    It prints `inode size path` of every file, by which it is known again after its rename. What a decoder that fails
    leaves undone has no digest, or another one: SUMS comes last.

    Called by tar itself, the decoder would get its input through a second tar, in pieces of 10 KiB; without that, and
    with records of 1 MiB, the machine needs a third less of its processor.
    """
    checker = "openssl dgst -sha256 -r" if openssl else "sha256sum -b"
    links = "".join(f"\nln {FETCHED}/{digest} {quote(path)}" for path, digest in (fetched or {}).items())
    linked = f"\nmkdir -p bin{links}" if links else ""
    moved = f"\nrm -rf {FETCHED}" if links else ""
    return f"""
set -eu
umask 077
mkdir -p {FOLDER}
rm -rf {STAGE}
mkdir {STAGE}
cd {STAGE}
{codec} -dcq | tar -x -m -b 2048 -f - --no-same-owner{linked}
files=$(cut -d'*' -f2 SUMS)
{checker} $files </dev/null | cmp -s - SUMS || {{ sha256sum --quiet -c SUMS >&2; exit 1; }}{moved}
stat -c '%i %s %n' -- $files
"""


def started(known: Journal) -> str:
    """Makes the journal where there is none, from what was read of it in an earlier place and format."""
    if known.format == journal.FORMAT:
        return f"JOURNAL={journal.PATH}"
    return f"""
JOURNAL={journal.PATH}
if [ ! -e $JOURNAL ]; then
cat >$JOURNAL.new <<'HARDWAY_JOURNAL'
{journal.rewritten(known)}HARDWAY_JOURNAL
sync -d $JOURNAL.new
mv -fT $JOURNAL.new $JOURNAL
fi
rm -f {journal.FORMER_PATH}"""


def write_journal(journal_text: str, state_text: str) -> str:
    """Journal and State in one piece each, by rename; the staging folder away."""
    return f"""
set -eu
umask 077
mkdir -p {FOLDER}
cat >{journal.PATH}.new <<'HARDWAY_JOURNAL'
{journal_text}HARDWAY_JOURNAL
cat >{journal.STATE_PATH}.new <<'HARDWAY_STATE'
{state_text}HARDWAY_STATE
mv -fT {journal.PATH}.new {journal.PATH}
rm -f {journal.FORMER_PATH}
mv -fT {journal.STATE_PATH}.new {journal.STATE_PATH}
rm -rf {STAGE} {FETCHED}
"""


def write_state(state_text: str) -> str:
    """State alone, in one piece."""
    return f"""
umask 077
cat >{journal.STATE_PATH}.new <<'HARDWAY_STATE'
{state_text}HARDWAY_STATE
mv -fT {journal.STATE_PATH}.new {journal.STATE_PATH}
"""


def begin(state_text: str, changes: Sequence[Change], wanted: Sequence[Placed], view: View, context: Context) -> str:
    """The State as it was decided and every intent, on the disk before anything acts upon them.

    With what changes goes what a chapter fills: a data folder that was there already, empty, will
    hold our data, and `reset` must know.

    All at once, before the stream: a disk that is still writing two gigabytes would keep each later
    sync waiting.
    """
    phases = {change.phase for change in changes if change.resource is not None}
    changing = {change.key for change in changes}
    used = [
        (one.resource, one.phase)
        for one in wanted
        if one.phase in phases
        and isinstance(one.resource, Directory)
        and one.resource.data
        and one.resource.key not in changing | view.journal.entries.keys()
    ]
    intended = [(change.resource, change.phase) for change in changes if change.resource is not None]
    intents = [
        journal.intent(resource.key, phase, _entry(resource, view, context)) for resource, phase in (*used, *intended)
    ]
    return f"""
set -eu
umask 077
mkdir -p {FOLDER}
{started(view.journal)}
cat >{journal.STATE_PATH}.new <<'HARDWAY_STATE'
{state_text}HARDWAY_STATE
# A run that was cut may have left half a line, which would swallow the next.
[ -z "$(tail -c 1 $JOURNAL)" ] || echo >>$JOURNAL
{_append(intents)}
sync -d {journal.STATE_PATH}.new $JOURNAL
mv -fT {journal.STATE_PATH}.new {journal.STATE_PATH}
"""

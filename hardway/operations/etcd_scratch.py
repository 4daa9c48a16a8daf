"""An etcd on a controller that nobody else can reach, in a folder that goes again: to look at data, or to take it."""

from __future__ import annotations

from hardway.declare.phases.paths import BIN

FOLDER = "/var/lib/etcd-restore"
"""Where data waits on a controller; on the same disk as etcd's own, as a rule."""

# Its sockets are files in the folder, so nobody meets it by a port.
SCRATCH = f"""\
mkdir -p {FOLDER}; chmod 0700 {FOLDER}
scratch=$(mktemp -d {FOLDER}/scratch.XXXXXX)
pid=
close() {{ [ -z "$pid" ] || {{ kill "$pid" && wait "$pid" || true; }} 2>/dev/null; pid=; }}
leave() {{ close; rm -rf {FOLDER}/scratch.*; }}
trap leave EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch"
ask() {{ {BIN}/etcdctl --endpoints unix://client:0 "$@"; }}
serve() {{ # what is in the folder data, to nobody but `ask`
  {BIN}/etcd --data-dir data --name scratch --force-new-cluster --listen-client-urls unix://client:0 \\
    --advertise-client-urls unix://client:0 --listen-peer-urls unix://peer:0 --log-outputs=etcd.log >/dev/null 2>&1 &
  pid=$!
  tries=0
  until ask get hardway-ready >/dev/null 2>&1; do
    tries=$((tries + 1))
    kill -0 "$pid" 2>/dev/null && [ $tries -lt 240 ] || {{ tail -n 3 etcd.log >&2; close; return 1; }}
    sleep 0.25
  done
}}
"""
"""The beginning of a script, which then is in the folder. `serve` fails where the data cannot be read."""

"""What a fake machine answers where a real one would change the computer: systemd, the kernel, Kubernetes.

Everything is sh and awk, and keeps its state in files below /fake, so that it outlives the shell
that ran it, as the real thing would. A service starts only if all that its unit names is there, and
remembers what it read: that is how a test knows what a process runs with.
"""

from fake.etcd import ETCDCTL, ETCDUTL, MEMBERS, START

SYSTEMCTL = (
    "#!/bin/sh\nset -eu\n"
    + START
    + r"""
tab=$(printf '\t')
stop_now=no type= words= property= value=no
for word; do
  case $word in
  --now) stop_now=yes ;;
  --value) value=yes ;;
  MainPID|InvocationID) property=$word ;;
  --type=*) type=${word#*=} ;;
  -*|Id,*) ;;
  *) words="$words $word" ;;
  esac
done
set -- $words
verb=$1; shift
case $value$property in
yesInvocationID) echo "$1"; exit ;;
# What ends again and again has another process each time.
yesMainPID) if [ -e "/fake/failing/$1" ]; then /usr/bin/date +%N; else echo 0; fi; exit ;;
# No process here can be frozen: each script has its own.
yes*) echo 0; exit ;;
esac
file() { unit=/etc/systemd/system/$1; }
stamp() { file "$1"; stat --printf '%.9Y;' -- "$unit" "$unit.d" 2>/dev/null || true; }
clock() { date -u '+%a %Y-%m-%d %H:%M:%S.%6N UTC'; }
load() { [ -e "/fake/loaded/$1" ] || stamp "$1" >"/fake/loaded/$1"; }
# Every file that the unit names, and the unit itself: what a process that starts now reads.
inputs() {
  file "$1"
  printf '%s\n' "$unit"
  folders='/etc/(kubernetes|etcd|containerd|cni)|/usr/local/bin|/var/lib/kube[a-z-]*|/run/etcd'
  grep -oE "($folders)/[A-Za-z0-9_./-]+" "$unit" | sort -u
}
start() {
  file "$1"; load "$1"
  [ -e "$unit" ] || { echo "Unit $1 not found." >&2; exit 5; }
  for input in $(inputs "$1"); do
    case $input in
    /run/*|*/kubelet|*/cni/*) ;;
    *) [ -e "$input" ] || { echo "$1: $input: no such file" >>/fake/journal; exit 1; } ;;
    esac
  done
  [ ! -e "/fake/hangs/$1" ] || /usr/bin/sleep 60
  [ ! -e "/fake/broken/$1" ] || { echo "$1: it is broken" >>/fake/journal; exit 1; }
  if refused "$1"; then return; fi
  case $1 in
  etcd.service) start_etcd "$unit" || exit 1 ;;
  kube-apiserver.service) : >"/fake/cluster/api-$name" ;;
  containerd.service) mkdir -p /run/containerd; ln -f /fake/socket /run/containerd/containerd.sock ;;
  esac
  read_now "$1"
  printf 'active\n%s\n%s\n%s\n' "$(clock)" "$(clock)" "$$" >"/fake/units/$1"
}
# refused UNIT: where one of its inputs holds what a line of /fake/refuses/UNIT names, it says what comes after a tab,
# and ends. A unit that does not notify has started, for systemd.
refused() {
  [ -e "/fake/refuses/$1" ] || return 1
  while IFS="$tab" read -r pattern said; do
    # containerd's unit does not say where its configuration is.
    if grep -Eqs -e "$pattern" -- $(inputs "$1") "/etc/${1%.service}/config.toml"; then
      printf '%s: %s\n' "$1" "$said" >>/fake/journal
      if grep -q '^Type=notify' "$unit"; then echo activating >"/fake/failing/$1"; exit 1; fi
      echo active >"/fake/failing/$1"
      return
    fi
  done <"/fake/refuses/$1"
  return 1
}
read_now() { sha256sum $(inputs "$1") 2>/dev/null >"/fake/read/$1" || true; }
stop() {
  rm -f "/fake/units/$1" "/fake/failing/$1"
  case $1 in
  etcd.service) rm -f "/fake/cluster/etcd-$name" ;;
  kube-apiserver.service) rm -f "/fake/cluster/api-$name" ;;
  containerd.service) rm -f /run/containerd/containerd.sock ;;
  esac
}
show() {
  file "$1"
  active=inactive sub=dead result=success status=0 again=0
  started= changed= pid=0 enabled=disabled known=not-found reload=no
  if [ -e "/fake/units/$1" ]; then
    { read -r active; read -r started; read -r changed; read -r pid; } <"/fake/units/$1"
    known=loaded sub=running
  fi
  if [ -e "/fake/failing/$1" ]; then
    read -r active <"/fake/failing/$1"
    sub=auto-restart result=exit-code status=1 again=7 started=$(clock) changed=$(clock)
  fi
  if [ -e "$unit" ]; then known=loaded; fi
  if [ $known = loaded ]; then
    load "$1"
    read -r loaded <"/fake/loaded/$1" || :
    [ "$loaded" = "$(stamp "$1")" ] || reload=yes
  fi
  [ ! -e "/fake/enabled/$1" ] || enabled=enabled
  printf 'Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\n' "$1" $known "$active" $enabled
  printf 'SubState=%s\nResult=%s\nExecMainStatus=%s\n' $sub $result $status
  printf 'NeedDaemonReload=%s\nMainPID=%s\nNRestarts=%s\n' $reload "$pid" $again
  printf 'ExecMainStartTimestamp=%s\nStateChangeTimestamp=%s\n' "$started" "$changed"
}
case $verb in
show) between=; for one; do printf "$between"; between='\n'; show "$one"; done ;;
daemon-reload) rm -f /fake/loaded/*; for one in $(ls /fake/units); do load "$one"; done ;;
enable)
  for one; do
    file "$one"
    [ -e "$unit" ] || { echo "Failed to enable unit: Unit file $one does not exist." >&2; exit 1; }
    : >"/fake/enabled/$one"
  done ;;
disable)
  for one; do
    rm -f "/fake/enabled/$one"
    [ $stop_now = no ] || stop "$one"
    file "$one"
    [ -e "$unit" ] || exit 1
  done ;;
start) for one; do [ -e "/fake/units/$one" ] || start "$one"; done ;;
restart) for one; do stop "$one"; start "$one"; done ;;
reload)
  for one; do
    [ -e "/fake/units/$one" ] || exit 1
    { read -r active; read -r started; read -r changed; read -r pid; } <"/fake/units/$one"
    read_now "$one"
    printf 'active\n%s\n%s\n%s\n' "$started" "$(clock)" "$pid" >"/fake/units/$one"
  done ;;
stop|kill) for one; do stop "$one"; done ;;
is-active)
  state=inactive
  if [ -e "/fake/units/$1" ]; then state=active; fi
  if [ -e "/fake/failing/$1" ]; then read -r state <"/fake/failing/$1"; fi
  echo $state
  [ $state = active ] || exit 3 ;;
is-enabled)
  if [ -e "/fake/masked/$1" ]; then echo masked; exit 1; fi
  if [ -e "/fake/enabled/$1" ]; then echo enabled; else echo disabled; exit 1; fi ;;
mask) for one; do : >"/fake/masked/$one"; done ;;
unmask) for one; do rm -f "/fake/masked/$one"; done ;;
list-units) [ "$type" != swap ] || cat /fake/swap-units ;;
reset-failed) ;;
refresh)
  now=$(clock)
  for one in $(ls /fake/units); do
    { read -r active; read -r started; read -r changed; read -r pid; } <"/fake/units/$one"
    read_now "$one"
    printf 'active\n%s\n%s\n%s\n' "$now" "$now" "$pid" >"/fake/units/$one"
  done ;;
*) echo "systemctl: what is $verb?" >&2; exit 64 ;;
esac
"""
)

IP = r"""#!/bin/sh
name=$(cat /fake/name)
case "$*" in
"-4 route show") cat /fake/routes ;;
# Its interface is called after its address, and it has whatever else /fake/addresses says.
"-o -4 addr show"* | "-o addr show"*)
  sed -n "s|^\(.*[.]\([0-9]*\)\) $name\$|2: eth\2    inet \1/24 scope global eth\2|p" /fake/cluster/addresses |
    cat - /fake/addresses 2>/dev/null | if [ $# -gt 5 ]; then grep -F " ${6%/*}/" || :; else cat; fi ;;
"route replace "*)
  grep -v "^$3 " /fake/routes >/fake/routes.new
  echo "$3 via $5 dev eth0 proto static" >>/fake/routes.new
  mv /fake/routes.new /fake/routes ;;
"route del "*) grep -v "^$3 " /fake/routes >/fake/routes.new; mv /fake/routes.new /fake/routes ;;
esac
"""

SYSCTL = r"""#!/bin/sh
for word; do
  case $word in
  *=*)
    path=/proc/sys/$(printf %s "${word%%=*}" | tr . /)
    [ -e "$path" ] || { echo "sysctl: cannot stat $path" >&2; exit 1; }
    printf '%s\n' "${word#*=}" >"$path" ;;
  esac
done
"""

MODPROBE = r"""#!/bin/sh
for module; do
  case $module in
  br_netfilter) mkdir -p /proc/sys/net/bridge; for one in iptables ip6tables; do
    echo 0 >/proc/sys/net/bridge/bridge-nf-call-$one; done ;;
  nf_conntrack) mkdir -p /proc/sys/net/netfilter
    echo 0 >/proc/sys/net/netfilter/nf_conntrack_count; echo 65536 >/proc/sys/net/netfilter/nf_conntrack_max ;;
  esac
done
"""

OPENSSL = r"""#!/bin/sh
# What a process shows on a port is the file that it reads, unless there is another one in /fake/served.
[ "$1" = s_client ] || exec /usr/bin/openssl "$@"
unit= file=
port=$(printf '%s ' "$@" | sed -n 's/.*-connect [^ ]*:\([0-9]*\).*/\1/p')
case $port in
6443) unit=kube-apiserver file=/etc/kubernetes/pki/kube-apiserver.crt ;;
2379) unit=etcd file=/etc/etcd/pki/server.crt ;;
2380) unit=etcd file=/etc/etcd/pki/peer.crt ;;
10250) unit=kubelet file=/etc/kubernetes/pki/kubelet.crt ;;
10257) unit=kube-controller-manager file=/fake/own.crt ;;
10259) unit=kube-scheduler file=/fake/own.crt ;;
esac
[ ! -e "/fake/served/$port" ] || { cat "/fake/served/$port"; exit; }
[ -e "/fake/units/$unit.service" ] || { echo "Connection refused" >&2; exit 1; }
[ -e /fake/own.crt ] || printf '[req]\ndistinguished_name = none\n[none]\n' |
  /usr/bin/openssl req -config /dev/stdin -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -keyout /fake/own.key -out /fake/own.crt -days 365 -subj /CN=own 2>/dev/null
cat "$file"
"""

PERL = r"""#!/bin/sh
# HAProxy says of a certificate what it has loaded.
case "$*" in
*"show ssl cert"*) ;;
*) exec /usr/bin/perl "$@" ;;
esac
for word; do :; done
pair=${word##* }
[ -e "$pair" ] || exit 1
/usr/bin/openssl x509 -in "$pair" -noout -serial -dates -subject -issuer |
  sed 's/^serial=/Serial: /; s/^not\(.*\)=/not\1: /; s/^subject=/Subject: /; s/^issuer=/Issuer: /'
"""

COMMANDS = {
    "openssl": OPENSSL,
    "perl": PERL,
    "systemctl": SYSTEMCTL,
    "ip": IP,
    "sysctl": SYSCTL,
    "modprobe": MODPROBE,
    "hostnamectl": '#!/bin/sh\nfor name; do :; done\nprintf "%s" "$name" >/fake/hostname; hostname "$name"\n',
    "journalctl": r"""#!/bin/sh
unit=
for word; do case $word in *.service) unit=${word#*=} ;; esac; done
if [ "$unit" ]; then sed -n "s/^$unit: //p" /fake/journal | tail -n 15; else tail -n 15 /fake/journal; fi
""",
    "swapoff": "#!/bin/sh\necho 'Filename Type Size Used Priority' >/fake/swaps\n",
    "swapon": "#!/bin/sh\n",
    "nft": "#!/bin/sh\n[ -e /fake/units/pod-masquerade.service ]\n",
    "iptables": "#!/bin/sh\n",
    "useradd": r"""#!/bin/sh
while [ $# -gt 1 ]; do shift; done
uid=$((900 + $(wc -l </etc/passwd) ))
echo "$1:x:$uid:" >>/etc/group
echo "$1:x:$uid:$uid::/nonexistent:/usr/sbin/nologin" >>/etc/passwd
""",
    "userdel": r"""#!/bin/sh
while [ $# -gt 1 ]; do shift; done
sed -i "/^$1:/d" /etc/passwd /etc/group
""",
    "apt-get": r"""#!/bin/sh
echo "$*" >>/fake/apt
for word; do :; done
[ "$word" = update ] || { printf '#!/bin/sh\n' >"/fake/bin/$word"; chmod 0755 "/fake/bin/$word"; }
""",
    # Waiting is for real machines. For the script that does it, the time has gone by.
    "sleep": '#!/bin/sh\necho "$1" >>/fake/slept\nexec /usr/bin/sleep 0.02\n',
    "date": r"""#!/bin/sh
[ "$*" = +%s ] && [ -e /fake/slept ] || exec /usr/bin/date "$@"
awk -v now="$(/usr/bin/date +%s)" '{ now += $1 } END { printf "%d\n", now }' /fake/slept
""",
}

KUBECTL = (
    "#!/bin/sh\n"
    + MEMBERS
    + r"""
kubeconfig= server= verb= dry=no file=- node= taints=
while [ $# -gt 0 ]; do
  case $1 in
  --kubeconfig=*) kubeconfig=${1#*=} ;;
  --server=*) server=${1#*=} ;;
  --dry-run=server) dry=yes ;;
  -f) file=$2; shift ;;
  --raw=/readyz*) verb=readyz ;;
  lease) verb=lease name_of=$2 ;;
  get|apply|auth|patch|taint) verb=$1 ;;
  nodes) verb=nodes ;;
  node) [ "$verb" = taint ] || verb=node; node=/fake/cluster/nodes/$2; shift ;;
  *:*Schedule|*:*Schedule-|*:NoExecute|*:NoExecute-) taints="$taints $1" ;;
  esac
  shift
done
[ -s "$kubeconfig" ] || { echo "error: no kubeconfig" >&2; exit 1; }
case $server in
""|*127.0.0.1*) asked=$name ;;
*) asked=$(awk -v url="$server" 'index(url, $1) { print $2 }' /fake/cluster/addresses) ;;
esac
sed -n 's/^ *client-certificate-data: //p' "$kubeconfig" | base64 -d >/fake/client.crt 2>/dev/null || :
if expired /etc/kubernetes/pki/kube-apiserver.crt; then
  echo "Unable to connect to the server: tls: failed to verify certificate: x509: certificate has expired" >&2
  exit 1
elif expired /fake/client.crt; then
  echo "error: You must be logged in to the server (Unauthorized)" >&2
  exit 1
fi
[ -e "/fake/cluster/api-$asked" ] && quorum || { echo "The connection to the server was refused" >&2; exit 1; }
case $verb in
readyz) echo ok; exit ;;
auth) exit ;;
lease) printf '%s_1' "$(cat "/fake/cluster/lease-$name_of" 2>/dev/null)"; exit ;;
node) [ -e "$node" ]; exit ;;
nodes)
  for node in /fake/cluster/nodes/*; do
    [ ! -e "$node" ] || printf '%s\t%s\n' "${node##*/}" "$(tr '\n' ' ' <"$node")"
  done
  exit ;;
taint)
  [ -e "$node" ] || exit 1
  for taint in $taints; do
    new=$taint taint=${taint%-}
    grep -v "^${taint%%[=:]*}=.*:${taint##*:}\$" "$node" >"$node.new" || true
    [ "$new" != "$taint" ] || echo "$taint" >>"$node.new"
    mv "$node.new" "$node"
  done
  exit ;;
esac
may() { grep -q break-glass "$kubeconfig" || [ -n "$(ls /fake/cluster/objects)" ]; }
may || { echo "Error from server (Forbidden): no rights yet" >&2; exit 1; }
# One line a document: its file name, a tab, the object as JSON.
objects() {
  awk '
    function flush() {
      if (kind != "") {
        id = kind "_" space "_" name; gsub(/\//, "_", id)
        printf "%s\t{\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"text\":\"%s\"}\n", \
          id, kind, name, space, text
      }
      kind = name = space = text = ""; meta = 0
    }
    function value(line) { sub(/^[^:]*: */, "", line); gsub(/"/, "", line); gsub("\047", "", line); return line }
    /^---/ { flush(); next }
    /^[a-z]/ { meta = /^metadata:/ }
    /^kind:/ { kind = value($0) }
    meta && /^  name:/ { name = value($0) }
    meta && /^  namespace:/ { space = value($0) }
    { line = $0; gsub(/\\/, "\\\\", line); gsub(/"/, "\\\"", line); gsub(/\t/, "\\t", line); text = text line "\\n" }
    END { flush() }' "$file"
}
tab=$(printf '\t')
listed() {
  awk 'NR == 1 { printf "{\"kind\":\"List\",\"items\":[" } NR > 1 { printf "," } { print } END { if (NR) print "]}" }'
}
case $verb$dry in
applyyes) objects | cut -f2- | listed ;;
applyno)
  objects | while IFS= read -r line; do
    printf '%s\n' "${line#*"$tab"}" >"/fake/cluster/objects/${line%%"$tab"*}"
  done ;;
getno)
  objects | cut -f1 | while IFS= read -r id; do
    if [ -e "/fake/cluster/objects/$id" ]; then cat "/fake/cluster/objects/$id"; fi
  done | listed ;;
esac
"""
)

CTR = r"""#!/bin/sh
[ -e /fake/units/containerd.service ] || { echo "ctr: no containerd" >&2; exit 1; }
case $4 in
ls) cat /var/lib/containerd/images 2>/dev/null || true ;;
import) for archive; do :; done; cat "$archive" >>/var/lib/containerd/images ;;
esac
"""

BINARIES = {"etcdctl": ETCDCTL, "etcdutl": ETCDUTL, "kubectl": KUBECTL, "ctr": CTR}
"""Contents of components that hardway itself calls; all others are programs that do nothing."""

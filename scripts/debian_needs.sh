#!/usr/bin/env bash
# Make sure that Debian packages are there: debian_needs.sh PACKAGE…
#
# As root they are installed, with their services kept from starting; otherwise the missing ones are
# named, and in CI that is an error.
set -euo pipefail

missing=()
for package in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, and the tests that need them are skipped: ${missing[*]}" >&2
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi

# Debian's way to say "install, but start nothing"; put back as it was, whatever happens.
policy=/usr/sbin/policy-rc.d
kept=
if [ -e "$policy" ]; then
    kept=$(mktemp)
    cp --preserve "$policy" "$kept"
fi
restore() {
    if [ -n "$kept" ]; then mv "$kept" "$policy"; else rm -f "$policy"; fi
}
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

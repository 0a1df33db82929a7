#!/bin/sh
# Builds the Debian packages twice, in two different folders, at two different times, once with libraries from the network and
# once from a vendor folder without one, and compares: every byte of both must be the same. It takes some minutes.
#
#     packaging/reproduce.sh [DIR]        DIR: where the packages are left (target/reproduced)
set -eu
cd "$(dirname "$0")/.."

out=${1:-target/reproduced}
mkdir -p "$out/one" "$out/two"
out=$(cd "$out" && pwd)
unset QRTOTP_BUILT
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

packaging/vendor.sh "$work" > /dev/null

echo "== one: a short path, libraries from the network"
mkdir "$work/a"
tar -xJf "$work"/qrtotp_*.orig.tar.xz -C "$work/a" --strip-components=1
"$work/a/packaging/build-deb.sh" --output "$out/one" > "$work/one.log" 2>&1 || { tail "$work/one.log"; exit 1; }

echo "== two: another path, umask and time zone, libraries from vendor/, no network"
two="$work/another folder/of some depth"
mkdir -p "$two"
tar -xJf "$work"/qrtotp_*.orig.tar.xz -C "$two" --strip-components=1
tar -xJf "$work"/qrtotp_*.orig-vendor.tar.xz -C "$two"
alone=
[ "$(id -u)" != 0 ] || alone="unshare --net"
# shellcheck disable=SC2086 # two words or none
(
    umask 027
    TZ=Asia/Kathmandu LC_ALL=C.UTF-8 TMPDIR="$work" $alone "$two/packaging/build-deb.sh" --output "$out/two"
) > "$work/two.log" 2>&1 || { tail "$work/two.log"; exit 1; }

code=0
for package in "$out"/one/*.deb; do
    (cd "$out" && sha256sum "one/${package##*/}" "two/${package##*/}")
    cmp "$package" "$out/two/${package##*/}" || code=1
done
[ $code = 0 ] && echo "the same, byte by byte" || echo "NOT the same" >&2
exit $code

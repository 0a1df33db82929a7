#!/bin/sh
# Makes what a build without a network needs, below DIR (target/source): the tree as an upstream tarball, and the sources of all
# libraries as a second one that unpacks to vendor/ in it.
#
#     packaging/vendor.sh [DIR]
#
# The same tree gives the same bytes. Then, in the unpacked tree: packaging/build-deb.sh, or rpmbuild with both as sources.
set -eu
cd "$(dirname "$0")/.."

out=${1:-target/source}
mkdir -p "$out"
out=$(cd "$out" && pwd)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

pack() {
    tar -c --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go+rX,go-w --mtime="@${SOURCE_DATE_EPOCH:-0}" "$@"
}

pack --exclude=./target --exclude=./.git --exclude=./vendor --transform="s,^\.,qrtotp-$version," . |
    xz -T1 > "$out/qrtotp_$version.orig.tar.xz"
# With the version in each folder's name: two versions of a library may be needed.
cargo vendor --locked --quiet --versioned-dirs "$work/vendor" > /dev/null
pack -C "$work" vendor | xz -T1 > "$out/qrtotp_$version.orig-vendor.tar.xz"
(cd "$out" && sha256sum "qrtotp_$version.orig.tar.xz" "qrtotp_$version.orig-vendor.tar.xz")

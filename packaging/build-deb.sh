#!/bin/sh
# Builds libpam-qrtotp and qrtotp as Debian packages, out of a copy of this tree, and leaves them in target/debian.
#
#     packaging/build-deb.sh [--output DIR] [OPTION of dpkg-buildpackage...]
#
# Who has Rust by rustup lacks Debian's packages of it: they are not asked for if cargo is there otherwise.
set -eu
cd "$(dirname "$0")/.."

output=$PWD/target/debian
if [ "${1:-}" = --output ]; then
    [ $# -ge 2 ] || { echo "build-deb.sh: --output needs a folder" >&2; exit 2; }
    mkdir -p "$2"
    output=$(cd "$2" && pwd)
    shift 2
fi
mkdir -p "$output"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

tree=$work/qrtotp
mkdir "$tree"
# Everything but what was built, and the history.
tar -c --exclude=./target --exclude=./.git . | tar -x -C "$tree"
cp -a packaging/debian "$tree/debian"
cd "$tree"

# Prints build dependencies that are missing, but for Rust where it is there without a package.
unmet() {
    dpkg-checkbuilddeps 2>&1 | sed 's/^.*: //' | if command -v cargo > /dev/null; then
        sed -E 's/(cargo|rustc)(-web)? \([^)]*\)( \| (cargo|rustc) \([^)]*\))?//g'
    else
        cat
    fi | sed 's/^ *//; s/ *$//'
}
missing=$(unmet)
if [ -n "$missing" ]; then
    echo "build-deb.sh: missing here: $missing" >&2
    exit 1
fi
dpkg-buildpackage -us -uc -b -d "$@"
mv "$work"/*.deb "$work"/*.buildinfo "$work"/*.changes "$output"
ls -l "$output"/*.deb

#!/bin/sh
# Builds what packages hold, the same bytes wherever it is built: target/package has the module, the command, a bill of
# materials and the licences of the libraries in it. Dependencies are those of Cargo.lock; where there is a folder vendor
# (packaging/vendor.sh), they come from there and no network is asked.
#
# QRTOTP_BUILT=DIR takes module and command from DIR, where somebody has built them already; and the other two if they are there.
set -eu
cd "$(dirname "$0")/.."

out=target/package
rm -rf "$out"
mkdir -p "$out"

if [ -d vendor ]; then
    # Nothing of the builder's own settings counts.
    CARGO_HOME=$PWD/target/cargo-home
    export CARGO_HOME
    mkdir -p "$CARGO_HOME"
    cat > "$CARGO_HOME/config.toml" <<END
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$PWD/vendor"
[net]
offline = true
END
    offline=--offline
else
    offline=
fi

if [ -n "${QRTOTP_BUILT:-}" ]; then
    cp "$QRTOTP_BUILT/libpam_qrtotp.so" "$QRTOTP_BUILT/qrtotp" "$out"
    # A debug build, say.
    for file in "$out"/*; do
        if readelf -SW "$file" | grep -q ' \.symtab '; then strip "$file"; fi
    done
    if [ -f "$QRTOTP_BUILT/sbom.cdx.json" ]; then
        cp "$QRTOTP_BUILT/sbom.cdx.json" "$QRTOTP_BUILT/third-party-notices.txt" "$out"
        exit
    fi
else
    # No path of this machine stands in the product (in messages of panics, say), and libraries have the same one, wherever
    # they came from.
    # shellcheck disable=SC2086 # the option may be absent
    cargo fetch --locked $offline --quiet
    # The paths may hold blanks, so the flags are parted by another byte.
    CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$PWD=/usr/src/qrtotp"
    for libraries in "$PWD/vendor" "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        CARGO_ENCODED_RUSTFLAGS="$CARGO_ENCODED_RUSTFLAGS$(printf '\037')--remap-path-prefix=$libraries=/usr/src/libraries"
    done
    export CARGO_ENCODED_RUSTFLAGS
    unset RUSTFLAGS
    # shellcheck disable=SC2086 # the option may be absent
    CARGO_TARGET_DIR=$PWD/target CARGO_INCREMENTAL=0 cargo build --release --locked $offline -p pam_qrtotp -p qrtotp
    cp target/release/libpam_qrtotp.so target/release/qrtotp "$out"
fi
# shellcheck disable=SC2086
packaging/bill.py $offline "$out"

#!/bin/sh
# How long a login takes, beside Debian's pam_google_authenticator and pam_oath and the floor, in one run. Not a test:
# nothing fails, the last lines say which aims were reached. Numbers of enrolled users may be given as arguments.
#
# To be run as root; it works in private namespaces and changes nothing on the machine.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in libpam-google-authenticator libpam-oath libpam0g-dev gcc; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
fi

cargo build --release --workspace --locked --quiet
exec target/release/bench "$@"

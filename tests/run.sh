#!/bin/sh
# Builds qrtotp and runs all of its tests: the rules, and the built module in the real sshd, sudo, su and login.
#
#     sudo tests/run.sh [NAME...]     with names: only the test programs whose name holds one of them
#
# It needs root, because every test makes a private mount namespace: nothing on this machine is changed but the packages
# that are missing, which apt installs without starting their services. The building is done by the user who called sudo.
#
# Longer campaigns: QRTOTP_ROUNDS (races), QRTOTP_KILLS, QRTOTP_TRIES (timing), QRTOTP_CONNECTIONS.
set -eu
cd "$(dirname "$0")/.."

die() {
    echo "run.sh: $*" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || die "run it as root: sudo $0"

# Programs and files the build and the tests use, each with its Debian package.
missing() {
    while read -r what package; do
        case $what in
        /*) [ -e "$what" ] || echo "$package" ;;
        *) PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null 2>&1 || echo "$package" ;;
        esac
    done <<EOF | sort -u
cc gcc
/usr/include/security/pam_modules.h libpam0g-dev
nm binutils
readelf binutils
sshd openssh-server
ssh openssh-client
sudo sudo
su util-linux
login login
hostname hostname
tmux tmux
oathtool oathtool
zbarimg zbar-tools
google-authenticator libpam-google-authenticator
/usr/lib/$(uname -m)-linux-gnu/security/pam_oath.so libpam-oath
/usr/share/zoneinfo/Asia/Kolkata tzdata
fail2ban-regex fail2ban
gzip gzip
xz xz-utils
zstd zstd
logrotate logrotate
mandoc mandoc
groff groff-base
zsh zsh
fish fish
chromium chromium
age age
age-keygen age
python3 python3
dpkg-buildpackage dpkg-dev
dh debhelper
lintian lintian
rpmbuild rpm
deluser adduser
apparmor_parser apparmor
/usr/share/selinux/devel/Makefile selinux-policy-dev
systemd-analyze systemd
ansible-playbook ansible-core
ansible-lint ansible-lint
/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf fonts-dejavu-core
EOF
}

# What goes when this script ends, however it ends.
litter=
# shellcheck disable=SC2154,SC2086 # one word a file
trap '[ -z "$litter" ] || rm -f $litter' EXIT
trap 'exit 130' INT TERM

install_missing() {
    packages=$(missing)
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null || die "these packages are missing: $(echo "$packages" | tr '\n' ' ')"
    # shellcheck disable=SC2086 # one word a package
    set -- $packages
    echo "== installing: $*"
    # Their services stay off: the tests start what they need, in namespaces of their own.
    quiet=/usr/sbin/policy-rc.d
    if [ ! -e $quiet ]; then
        litter=$quiet
        printf '#!/bin/sh\nexit 101\n' >$quiet
        chmod 755 $quiet
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 || {
        apt-get update -q
        apt-get install -y --no-install-recommends "$@"
    }
    [ -z "$litter" ] || rm -f "$litter"
    litter=
    [ -z "$(missing)" ] || die "still missing: $(missing | tr '\n' ' ')"
}

# The builder: who called sudo, with his cargo; else root. Debian's own cargo serves where nobody has one.
builder=${SUDO_USER:-root}
as_builder() {
    if [ "$builder" = root ]; then
        "$@"
    else
        runuser -u "$builder" -- env "PATH=$PATH" "HOME=$(getent passwd "$builder" | cut -d: -f6)" "$@"
    fi
}
find_cargo() {
    home=$(getent passwd "$builder" | cut -d: -f6)
    PATH="$home/.cargo/bin:${CARGO_HOME:-$home/.cargo}/bin:$PATH"
    export PATH
    command -v cargo >/dev/null && return 0
    command -v apt-get >/dev/null || die "cargo is missing: see https://rustup.rs"
    echo "== installing: cargo-web rustc-web"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cargo-web rustc-web >/dev/null
}

wanted() {
    [ $# -gt 1 ] || return 0
    name=$1
    shift
    for part; do
        case $name in *"$part"*) return 0 ;; esac
    done
    return 1
}

began=$(date +%s)
install_missing
find_cargo

built=$(mktemp)
table=$(mktemp)
log=$(mktemp)
litter="$built $table $log"

echo "== building the module and the command"
as_builder cargo build --release --workspace --locked --quiet
target=$(as_builder cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
QRTOTP_TARGET="$target/release"
export QRTOTP_TARGET

# The packages hold what was built; so cargo is asked for nothing but what is linked.
if wanted packages "$@" || wanted ansible "$@"; then
    echo "== building the packages"
    QRTOTP_DEBS="$target/debian"
    as_builder env "QRTOTP_BUILT=$QRTOTP_TARGET" packaging/build-deb.sh --output "$QRTOTP_DEBS" >"$log" 2>&1 || {
        cat "$log" >&2
        die "the packages do not build"
    }
    export QRTOTP_DEBS
fi

# The tests themselves need no optimising, and build in half the time without.
echo "== building the tests"
as_builder cargo test --workspace --locked --no-run 2>"$log" >&2 || {
    cat "$log" >&2
    die "the tests do not build"
}
sed -n 's/^ *Executable .* (\(.*\))$/\1/p' "$log" >"$built"
[ -s "$built" ] || die "no tests were built"

# Sums up the lines `test result: ok. 7 passed; 0 failed; 0 ignored; ...` of one program.
numbers() {
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 } END { print passed + 0, failed + 0, ignored + 0 }' "$1"
}

failed_programs=
while read -r program; do
    short=$(basename "$program" | sed 's/-[0-9a-f]*$//')
    wanted "$short" "$@" || continue
    echo "== $short"
    since=$(date +%s)
    # Through a pipe: some tests limit the size of files, and their output must not be one.
    {
        RUST_BACKTRACE=0 timeout 900 "$program" --quiet </dev/null 2>&1 || echo "ended with status $?"
    } | cat >"$log"
    if tail -n 1 "$log" | grep -q '^ended with status'; then
        cat "$log"
        failed_programs="$failed_programs $short"
    fi
    echo "$(numbers "$log") $(($(date +%s) - since)) $short" >>"$table"
done <"$built"

echo
awk 'BEGIN { printf "%7s %7s %8s  %s\n", "passed", "failed", "seconds", "tests" }
    { printf "%7d %7d %8d  %s\n", $1, $2, $4, $5; passed += $1 }
    END { print ""; print passed " tests passed" }' "$table"
took=$(($(date +%s) - began))
if [ -n "$failed_programs" ]; then
    echo "FAILED:$failed_programs ($((took / 60)) min $((took % 60)) s)"
    exit 1
fi
echo "ALL PASSED in $((took / 60)) min $((took % 60)) s; nothing was left behind."

#!/bin/sh
# Installs what `cargo build` left in target/release. Touches no PAM stack: after it nobody logs in differently than before.
set -eu
umask 022

usage() {
    cat <<'END'
usage: packaging/install.sh [--destdir DIR] [--uninstall]

  --destdir DIR   put everything below DIR, for packages; needs no root, makes no state
  --uninstall     remove what was installed; keeps policy, keys and logs
END
}

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

source=$(cd "$(dirname "$0")/.." && pwd)
build=cargo\ build\ --release\ --workspace\ --locked
module=$source/target/release/libpam_qrtotp.so
command=$source/target/release/qrtotp
destdir=
uninstall=

while [ $# -gt 0 ]; do
    case $1 in
    --destdir) [ $# -ge 2 ] || die "--destdir needs a folder"; destdir=$2; shift ;;
    --destdir=*) destdir=${1#*=} ;;
    --uninstall) uninstall=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
case $destdir in
'' | /*) ;;
*) destdir=$PWD/$destdir ;;
esac
destdir=${destdir%/}
[ -n "$destdir" ] || [ "$(id -u)" = 0 ] || die "must be run as root; try: sudo $0"

# Byte order, word size and machine of a program or library: what must be the same for one to load the other.
machine() {
    od -An -tx1 -j4 -N2 "$1"
    od -An -tx1 -j18 -N2 "$1"
}

# Where distributions keep PAM modules: the first is Debian's (x86_64-linux-gnu, say), the second Fedora's.
folders='/usr/lib/*/security /usr/lib64/security /usr/lib/security /lib/*/security /lib64/security /lib/security'

# libpam loads modules from the folder that has the pam_unix.so of our machine. Another may be there for foreign programs.
pam_folder() {
    for folder in $folders; do
        if [ -f "$folder/pam_unix.so" ] && [ "$(machine "$folder/pam_unix.so")" = "$(machine "$module")" ]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

tmpfiles=/usr/lib/tmpfiles.d/qrtotp.conf
logrotate=/etc/logrotate.d/qrtotp
unit=/usr/lib/systemd/system/qrtotp-watch.service
# Manuals and completions, which the command writes itself. Completions lie where each shell of this distribution looks.
manuals=/usr/share/man/man
completions='/usr/share/bash-completion/completions/qrtotp /usr/share/zsh/vendor-completions/_qrtotp
    /usr/share/fish/vendor_completions.d/qrtotp.fish'
examples=/usr/share/doc/qrtotp/examples
config=/etc/qrtotp/config.toml

# Renamed into place: a login at this moment loads the old module or the new one, never a half and never none.
put() {
    mkdir -p "$destdir$(dirname "$3")"
    cp "$2" "$destdir$3.new"
    chmod "$1" "$destdir$3.new"
    mv -f "$destdir$3.new" "$destdir$3"
    printf 'installed %s\n' "$destdir$3"
}

# The default policy, on standard output, for a package. `qrtotp init` also makes state, which belongs to one machine and not
# into a package, so it works on private folders that go with it.
default_config() {
    user=
    [ "$(id -u)" = 0 ] || user=-r
    # shellcheck disable=SC2016,SC2086 # the inner shell expands; the option may be absent
    unshare $user -m sh -ec '
        mount -t tmpfs -o mode=755 tmpfs /run
        cat > /run/command
        chmod 755 /run/command
        for folder in /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $folder; done
        cd /
        /run/command --config /run/config.toml init > /dev/null
        cat /run/config.toml' < "$command"
}

# A command for another machine cannot be run here: QRTOTP_GENERATED names a folder that one of ours wrote with `generate`.
install_generated() {
    generated=${QRTOTP_GENERATED:-}
    if [ -z "$generated" ]; then
        generated=$(mktemp -d)
        trap 'rm -rf "$generated"' EXIT
        "$command" generate "$generated" > /dev/null
    fi
    for page in "$generated"/man/*; do
        put 644 "$page" "$manuals${page##*.}/${page##*/}" > /dev/null
    done
    for file in $completions; do
        put 644 "$generated/completions/${file##*/}" "$file" > /dev/null
    done
    printf 'installed manuals in %s, and completions for bash, zsh and fish\n' "$destdir${manuals%/man}"
}

install_config() {
    if [ -z "$destdir" ]; then
        /usr/sbin/qrtotp init
        return
    fi
    [ ! -e "$destdir$config" ] || return 0
    mkdir -p "$destdir${config%/*}"
    if default_config > "$destdir$config.new"; then
        chmod 644 "$destdir$config.new"
        mv -f "$destdir$config.new" "$destdir$config"
        printf 'installed %s\n' "$destdir$config"
    else
        rm -f "$destdir$config.new"
        printf 'install.sh: %s could not be made here; on the machine itself "qrtotp init" makes it\n' "$config" >&2
    fi
}

install_all() {
    for file in "$module" "$command"; do
        [ -f "$file" ] || die "$file is not there; build it first, as yourself: (cd '$source' && $build)"
    done
    security=$(pam_folder) || die "found no folder with a pam_unix.so of this machine; is PAM installed?"
    put 644 "$module" "$security/pam_qrtotp.so"
    put 755 "$command" /usr/sbin/qrtotp
    put 644 "$source/packaging/tmpfiles.d/qrtotp.conf" $tmpfiles
    put 644 "$source/packaging/logrotate.d/qrtotp" $logrotate
    put 644 "$source/packaging/systemd/qrtotp-watch.service" $unit
    install_generated
    for example in "$source"/pam.d-examples/*; do
        put 644 "$example" "$examples/${example##*/}"
    done
    # New files get the label of their folder's rule where SELinux is at work.
    if [ -z "$destdir" ] && command -v restorecon > /dev/null; then
        restorecon "$security/pam_qrtotp.so" /usr/sbin/qrtotp $tmpfiles $logrotate $unit || true
    fi
    install_config
    if [ -n "$destdir" ]; then
        printf '\nAfter the package is installed, its script should run: qrtotp init\n'
        return
    fi
    cat <<END

Nothing asks for a code yet. To switch it on:
  1. Enroll yourself first:       qrtotp enroll YOU
     (how to roll it out for many: man 7 qrtotp; everything else: man qrtotp)
  2. Open a root shell and keep it open until a fresh login has worked.
  3. Read an example, copy it:    $examples/
     for sshd, say:               cp $examples/sshd-key-and-code /etc/pam.d/sshd
     and add the lines for sshd_config that stand at its top.
  4. Log in afresh, in another window, before you close the root shell.
END
}

# Lines that name the module, comments left out, as FILE:LINE: TEXT.
still_named() {
    for file in /etc/pam.conf /etc/pam.d/* /usr/lib/pam.d/*; do
        [ ! -f "$file" ] || awk -v file="$file" '
            { code = $0; sub(/#.*/, "", code) }
            index(code, "pam_qrtotp.so") { print "  " file ":" FNR ": " $0 }' "$file"
    done
}

take() {
    [ -e "$destdir$1" ] || return 0
    rm -f "$destdir$1"
    printf 'removed %s\n' "$destdir$1"
}

uninstall_all() {
    if [ -z "$destdir" ]; then
        named=$(still_named)
        [ -z "$named" ] || die "nothing was removed, since PAM still asks for the module, and a missing module denies the login:
$named
Take these lines out (or put # before them), then try again."
    fi
    for folder in $folders; do
        take "$folder/pam_qrtotp.so"
    done
    take /usr/sbin/qrtotp
    take $tmpfiles
    take $logrotate
    take $unit
    for file in "$destdir$manuals"[578]/qrtotp[-.]* "$destdir$manuals"8/pam_qrtotp.8*; do
        take "${file#"$destdir"}" > /dev/null
    done
    for file in $completions; do
        take "$file" > /dev/null
    done
    printf 'removed manuals and completions\n'
    for example in "$destdir$examples"/*; do
        take "${example#"$destdir"}"
    done
    if [ -d "$destdir${examples%/*}" ]; then
        rmdir "$destdir$examples" "$destdir${examples%/*}" || true
    fi
    printf 'kept, if there: /etc/qrtotp (policy), /var/lib/qrtotp (keys of everybody who is enrolled), /var/log/qrtotp (events)\n'
}

if [ -n "$uninstall" ]; then uninstall_all; else install_all; fi

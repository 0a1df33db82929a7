#!/bin/sh
# Installs what `cargo build` left in target/release. Touches no PAM stack: after it nobody logs in differently than before.
set -eu
umask 022

usage() {
    cat <<'END'
usage: packaging/install.sh [--destdir DIR] [--uninstall] [--built DIR] [--pam-folder DIR]

  --destdir DIR      put everything below DIR, for packages; needs no root, makes no state
  --uninstall        remove what was installed; keeps policy, keys and logs
  --built DIR        where the built module and command are, if not in target/release
  --pam-folder DIR   where PAM modules are, if not beside pam_unix.so
END
}

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

source=$(cd "$(dirname "$0")/.." && pwd)
build=cargo\ build\ --release\ --workspace\ --locked
built=$source/target/release
security=
destdir=
uninstall=

while [ $# -gt 0 ]; do
    case $1 in
    --destdir) [ $# -ge 2 ] || die "--destdir needs a folder"; destdir=$2; shift ;;
    --destdir=*) destdir=${1#*=} ;;
    --built) [ $# -ge 2 ] || die "--built needs a folder"; built=$2; shift ;;
    --pam-folder) [ $# -ge 2 ] || die "--pam-folder needs a folder"; security=$2; shift ;;
    --uninstall) uninstall=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
module=$built/libpam_qrtotp.so
command=$built/qrtotp
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

# Manuals and completions, which the command writes itself. Completions lie where each shell of this distribution looks.
manuals=/usr/share/man/man
completions='/usr/share/bash-completion/completions/qrtotp /usr/share/zsh/vendor-completions/_qrtotp
    /usr/share/fish/vendor_completions.d/qrtotp.fish'
doc=/usr/share/doc/qrtotp
examples=$doc/examples

# Files that are only copied: mode, where they are here, where they go.
plain_files() {
    cat <<'END'
644 packaging/tmpfiles.d/qrtotp.conf /usr/lib/tmpfiles.d/qrtotp.conf
644 packaging/logrotate.d/qrtotp /etc/logrotate.d/qrtotp
644 packaging/systemd/qrtotp-watch.service /usr/lib/systemd/system/qrtotp-watch.service
644 packaging/systemd/qrtotp-gc.service /usr/lib/systemd/system/qrtotp-gc.service
644 packaging/systemd/qrtotp-guard.service /usr/lib/systemd/system/qrtotp-guard.service
644 packaging/systemd/qrtotp-gc.timer /usr/lib/systemd/system/qrtotp-gc.timer
755 packaging/named-in-pam /usr/libexec/qrtotp/named-in-pam
755 packaging/shadow-maint/userdel-post.d/qrtotp /etc/shadow-maint/userdel-post.d/qrtotp
644 packaging/fail2ban/filter.d/qrtotp.conf /etc/fail2ban/filter.d/qrtotp.conf
644 packaging/fail2ban/jail.d/qrtotp.conf /etc/fail2ban/jail.d/qrtotp.conf
644 packaging/apparmor/abstractions/qrtotp /etc/apparmor.d/abstractions/qrtotp
644 README.md /usr/share/doc/qrtotp/README.md
644 SECURITY.md /usr/share/doc/qrtotp/SECURITY.md
644 docs/ARCHITECTURE.md /usr/share/doc/qrtotp/ARCHITECTURE.md
644 docs/FORMAT.md /usr/share/doc/qrtotp/FORMAT.md
END
    # The profile is read by Debian's pam-auth-update alone.
    if [ -n "$destdir" ] || [ -n "$uninstall" ] || [ -d /usr/share/pam-configs ]; then
        echo '644 packaging/pam-configs/qrtotp /usr/share/pam-configs/qrtotp'
    fi
}
# Made when a package is built, beside module and command.
bills='sbom.cdx.json third-party-notices.txt'

# Whether a package owns the command that is here: its files are not ours to change.
package_owns() {
    if dpkg-query -S /usr/sbin/qrtotp > /dev/null 2>&1; then return 0; fi
    command -v rpm > /dev/null && rpm -qf /usr/sbin/qrtotp > /dev/null 2>&1
}

# Renamed into place: a login at this moment loads the old module or the new one, never a half and never none.
put() {
    mkdir -p "$destdir$(dirname "$3")"
    cp "$2" "$destdir$3.new"
    chmod "$1" "$destdir$3.new"
    mv -f "$destdir$3.new" "$destdir$3"
    printf 'installed %s\n' "$destdir$3"
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

install_all() {
    for file in "$module" "$command"; do
        [ -f "$file" ] || die "$file is not there; build it first, as yourself: (cd '$source' && $build)"
    done
    [ -n "$security" ] || security=$(pam_folder) || die "found no folder with a pam_unix.so of this machine; is PAM installed?"
    put 644 "$module" "$security/pam_qrtotp.so"
    put 755 "$command" /usr/sbin/qrtotp
    plain_files | while read -r mode file place; do
        put "$mode" "$source/$file" "$place"
    done
    for bill in $bills; do
        [ ! -f "$built/$bill" ] || put 644 "$built/$bill" "$doc/$bill"
    done
    install_generated
    for example in "$source"/pam.d-examples/*; do
        put 644 "$example" "$examples/${example##*/}"
    done
    "$command" policy default > "$destdir$examples/config.toml"
    chmod 644 "$destdir$examples/config.toml"
    [ -z "$destdir" ] || return 0
    # New files get the label of their folder's rule where SELinux is at work.
    if command -v restorecon > /dev/null; then
        plain_files | while read -r _ _ place; do restorecon "$place" || true; done
        restorecon "$security/pam_qrtotp.so" /usr/sbin/qrtotp || true
    fi
    /usr/sbin/qrtotp init
    cat <<END

Nothing asks for a code yet. To switch it on:
  1. Enroll yourself first:         qrtotp enroll YOU
     (how to roll it out for many: man 7 qrtotp; everything else: man qrtotp)
  2. See what would be wrong:       qrtotp doctor --service sudo
  3. Have a service ask for it:     qrtotp enable sudo
     It is tried first, and taken back unless a fresh login with a code confirms it.
     To do it by hand, see          $examples/
Where there is systemd, take back at a boot what nobody confirmed, and tidy up every week:
    systemctl enable qrtotp-guard.service && systemctl enable --now qrtotp-gc.timer
END
}

take() {
    [ -e "$destdir$1" ] || return 0
    rm -f "$destdir$1"
    printf 'removed %s\n' "$destdir$1"
}

uninstall_all() {
    if [ -z "$destdir" ]; then
        if named=$("$source/packaging/named-in-pam"); then
            die "nothing was removed, since PAM still asks for the module, and a missing module denies the login:
$named
Take these lines out (or put # before them; those of pam-auth-update go by: pam-auth-update --disable qrtotp), then try again."
        fi
    fi
    for folder in ${security:-$folders}; do
        take "$folder/pam_qrtotp.so"
    done
    take /usr/sbin/qrtotp
    if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
        systemctl --quiet disable --now qrtotp-watch.service qrtotp-gc.timer qrtotp-guard.service || true
    fi
    plain_files | while read -r _ _ place; do take "$place"; done
    for file in "$destdir$manuals"[578]/qrtotp[-.]* "$destdir$manuals"8/pam_qrtotp.8*; do
        take "${file#"$destdir"}" > /dev/null
    done
    for file in $completions; do
        take "$file" > /dev/null
    done
    printf 'removed manuals and completions\n'
    for bill in $bills; do take "$doc/$bill"; done
    for example in "$destdir$examples"/*; do
        take "${example#"$destdir"}"
    done
    for folder in $examples $doc /usr/libexec/qrtotp; do
        [ ! -d "$destdir$folder" ] || rmdir "$destdir$folder" || true
    done
    # Folders of other packages, which may not be here.
    for folder in /etc/shadow-maint/userdel-post.d /etc/fail2ban/filter.d /etc/fail2ban/jail.d /etc/apparmor.d/abstractions; do
        rmdir -p "$destdir$folder" 2> /dev/null || true
    done
    printf 'kept, if there: /etc/qrtotp (policy), /var/lib/qrtotp (keys of everybody who is enrolled), /var/log/qrtotp (events)\n'
}

if [ -z "$destdir" ] && package_owns; then
    die "a package of this machine owns /usr/sbin/qrtotp; change or remove that instead"
fi
if [ -n "$uninstall" ]; then uninstall_all; else install_all; fi

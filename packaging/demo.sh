#!/bin/bash
# Shows qrtotp at work, in programs as they are: a user is enrolled by QR code and logs in through sshd with a key and a code,
# through sudo with a code, and with a recovery code; a wrong code and a used one are refused.
#
# All of it happens in namespaces of its own (mounts, processes, host name): what is installed, written and started in there
# is gone when it ends. On the machine itself only the packages stay that it lacked, and target/ with what was built.
set -euo pipefail

usage() {
    cat <<'END'
usage: packaging/demo.sh [--phone]

  --phone   you scan the picture and type the codes; then log in by ssh from another terminal
END
}

# What the demo says. Lines of a terminal it shows may be unfinished; its own start on a fresh one.
bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
at_start=yes
fresh_line() {
    [ -n "$at_start" ] || printf '\n'
    at_start=yes
}
say() {
    fresh_line
    printf '%s\n' "$*"
}
note() { say "$dim($*)$plain"; }
die() {
    printf 'demo.sh: %s\n' "$*" >&2
    exit 1
}

#
# Outside: what is needed, the build, the namespaces
#

# The user who called, also when through sudo.
invoker=${SUDO_USER:-root}
id -u "$invoker" > /dev/null 2>&1 || invoker=root

# Runs a command as the user who called, with that user's home.
as_invoker() {
    local home
    home=$(getent passwd "$invoker" | cut -d: -f6)
    if [ "$invoker" = root ]; then
        env HOME="${home:-/root}" "$@"
    else
        runuser -u "$invoker" -- env HOME="$home" "$@"
    fi
}

# Installs Debian packages. Their services are not started.
install_packages() {
    local log policy=/usr/sbin/policy-rc.d wrote='' code=0
    type -P apt-get > /dev/null || die "missing here, and there is no apt-get to install it: $*"
    note "installing by apt-get: $*"
    log=$(mktemp)
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' > $policy
        chmod 755 $policy
        wrote=yes
    fi
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
    { apt-get -qq update && apt-get -qq -y --no-install-recommends install "$@"; } < /dev/null > "$log" 2>&1 || code=$?
    [ -z "$wrote" ] || rm -f $policy
    [ $code = 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    [ $code = 0 ] || die "apt-get could not install: $*"
}

install_missing() {
    local pair missing=()
    for pair in unshare:util-linux runuser:util-linux script:bsdutils perl:perl-base oathtool:oathtool ssh:openssh-client \
        sshd:openssh-server sudo:sudo cc:gcc; do
        type -P "${pair%%:*}" > /dev/null || missing+=("${pair#*:}")
    done
    [ -e /usr/include/security/pam_modules.h ] || missing+=(libpam0g-dev)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    [ ${#missing[@]} -gt 0 ] || return 0
    install_packages "${missing[@]}"
    case " ${missing[*]} " in
    *' openssh-server '*)
        # Nobody who watches a demo means to open a port of the machine.
        systemctl --quiet disable ssh.service ssh.socket > /dev/null 2>&1 || true
        note "the ssh server is installed, but neither started nor enabled" ;;
    esac
}

# Whether the first of two versions is at least the second.
at_least() {
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# Sets `tools` to the folder of a cargo and rustc that are new enough.
find_cargo() {
    local needed folder version home tried=''
    needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    home=$(getent passwd "$invoker" | cut -d: -f6)
    for folder in "$(dirname "$(type -P cargo || echo /usr/bin/cargo)")" "$home/.cargo/bin" /usr/bin; do
        case $tried in *" $folder "*) continue ;; esac
        tried+=" $folder "
        if [ ! -x "$folder/cargo" ] || [ ! -x "$folder/rustc" ]; then continue; fi
        version=$(as_invoker "$folder/rustc" --version 2> /dev/null | cut -d' ' -f2) || continue
        if at_least "${version%%-*}" "$needed"; then
            tools=$folder
            return 0
        fi
        note "$folder/rustc is version $version; $needed or newer is needed"
    done
    return 1
}

build() {
    local as=as_invoker home
    if ! find_cargo; then
        if [ -e /usr/bin/cargo ]; then
            die "the Rust of this machine is too old; install a newer one by https://rustup.rs as $invoker, then try again"
        fi
        install_packages cargo-web rustc-web
        find_cargo || die "Debian's cargo-web is too old; install Rust by https://rustup.rs as $invoker, then try again"
    fi
    # Whoever can write here builds, so that target/ is the user's and not root's.
    if ! as_invoker test -w . || { [ -e target ] && ! as_invoker test -w target; }; then
        home=$(getent passwd "$invoker" | cut -d: -f6)
        as='env'
        [ ! -d "$home/.rustup" ] || export RUSTUP_HOME=$home/.rustup
    fi
    [ -e target/release/qrtotp ] || note "the first build takes a minute or two"
    note "building with $tools/cargo"
    $as PATH="$tools:$PATH" cargo build --quiet --release --locked -p pam_qrtotp -p qrtotp ||
        die "the build failed; its messages are above"
}

mount_namespace() { readlink /proc/self/ns/mnt; }

# Runs this script again in namespaces of its own. They end with it, and it ends with us, however we end.
enter_namespaces() {
    local child code=0
    work=$(mktemp -d /tmp/qrtotp-demo.XXXXXX)
    chmod 711 "$work"
    # shellcheck disable=SC2064 # expands now: the folder is known
    trap "rm -rf '$work'" EXIT
    # In the background, with our input: a shell in `wait` acts on a signal at once.
    setpriv --pdeathsig KILL unshare --mount --pid --uts --ipc --propagation private --fork --kill-child --mount-proc \
        "$BASH" packaging/demo.sh --inside "$work" "$(mount_namespace)" "$@" <&0 &
    child=$!
    trap 'kill -KILL $child 2> /dev/null; wait $child 2> /dev/null || true; say "$plain"; exit 130' INT TERM HUP
    wait $child || code=$?
    exit $code
}

#
# Inside: the machine of the demo
#

host=demohost
prompt="demo@$host:\$ "

in_memory() {
    mkdir -p "$1"
    mount -t tmpfs -o "mode=$2" tmpfs "$1"
}

# The folder as it is; changes stay in memory.
with_changes_in_memory() {
    local name=${1//\//_}
    mkdir -p "$private/upper$name" "$private/work$name"
    mount -t overlay -o "lowerdir=$1,upperdir=$private/upper$name,workdir=$private/work$name" overlay "$1"
}

make_devices() {
    local device
    mount -t tmpfs -o mode=755,nosuid tmpfs /dev
    for device in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
        # shellcheck disable=SC2086 # name, major, minor
        set -- $device
        mknod -m 666 "/dev/$1" c "$2" "$3"
    done
    ln -s pts/ptmx /dev/ptmx
    ln -s /proc/self/fd /dev/fd
    ln -s /proc/self/fd/0 /dev/stdin
    ln -s /proc/self/fd/1 /dev/stdout
    ln -s /proc/self/fd/2 /dev/stderr
    mkdir /dev/pts /dev/shm
    chmod 1777 /dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts
}

make_machine() {
    private=$work/private
    in_memory "$private" 700
    # The source may lie in a folder that is about to be covered.
    mkdir "$private/source"
    mount --bind . "$private/source"
    cd "$private/source"
    with_changes_in_memory /etc
    with_changes_in_memory /usr
    # Not on the list where /lib and /sbin are links into /usr.
    [ -L /lib ] || with_changes_in_memory /lib
    in_memory /home 755
    in_memory /run 755
    in_memory /var 755
    mkdir -p /run/sshd /run/lock /var/lib /var/log /var/mail /var/tmp
    ln -s /run /var/run
    touch /run/utmp /var/log/wtmp /var/log/lastlog
    make_devices
    echo $host > /proc/sys/kernel/hostname
}

# What pam-auth-update writes on Debian 12, without pam_systemd, which talks to the machine outside.
write_common_stacks() {
    local kind
    for kind in auth account password session session-noninteractive; do
        local type=${kind%%-*} first='[success=1 default=ignore] pam_unix.so'
        [ "$type" != session ] || first='[default=1] pam_permit.so'
        printf '%s %s\n%s requisite pam_deny.so\n%s required pam_permit.so\n' \
            "$type" "$first" "$type" "$type" > "/etc/pam.d/common-$kind"
        [ "$type" != session ] || echo 'session required pam_unix.so' >> "/etc/pam.d/common-$kind"
        printf '%s required pam_deny.so\n' "$type" >> /etc/pam.d/other
    done
}

write_accounts() {
    local file uid=2000 hash shell=/bin/sh
    while getent passwd $uid > /dev/null || getent group $uid > /dev/null; do uid=$((uid + 1)); done
    [ -z "$phone" ] || shell=/bin/bash
    hash=$(perl -e 'print crypt($ARGV[0], "\$6\$" . join "", map { (0..9, "a".."z")[rand 36] } 1..16)' "$password")
    # The machine's own system accounts, which programs need, and demo.
    for file in passwd group shadow; do
        grep -v '^demo:' "/etc/$file" > "/etc/$file.demo" || true
        [ $file != passwd ] || awk -F: '$3 < 1000 || $3 == 65534' /etc/passwd.demo > /etc/passwd.system
    done
    {
        cat /etc/passwd.system
        echo "demo:x:$uid:$uid:demo:/home/demo:$shell"
    } > /etc/passwd
    { cat /etc/group.demo; echo "demo:x:$uid:"; } > /etc/group
    { grep '^root:' /etc/shadow.demo || true; echo "demo:$hash:19000:0:99999:7:::"; } > /etc/shadow
    rm -f /etc/*.demo /etc/passwd.system
    mkdir -p /home/demo/.ssh
    printf "PS1='%s'\n" "$prompt" > /home/demo/.profile
    cat "$work/key.pub" > /home/demo/.ssh/authorized_keys
    chmod -R go= /home/demo
    chown -R "$uid:$uid" /home/demo
    printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\n' > /etc/nsswitch.conf
    printf '127.0.0.1 localhost %s\n' $host > /etc/hosts
    echo $host > /etc/hostname
    printf 'Defaults env_reset, lecture=never\nroot ALL=(ALL:ALL) ALL\ndemo ALL=(ALL:ALL) ALL\n' > /etc/sudoers.demo
    chmod 440 /etc/sudoers.demo
    mv -f /etc/sudoers.demo /etc/sudoers
}

write_etc() {
    rm -rf /etc/pam.d /etc/update-motd.d /etc/motd /etc/nologin /etc/qrtotp
    mkdir /etc/pam.d
    write_common_stacks
    cp pam.d-examples/sshd-key-and-code /etc/pam.d/sshd
    cp pam.d-examples/sudo /etc/pam.d/sudo
    write_accounts
}

# Collects what comes to /dev/log, a line each.
start_syslog() {
    syslog=$private/syslog
    : > "$syslog"
    perl -MIO::Socket::UNIX -e '
        my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "/dev/log") or die "/dev/log: $!\n";
        chmod 0666, "/dev/log";
        open my $file, ">>", $ARGV[0] or die;
        $file->autoflush;
        while (defined $socket->recv(my $line, 65536)) {
            $line =~ s/^<\d+>(\w{3} [ \d]\d [\d:]{8} )?//;
            $line =~ s/[\0\n]+$//;
            print $file "$line\n";
        }' "$syslog" &
    wait_until test -S /dev/log || die "nobody listens on /dev/log"
}

start_sshd() {
    port=$(perl -MIO::Socket::INET -e '
        print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 0)->sockport')
    ssh-keygen -q -t ed25519 -N '' -C 'host key of the demo' -f "$private/host_key"
    printf '[127.0.0.1]:%s %s\n' "$port" "$(cat "$private/host_key.pub")" > "$work/known_hosts"
    # The lines that the example asks for, in its comments.
    sed -n 's/^#     //p' pam.d-examples/sshd-key-and-code > "$private/sshd_config"
    cat >> "$private/sshd_config" <<END
ListenAddress 127.0.0.1:$port
HostKey $private/host_key
PidFile none
UseDNS no
AllowUsers demo
PrintMotd no
PrintLastLog no
END
    "$(type -P sshd)" -D -f "$private/sshd_config" &
    wait_until grep -q "Server listening on 127.0.0.1 port $port" "$syslog" || die "sshd does not start"
}

make_key() {
    ssh-keygen -q -t ed25519 -N '' -C 'key of the demo' -f "$work/key"
    chown "$invoker" "$work/key"
}

# Tries for five seconds.
wait_until() {
    local try
    for ((try = 0; try < 100; try++)); do
        if "$@"; then return 0; fi
        sleep 0.05
    done
    return 1
}

#
# Inside: terminals
#
# A program runs on a pseudo-terminal of its own, by script(1), and is answered as a person would: when its question stands there.
#

columns=80 lines=24

# open_terminal NAME COMMAND: starts a command line (for sh) on the terminal NAME.
open_terminal() {
    local fifo=$private/$1 input output
    mkfifo "$fifo.in" "$fifo.out"
    script -qec "stty echo rows $lines cols $((columns - 2)); exec $2" /dev/null < "$fifo.in" > "$fifo.out" 2>&1 &
    script_of[$1]=$!
    exec {input}> "$fifo.in"
    exec {output}< "$fifo.out"
    input_of[$1]=$input output_of[$1]=$output
    rm -f "$fifo.in" "$fifo.out"
}

# see NAME TEXT: copies what a terminal shows until TEXT, into the transcript and into `seen`. Fails if it does not come.
see() {
    local char end=$((SECONDS + 20)) last=${2: -1}
    seen=''
    while [ $SECONDS -lt $end ]; do
        if IFS= read -r -N 1 -t 1 -u "${output_of[$1]}" char; then
            show "$char"
            seen+=$char
            if [ "$char" = "$last" ] && [[ $seen == *"$2" ]]; then return 0; fi
        elif [ $? -le 128 ]; then
            return 1
        fi
    done
    return 1
}

# Prints a character of a terminal, its lines set in by two blanks.
show() {
    case $1 in
    $'\r' | $'\a') return ;;
    $'\n') at_start=yes ;;
    *)
        [ -z "$at_start" ] || printf '  '
        at_start='' ;;
    esac
    printf '%s' "$1"
}

# type_in NAME TEXT [hidden]: types a line; what the terminal will not show is shown in brackets.
type_in() {
    if [ -n "${3:-}" ]; then
        printf '%s[types %s]%s' "$dim" "$2" "$plain"
        at_start=''
    fi
    { printf '%s\n' "$2" >&"${input_of[$1]}"; } 2> /dev/null || true
}

# finish NAME: copies the rest and gives the exit code of what ran.
finish() {
    local code=0 input=${input_of[$1]} output=${output_of[$1]}
    see "$1" $'\001' || true
    fresh_line
    exec {input}>&-
    exec {output}<&-
    wait "${script_of[$1]}" || code=$?
    return $code
}

declare -A input_of output_of script_of

#
# Inside: the phone, the log, the verdict
#

key='' code='' recovery=() last_step=0

# Sets `code` to the next code that was not used yet, when its time has come.
next_code() {
    local left
    if [ $(($(date +%s) / 30)) -le $last_step ]; then
        left=$(((last_step + 1) * 30 - $(date +%s)))
        note "waiting for the next code: $left s"
        while [ $(($(date +%s) / 30)) -le $last_step ]; do sleep 0.2; done
    fi
    last_step=$(($(date +%s) / 30))
    code=$(oathtool --totp -b "$key")
}

# A code that the phone shows neither now nor soon nor lately.
wrong_code() {
    local near
    near=$(oathtool --totp -b --window=10 --now="$(date -u -d '-150 seconds' '+%F %T UTC')" "$key")
    while code=$(perl -e 'printf "%06d", rand 1e6'); grep -q "$code" <<< "$near"; do :; done
}

# Prints new lines of syslog that tell of logins, once one of them matches; fails if none does.
logged=0
log_shows() {
    local found='' all
    fresh_line
    if wait_until matches_new "$1"; then found=yes; fi
    all=$(wc -l < "$syslog")
    tail -n +$((logged + 1)) "$syslog" | head -n $((all - logged)) | grep -E "$telling" |
        while IFS= read -r line; do say "  ${dim}log: $line$plain"; done || true
    logged=$all
    [ -n "$found" ]
}
telling='pam_qrtotp|Accepted |COMMAND='
matches_new() { tail -n +$((logged + 1)) "$syslog" | grep -Eq "$1"; }

failed=0
# expect WHAT COMMAND...: the verdict on a step.
expect() {
    local what=$1
    shift
    if "$@"; then
        say "  ${green}[ok]$plain $what"
    else
        say "  ${red}[WRONG]$plain expected: $what"
        failed=$((failed + 1))
    fi
}

number=0
step() {
    number=$((number + 1))
    say
    say "$bold$number. $*$plain"
}

command_line() { say "  $bold# $*$plain"; }

#
# Inside: the steps
#

ssh_options() {
    printf '%s' "-F none -i $work/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$work/known_hosts -p $port"
}

# question NAME TEXT: goes on to a question, which must come.
question() { see "$1" "$2" || expect "the question \"$2\"" false; }

# ssh_to NAME [COMMAND]: the client on a terminal, up to the question for a code.
ssh_to() {
    command_line "ssh -i key -p $port demo@127.0.0.1${2:+ $2}"
    open_terminal "$1" "ssh $(ssh_options) -o NumberOfPasswordPrompts=1 demo@127.0.0.1 ${2:-}"
    question "$1" 'One-time code: '
}

install_step() {
    step "Install the module, the command and a policy. No PAM stack is touched by that."
    command_line packaging/install.sh
    local said
    said=$(packaging/install.sh)
    while IFS= read -r line && [ -n "$line" ]; do say "  $line"; done <<< "$said"
    expect "the module lies where libpam looks for it" test -n "$(find /usr/lib/ -path '*/security/pam_qrtotp.so')"
}

enroll_step() {
    step "Enroll demo: scan the picture, type the code, keep the recovery codes"
    command_line qrtotp enroll demo
    open_terminal enroll 'qrtotp enroll demo'
    question enroll 'Code from the app: '
    key=$(grep -oE '\b[A-Z2-7]{4}( [A-Z2-7]{4})+\b' <<< "$seen" | tr -d ' \n') || die "no key was shown"
    next_code
    type_in enroll "$code"
    question enroll 'Type one of them back: '
    mapfile -t recovery < <(grep -oE '[A-Z0-9]{4}(-[A-Z0-9]{4})+' <<< "$seen")
    [ ${#recovery[@]} = 10 ] || die "no ten recovery codes were shown"
    type_in enroll "${recovery[2]}"
    expect "demo is enrolled" finish enroll
    expect "ten recovery codes are there" test "$(recovery_left)" = 10
    log_shows 'event=enroll' || true
}

recovery_left() { qrtotp recovery demo --count | grep -oE '[0-9]+' | head -n 1; }

login_step() {
    step "Log in by ssh with the key and a code"
    next_code
    ssh_to session
    type_in session "$code" hidden
    expect "demo is in, and stays for step 6" see session "$prompt"
    expect "the log says so" log_shows 'pam_qrtotp\(sshd:auth\): authentication success;.* reason=code '
}

# refused NAME REASON: the client was turned away, and the log gives the reason.
refused() {
    ! finish "$1" && [[ $seen == *'Permission denied'* ]] && log_shows "pam_qrtotp\(sshd:auth\): authentication failure;.* reason=$2 "
}

used_step() {
    step "From another terminal: the same code again"
    ssh_to again
    type_in again "$code" hidden
    expect "refused: a code is good for one login" refused again replayed
}

wrong_step() {
    step "A wrong code"
    wrong_code
    ssh_to wrong
    type_in wrong "$code" hidden
    expect "refused" refused wrong wrong
}

sudo_step() {
    step "In the session of step 3: sudo, with the password and the next code"
    next_code
    printf '  %s' "$prompt"
    at_start=''
    type_in session 'sudo id -un'
    question session 'password for demo: '
    type_in session "$password" hidden
    question session 'One-time code: '
    type_in session "$code" hidden
    expect "the command ran as root" ran_as_root
    expect "the log says so" log_shows 'pam_qrtotp\(sudo:auth\): authentication success;.* reason=code '
    type_in session exit
    finish session > /dev/null || true
}

ran_as_root() { see session "$prompt" && [[ $seen == *$'\nroot\r\n'* ]]; }

recovery_step() {
    step "The phone is lost: a recovery code, once"
    ssh_to lost 'echo in'
    type_in lost "${recovery[0]}" hidden
    expect "demo is in" finish lost
    expect "the log says so" log_shows 'pam_qrtotp\(sshd:auth\): authentication success;.* reason=recovery '
    ssh_to spent 'echo in'
    type_in spent "${recovery[0]}" hidden
    expect "refused the second time" refused spent recovery_used
    command_line qrtotp recovery demo --count
    qrtotp recovery demo --count | sed 's/^/  /'
    expect "nine are left" test "$(recovery_left)" = 9
}

show_all() {
    install_step
    enroll_step
    login_step
    used_step
    wrong_step
    sudo_step
    recovery_step
    say
    if [ $failed -gt 0 ]; then
        say "${red}${bold}$failed of the steps did not end as they should.$plain The end of the log:"
        tail -n 40 "$syslog"
        return 1
    fi
    say "${bold}Each step ended as it should.$plain"
    say "Nothing of it is left on this machine: what was installed and written lived in memory, and is gone now."
    say "To try it with your own phone: ${SUDO_USER:+sudo }packaging/demo.sh --phone"
}

# The person does it.
show_phone() {
    install_step
    step "Enroll demo: scan the picture with an authenticator app on your phone, and type its code"
    command_line qrtotp enroll demo
    qrtotp enroll demo || die "not enrolled; nothing is left"
    step "Log in, from another terminal${SUDO_USER:+ of $invoker}"
    say
    say "  ssh $(ssh_options) demo@127.0.0.1"
    say
    say "It asks for the next code of your phone: the one you typed above is used up. Then try"
    say "  sudo id                 the password is $password, then a further code"
    say "and in a third terminal the same ssh with a code that was used, a wrong one, a recovery code."
    say "What the log says appears below. Press Enter here to end; nothing will be left."
    say
    tail -n +1 -f "$syslog" | grep --line-buffered -E "$telling" &
    read -r || true
    say "The end: what was installed and written is gone."
}

inside() {
    local size
    if size=$({ stty size < /dev/tty; } 2> /dev/null) && [ "${size#0 }" = "$size" ]; then
        lines=${size% *} columns=${size#* }
    fi
    password=$(perl -e 'printf "open-sesame-%04d", rand 10000')
    # A handler, not "ignore", which programs would inherit: a terminal that has gone is no reason to end.
    trap : PIPE
    make_machine
    make_key
    write_etc
    start_syslog
    start_sshd
    if [ -n "$phone" ]; then show_phone; else show_all; fi
}

outside() {
    [ "$(id -u)" = 0 ] || die "must be run as root; try: sudo $0${*:+ $*}"
    [ -z "$phone" ] || [ -t 0 ] || die "--phone needs a terminal"
    install_missing
    build
    enter_namespaces "$@"
}

work='' phone=''
if [ "${1:-}" = --inside ]; then
    # Never on the machine itself.
    if [ $# -lt 3 ] || [ ! -d "$2" ] || [ "$(mount_namespace)" = "$3" ]; then die "--inside is for its own use"; fi
    work=$2
    shift 3
fi
for argument in "$@"; do
    case $argument in
    --phone) phone=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
PATH=$PATH:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
# Where nothing is said of the locale, the terminal is likely one of today.
[ -n "${LC_ALL:-}${LC_CTYPE:-}${LANG:-}" ] || export LANG=C.UTF-8
cd "$(dirname "$0")/.."
if [ -n "$work" ]; then inside; else outside "$@"; fi

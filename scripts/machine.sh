# What the scripts ask of the machine: is it there, and if not, install it. Sourced, not run.
# Installs only as root, only from Debian's own packages, and only what is missing; without root
# it says exactly what to install. It never calls sudo by itself.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The oldest PostgreSQL that Rowhouse runs on.
POSTGRES_MAJOR_MIN=15
CARGO_DENY_VERSION=0.20.2
# What cargo builds goes where cargo puts it; what the scripts fetch goes below target/ as well.
TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
TOOLS_DIR="${ROWHOUSE_TOOLS_DIR:-$PWD/target/tools}"

say() {
    printf '\033[1m==> %s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command under a title and tells how long it took; a failure names the title. Nothing
# stands behind the command (no ||): bash would go on after a failure inside a function.
step() {
    local started="$SECONDS"
    STEP="$1"
    shift
    say "$STEP"
    "$@"
    STEP=""
    echo "    $((SECONDS - started)) s"
}

STEP=""
trap 'code=$?; [ $code = 0 ] || [ -z "$STEP" ] || echo "error: $STEP failed" >&2' EXIT

am_root() {
    [ "$(id -u)" = 0 ]
}

# Packages that only root can install; told all at once by stop_if_missing.
MISSING=()

# Installs Debian packages, or notes them down. The first argument is what they are for.
install_packages() {
    local purpose="$1"
    shift
    if ! command -v apt-get >/dev/null; then
        fail "$purpose cannot be installed: this machine has no apt-get. Install what Debian calls: $*"
    fi
    if ! am_root; then
        MISSING+=("$@")
        return 1
    fi
    say "installing $purpose: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q >"$PWD/target/apt.log" 2>&1 || fail "apt-get update failed; its output is in target/apt.log"
    apt-get install -q -y --no-install-recommends "$@" >>"$PWD/target/apt.log" 2>&1 ||
        fail "apt-get install failed; its output is in target/apt.log"
}

# Without root, says exactly what to install. Called after all needs have been told.
stop_if_missing() {
    [ ${#MISSING[@]} = 0 ] ||
        fail "packages are missing. Install them as root, then run this again: apt-get update && apt-get install -y ${MISSING[*]}"
}

need_rust() {
    command -v cargo >/dev/null || fail "Rust is missing. Install it with rustup, then run this again."
    # Some crates compile C (cryptography), and rustc links with cc.
    command -v cc >/dev/null || install_packages "a C compiler" gcc libc6-dev || true
}

# Prints the directory of PostgreSQL's server programs, by the order in which Rowhouse looks.
postgres_bin() {
    local directory major
    for directory in ${ROWHOUSE_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n -r) ${PATH//:/ }}; do
        [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ] || continue
        major=$("$directory/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
        if [ "$major" -ge "$POSTGRES_MAJOR_MIN" ]; then
            echo "$directory"
            return
        fi
    done
    return 1
}

need_postgres() {
    postgres_bin >/dev/null && return
    [ -z "${ROWHOUSE_PG_BIN:-}" ] || fail "ROWHOUSE_PG_BIN is set, but $ROWHOUSE_PG_BIN holds no PostgreSQL $POSTGRES_MAJOR_MIN or later."
    # Debian would make and start a cluster of its own, on port 5432, for which there is no use
    # here. The drop-in prevents it during the installation and is gone afterwards.
    local drop_in=/etc/postgresql-common/createcluster.d/rowhouse-install.conf
    if am_root; then
        mkdir -p "${drop_in%/*}"
        echo 'create_main_cluster = false' >"$drop_in"
        trap 'rm -f "$drop_in"' RETURN
    fi
    install_packages "PostgreSQL's server programs" postgresql || return 0
    postgres_bin >/dev/null ||
        fail "this release has no PostgreSQL $POSTGRES_MAJOR_MIN or later. Name its programs with ROWHOUSE_PG_BIN, or a server with ROWHOUSE_DATABASE_URL."
}

need_pgbouncer() {
    if command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; then
        return
    fi
    install_packages "pgbouncer, which a test uses" pgbouncer || return 0
    # The package starts a pooler of its own; the tests start theirs.
    if [ -d /run/systemd/system ]; then
        systemctl disable --now --quiet pgbouncer || true
    else
        service pgbouncer stop >/dev/null 2>&1 || true
    fi
}

# Makes a virtual environment of Python in directory $1.
need_venv() {
    [ -x "$1/bin/python" ] && return
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        install_packages "Python with venv" python3 python3-venv || return 1
    python3 -m venv "$1"
}

# The same, with the packages that follow.
need_python() {
    local directory="$1" wanted
    shift
    wanted="$*"
    [ "$(cat "$directory/installed" 2>/dev/null)" = "$wanted" ] && return
    need_venv "$directory" || return 0
    say "installing into $directory: $wanted"
    "$directory/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    # Written last: an installation that was interrupted is done again.
    echo "$wanted" >"$directory/installed"
}

# Installs packages of Node into directory $1; their names and versions follow.
need_node() {
    local directory="$1" wanted
    shift
    wanted="$*"
    [ "$(cat "$directory/installed" 2>/dev/null)" = "$wanted" ] && return
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install_packages "Node, which a test uses" nodejs npm || return 0
    fi
    say "installing into $directory: $wanted"
    mkdir -p "$directory"
    npm install --prefix "$directory" --no-save --no-audit --no-fund --ignore-scripts --silent "$@"
    # Written last: an installation that was interrupted is done again.
    echo "$wanted" >"$directory/installed"
}

need_chromium() {
    if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then
        return
    fi
    install_packages "Chromium, which tests of passkeys use" chromium || return 0
}

# Sets CARGO_DENY to the program to use; builds it once (two minutes on two cores) if there is none.
need_cargo_deny() {
    local deny
    for deny in "$(command -v cargo-deny || true)" "$TOOLS_DIR/bin/cargo-deny"; do
        if [ -n "$deny" ] && [ -x "$deny" ] && [ "$("$deny" --version)" = "cargo-deny $CARGO_DENY_VERSION" ]; then
            CARGO_DENY="$deny"
            return
        fi
    done
    say "building cargo-deny $CARGO_DENY_VERSION, once"
    cargo install --quiet --locked --root "$TOOLS_DIR" --target-dir "$TARGET_DIR/cargo-deny" \
        cargo-deny --version "$CARGO_DENY_VERSION"
    rm -rf "$TARGET_DIR/cargo-deny"
    CARGO_DENY="$TOOLS_DIR/bin/cargo-deny"
}

# Whether an account without rights can pass through all directories down to $1.
reachable_by_all() {
    local directory="$1"
    while [ "$directory" != / ]; do
        (($(stat -c '0%a' "$directory") & 1)) || return 1
        directory=$(dirname "$directory")
    done
}

# Where the embedded server keeps its data. As root it runs under an account of its own, which
# cannot pass through a private home directory to a checkout in it.
data_dir() {
    if [ -n "${ROWHOUSE_DATA_DIR:-}" ]; then
        echo "$ROWHOUSE_DATA_DIR"
    elif am_root && ! reachable_by_all "$PWD"; then
        echo /var/lib/rowhouse
    else
        echo "$PWD/.rowhouse"
    fi
}

mkdir -p target

#!/bin/sh
# Make .venv, or bring it up to date with pyproject.toml: sh scripts/venv.sh runtime|dev
# PYTHON names the interpreter; without it the newest installed one that is new enough is taken.
set -eu
cd "$(dirname "$0")/.."
wanted=$1
minimum=3.11

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
can_make_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# The version is asked of the interpreter itself: a shim may stand in for one that is not installed.
choose() {
    fallback=
    for python in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        is_new_enough "$python" || continue
        if can_make_venv "$python"; then
            echo "$python"
            return
        fi
        fallback=${fallback:-$python}
    done
    [ -z "$fallback" ] || no_venv "$fallback"
    no_python
}

no_venv() {
    fail "$1 lacks the venv module. Install it with the line for this system, then run make again:" \
        "  Debian, Ubuntu:  sudo apt-get install -y python$(version_of "$1")-venv" \
        "  Fedora:          sudo dnf install -y python3-pip python3-libs" \
        "  macOS:           brew install python@3.13"
}

no_python() {
    found=$(version_of "${PYTHON:-python3}" || true)
    fail "Tndrl needs Python $minimum or newer; ${PYTHON:-python3} is ${found:-not there or does not run}." \
        "Install it with the line for this system, or name one with 'make PYTHON=/path/to/python3.12':" \
        "  Debian 12+, Ubuntu 24.04+:  sudo apt-get install -y python3 python3-venv" \
        "  Fedora:                     sudo dnf install -y python3" \
        "  macOS:                      brew install python@3.13"
}

# Console scripts hold the path of the tree, so a tree that was moved needs a new one.
is_usable() {
    .venv/bin/python -c '' 2>/dev/null || return 1
    grep -qF "$PWD/.venv" .venv/pyvenv.cfg || return 1
    [ -z "${PYTHON:-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of .venv/bin/python)" ]
}

# A development installation is a runtime one too.
stamp=.venv/.installed
state="$(cksum <pyproject.toml)"
is_current() {
    [ -f "$stamp" ] || return 1
    case $(cat "$stamp") in
        "dev $state" | "$wanted $state") return 0 ;;
        *) return 1 ;;
    esac
}

if ! is_usable; then
    python=$(choose)
    echo "Making .venv with $python ($(version_of "$python"))"
    "$python" -m venv --clear .venv
fi
is_current && exit 0
extra=
[ "$wanted" = runtime ] || extra='[dev]'
echo "Installing into .venv; this takes about half a minute ..."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extra"
echo "$wanted $state" >"$stamp"

#!/usr/bin/env bash
# Copyright (c) 2026, local_llm.ops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Make everything that the other targets need: packages of the distribution, two virtual environments, the link that
# makes the checkout an installed collection. Quick when nothing is missing.
#   tools/setup.sh            all of it
#   tools/setup.sh venvs      without the packages of the distribution (lint, sanity and unit need no more)
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

missing_packages() { # prints the names of wanted packages that are not installed
    local name want
    while read -r name _; do
        case $name in '' | '#'*) continue ;; esac
        want=${name%\?}
        if ! dpkg-query -W -f '${Status}' "$want" 2>/dev/null | grep -q 'ok installed'; then
            echo "$name"
        fi
    done <"$ROOT/tools/packages.txt"
}

setup_packages() {
    if ! command -v dpkg-query >/dev/null; then
        die "this is not Debian or Ubuntu: there is no dpkg. The lab needs Debian or Ubuntu; make lint, sanity and unit work anywhere."
    fi
    local missing=() required=() name
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        for name in "${missing[@]}"; do
            case $name in *\?) warn "package ${name%\?} is not installed; what needs it is skipped" ;; *) required+=("$name") ;; esac
        done
        [ ${#required[@]} -eq 0 ] || die "packages are missing and only root can install them: sudo apt-get install ${required[*]}"
        return 0
    fi
    say "packages: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || warn "apt-get update failed; going on with the package lists at hand"
    for name in "${missing[@]}"; do
        case $name in
        *\?) apt-get install -qq -y --no-install-recommends "${name%\?}" >/dev/null ||
            warn "package ${name%\?} could not be installed; what needs it is skipped" ;;
        *) required+=("$name") ;;
        esac
    done
    if [ ${#required[@]} -gt 0 ]; then
        apt-get install -qq -y --no-install-recommends "${required[@]}" >/dev/null ||
            die "apt-get could not install: ${required[*]}. Look at the lines above, mend the apt sources, then: make setup"
    fi
}

# find_python VERSION...: the path of the first interpreter that runs, is of that version and can make an environment.
find_python() {
    local version candidate
    for version in "$@"; do
        for candidate in "python$version" python3 \
            "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version"*/bin/python3 /opt/python*/bin/python3 "/usr/local/bin/python$version"; do
            if "$candidate" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
                # The path behind a pyenv shim: a shim stops working when the chosen version changes.
                "$candidate" -c 'import sys; print(sys.executable)'
                return 0
            fi
        done
    done
    return 1
}

# make_venv DIRECTORY REQUIREMENTS VERSION...
make_venv() {
    local venv=$1 requirements=$2 python wanted stamp=$1/.local_llm_stamp
    shift 2
    wanted=$(cat "$requirements" "$ROOT/tests/constraints.txt" | sha256sum | cut -d' ' -f1)
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "virtual environment $venv: bringing it up to date"
    else
        python=$(find_python "$@") || return 2
        say "virtual environment $venv: making it with $python"
        # A link is taken away, what it points to is not ours to delete.
        if [ -L "$venv" ]; then rm "$venv"; else rm -rf "$venv"; fi
        "$python" -m venv "$venv"
    fi
    rm -f "$stamp"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$requirements" -c "$ROOT/tests/constraints.txt" 2> >(grep -v "is ignored: it is neither a file nor a directory" >&2) ||
        die "pip could not install $requirements into $venv. Look at the lines above: is the package index reachable (pip config list)?"
    echo "$wanted" >"$stamp"
}

setup_venvs() {
    local rc=0
    mkdir -p "$BUILD" "$(dirname "$COLLECTION")"
    if [ "$(readlink "$COLLECTION" 2>/dev/null)" != "$ROOT" ]; then
        rm -f "$COLLECTION"
        ln -s "$ROOT" "$COLLECTION"
    fi
    make_venv "$VENV" "$ROOT/tests/requirements.txt" 3.11 3.12 3.13 3.14 || rc=$?
    [ "$rc" -ne 2 ] || die "no Python from 3.11 to 3.14 with the venv module was found. Debian and Ubuntu: apt-get install python3-venv"
    [ "$rc" -eq 0 ] || exit "$rc"
    make_venv "$VENV_NEXT" "$ROOT/tests/requirements-next.txt" 3.13 3.12 3.14 || rc=$?
    if [ "$rc" -eq 2 ]; then
        echo "    no Python 3.12 or newer at hand: the unit tests run with one version of ansible-core only"
    elif [ "$rc" -ne 0 ]; then
        exit "$rc"
    fi
}

# promtool tries the alert rules. It is unpacked from its package: installing that would start a Prometheus.
setup_promtool() {
    if command -v promtool >/dev/null || [ -x "$PROMTOOL/promtool" ]; then return 0; fi
    if ! command -v apt-get >/dev/null; then
        warn "promtool is not installed; the unit tests of alert rules fail without it. It comes with Prometheus."
        return 0
    fi
    local place
    place=$(mktemp -d)
    say "promtool: taking it from the package prometheus"
    if ! (cd "$place" && { apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } 2>/dev/null &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && mkdir -p "$PROMTOOL" && mv usr/bin/promtool "$PROMTOOL/"); then
        warn "the package prometheus could not be loaded; the unit tests of alert rules fail without promtool"
    fi
    rm -rf "$place"
}

start=$SECONDS
case ${1:-all} in
venvs)
    setup_venvs
    setup_promtool
    ;;
all)
    setup_packages
    setup_venvs
    setup_promtool
    printf '==> setup: ready in %s s: %s%s\n' "$((SECONDS - start))" \
        "$("$VENV/bin/python" -c 'import ansible.release as r, sys; print("Python %d.%d, ansible-core %s" % (*sys.version_info[:2], r.__version__))')" \
        "$([ ! -x "$VENV_NEXT/bin/python" ] || "$VENV_NEXT/bin/python" -c 'import ansible.release as r, sys; print("; Python %d.%d, ansible-core %s" % (*sys.version_info[:2], r.__version__))')"
    ;;
*) die "unknown word '$1'. Usage: tools/setup.sh [all|venvs]" ;;
esac

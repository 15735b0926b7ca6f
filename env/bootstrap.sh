#!/bin/sh
# Makes .venv with the pins of env/requirements.txt and with this package, or does nothing where that is done.
# PYTHON=... names the interpreter, MIN_FREE_GB=... replaces the 4 GB of free disk that an install needs.
# Every failure is one sentence with its cure.
set -eu
cd "$(dirname "$0")/.."
unset PIP_USER PIP_TARGET PIP_PREFIX PYTHONHOME  # they would lead an install away from .venv

stop() {
    echo "setup: $1" >&2
    exit 1
}

version() { # "3.11", or "missing" for a command that does not run or is no Python
    found="$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || found=""
    echo "${found:-missing}"
}

supported() {
    case "$(version "$1")" in 3.11 | 3.12 | 3.13 | 3.14) ;; *) return 1 ;; esac
}

key() { # changes with the pins, the package's metadata and the folder
    "$1" -c '
import hashlib, os
parts = [open(name, "rb").read() for name in ("env/requirements.txt", "pyproject.toml")]
print(hashlib.sha256(b"\0".join([*parts, os.getcwd().encode()])).hexdigest())' 2>/dev/null || echo unknown
}

choose() { # sets $python
    seen="" without_venv=""
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set --
        for wanted in 3.14 3.13 3.12 3.11; do # the newest first, whatever it is called
            for python in "python$wanted" python3 python; do
                [ "$(version "$python")" != "$wanted" ] || set -- "$@" "$python"
            done
        done
        [ $# -gt 0 ] || set -- python3.14 python3.13 python3.12 python3.11 python3
    fi
    for python in "$@"; do
        if ! supported "$python"; then
            seen="$seen, $python is $(version "$python")"
        elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            without_venv="$python"
        else
            return 0
        fi
    done
    [ -z "$without_venv" ] ||
        stop "$without_venv has no venv module; install it (Debian, Ubuntu: apt install python3-venv) or name another interpreter with PYTHON=/path/to/python."
    stop "Python 3.11 to 3.14 is needed (${seen#, }); install python3.12 or name one with PYTHON=/path/to/python3.12."
}

install() { # pip's own index settings apply
    .venv/bin/python -m pip install --disable-pip-version-check "$@" >>.venv/install.log 2>&1 ||
        stop "pip stopped with '$(tail -n 1 .venv/install.log)'; check network and free disk and repeat the command, it goes on from here (all output: .venv/install.log)."
}

case "${OS:-}" in
Windows*) stop "Windows is not supported; install WSL (wsl --install), clone the repository in its Linux, and run make there." ;;
esac
if [ -n "${PYTHON:-}" ] && [ -x .venv/bin/python ] && [ "$(version "$PYTHON")" != "$(version .venv/bin/python)" ]; then
    stop ".venv is of Python $(version .venv/bin/python), not of $PYTHON; remove .venv to make a new one."
fi
if [ -f .venv/installed ] && [ "$(cat .venv/installed)" = "$(key .venv/bin/python)" ]; then
    exit 0
fi

choose
need="${MIN_FREE_GB:-4}"
df -Pk . | awk -v need="$need" 'NR == 2 { exit $4 < need * 1048576 }' ||
    stop "an install needs $need GB of free disk where $PWD is; free some, or move the repository to another disk."
{ mkdir -p .venv && [ -w .venv ]; } 2>/dev/null ||
    stop "cannot write to $PWD/.venv; move the repository to a folder that you may write to."

if ! supported .venv/bin/python || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear .venv >/dev/null 2>&1 ||
        stop "$python -m venv .venv fails; name another interpreter with PYTHON=/path/to/python."
fi
rm -f .venv/installed
echo "setup: installing env/requirements.txt into .venv, some minutes; follow it in .venv/install.log"
install -r env/requirements.txt
install --no-deps --no-build-isolation --editable .
# On the path, too: a folder that happens to be called ciacore would win against an editable install alone.
for site in .venv/lib/python*/site-packages; do
    if [ -d "$site" ]; then printf '%s\n' "$PWD" "$PWD/notebooks" >"$site/ciacore-path.pth"; fi
done
key .venv/bin/python >.venv/installed.part
mv .venv/installed.part .venv/installed
echo "setup: done"

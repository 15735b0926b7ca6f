#!/bin/sh
# Makes StarCraft II 4.10 and SMAC usable from .venv, on Linux. Run it again after each thing it asks for.
# It downloads what is free to download. Blizzard's licence is between you and Blizzard: unzip asks you for the password
# that stands for accepting it, and this script neither knows nor passes it on.
set -eu
cd "$(dirname "$0")/../.."
SC2PATH="${SC2PATH:-$HOME/StarCraftII}"
ARCHIVE="${SC2_ARCHIVE:-$HOME/SC2.4.10.zip}"
SMAC="https://github.com/oxwhirl/smac.git"
COMMIT="d6aab33" # 2024-02-18

stop() {
    echo "starcraft2: $1" >&2
    exit 2
}

[ -x .venv/bin/python ] || stop "no .venv here; run make setup first."
for command in git unzip curl; do
    command -v "$command" >/dev/null || stop "$command is needed; install it (Debian, Ubuntu: apt install $command)."
done
if .venv/bin/python -c 'import smac.env' 2>/dev/null; then
    echo "starcraft2: SMAC is installed."
elif .venv/bin/python -c 'import smac' 2>/dev/null; then
    stop "the package smac of PyPI is installed; it is SMAC3, an optimiser, in the place of the one needed: .venv/bin/pip uninstall smac"
else
    .venv/bin/python -m pip install --disable-pip-version-check pys2clientprotocol==1.0.2 absl-py portpicker websocket-client
    .venv/bin/python -m pip install --disable-pip-version-check --no-deps pysc2==4.0.0
    .venv/bin/python -m pip install --disable-pip-version-check --no-deps "git+$SMAC@$COMMIT"
fi
if [ ! -d "$SC2PATH/Versions/Base75689" ]; then
    [ -f "$ARCHIVE" ] || stop "no StarCraft II 4.10 in $SC2PATH. Read Blizzard's licence at https://github.com/Blizzard/s2client-proto#downloads, download SC2.4.10.zip from there to $ARCHIVE (SC2_ARCHIVE=... names another place), and run this again."
    echo "starcraft2: unzip asks for the password; Blizzard's page gives it, and says what typing it means."
    unzip -q "$ARCHIVE" -d "$(dirname "$SC2PATH")"
    [ -d "$SC2PATH/Versions/Base75689" ] || stop "the archive is not that of 4.10: no Versions/Base75689 in $SC2PATH."
fi
maps="$SC2PATH/Maps/SMAC_Maps"
if [ ! -f "$maps/corridor.SC2Map" ]; then
    clone="$(mktemp -d)"
    trap 'rm -rf "$clone"' EXIT
    git clone --quiet "$SMAC" "$clone"
    git -C "$clone" checkout --quiet "$COMMIT"
    mkdir -p "$maps"
    cp "$clone"/smac/env/starcraft2/maps/SMAC_Maps/*.SC2Map "$maps" # no wheel of SMAC holds them
fi
[ -f "$maps/7sz.SC2Map" ] || echo "starcraft2: 7sz.SC2Map is not among SMAC's maps; copy it from the authors' code, github.com/liushunyu/CIA, to $maps."
echo "starcraft2: ready. Try: SC2PATH=$SC2PATH .venv/bin/papermill notebooks/train.ipynb run.ipynb -k python3 -p game smac_6h_vs_8z -p env_steps 1000"

#!/bin/sh
# What this book leaves open until somebody has a GPU, measured in one go (`make gpu`): its first minutes, which decide the
# design (env/gpu/), the tests that need one, the speed of training there, and the run time of every notebook. A stage that fails stops no other; the exit code counts failures.
# PY=... names another interpreter than .venv's; METHODS="qmix" measures fewer methods.
# Where there is no network, .gpu/ holds what the machine lacks (env/pack.py).
set -u
cd "$(dirname "$0")/.."
PY="${PY:-.venv/bin/python}"
failed=0

if [ -d .gpu ]; then
    [ -e .git ] || { cp -R .gpu/git .git && git reset --quiet; } # knows the commit, holds no file
    "$PY" -m pip install --quiet --no-index --no-deps --upgrade --target .gpu/site .gpu/wheels/*.whl || exit 1
    export PYTHONPATH="$PWD/.gpu/site${PYTHONPATH:+:$PYTHONPATH}"
fi
export XLA_PYTHON_CLIENT_PREALLOCATE=false # JAX would take three quarters of the memory that torch needs, too
export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-32}" # branches of a graph that share one wait
export PYTHONPATH="$PWD:$PWD/notebooks:$PWD/tests${PYTHONPATH:+:$PYTHONPATH}"

"$PY" env/gpu/first_minutes.py --ask || exit 2 # says that there is no GPU

stage() { # TITLE COMMAND...
    echo "== $1"
    shift
    "$@" || { failed=$((failed + 1)) && echo "failed: $*" >&2; }
}

stage "the first minutes" "$PY" env/gpu/first_minutes.py
stage "tests on the GPU" "$PY" tests/reports/write.py --report test-gpu.txt -m gpu
stage "speed" "$PY" -m bench.gpu ${METHODS:+--methods $METHODS}
stage "the notebooks, trained on the GPU" "$PY" book/build.py --execute-only --device cuda ${BUILD:-}
stage "run times" "$PY" -m ciabook.page.notebook_times
echo "Written where no stage failed: book/results/bench/gpu_first_minutes.json, tests/reports/test-gpu.txt, book/results/bench/gpu.json, book/data/durations.json"
exit "$failed"

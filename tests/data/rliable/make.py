"""Records what rliable says of two made-up tables of scores.

Run it in an environment of its own:

python -m venv /tmp/rliable && /tmp/rliable/bin/pip install "rliable==1.2.0" "pandas<3"
/tmp/rliable/bin/python tests/data/rliable/make.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

rng = np.random.default_rng(7)
tables = {
    "ours": rng.normal(0.6, 0.2, (5, 7)).round(2),
    "theirs": rng.normal(0.5, 0.3, (4, 7)).round(2),
}
REPS = 50_000
means, intervals = library.get_interval_estimates(
    tables,
    lambda x: np.array([metrics.aggregate_iqm(x)]),
    reps=REPS,
    random_state=np.random.RandomState(0),
)
pairs = {"ours,theirs": (tables["ours"], tables["theirs"])}
better, better_interval = library.get_interval_estimates(
    pairs,
    metrics.probability_of_improvement,
    reps=2_000,
    random_state=np.random.RandomState(0),
)
recorded = {
    "versions": {
        name: version(name) for name in ("rliable", "numpy", "pandas", "arch", "scipy")
    },
    "tables": {name: table.tolist() for name, table in tables.items()},
    "iqm": {name: float(value[0]) for name, value in means.items()},
    "iqm_interval": {
        name: np.ravel(value).tolist() for name, value in intervals.items()
    },
    "probability_of_improvement": float(np.ravel(better["ours,theirs"])[0]),
    "probability_interval": np.ravel(better_interval["ours,theirs"]).tolist(),
}
Path(__file__).with_name("recorded.json").write_text(
    json.dumps(recorded, indent=1) + "\n"
)

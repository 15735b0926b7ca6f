# Schedules the runs of a study, on this machine or on a cluster.
# `python -m ciabook.studies.lab run STUDY` calls it.
#
# Which runs are missing, and whether one succeeded, is the library's to say: truth lies
# in the run folders. So the only outputs here are stamps, and a run that is done, or
# that another process trains, is left alone by `lab exec`.
import json
import subprocess

LAB = [config["python"], "-m", "ciabook.studies.lab"]
PLACE = ["--results", config["results"], "--device", config.get("device", "cpu")]
ASKED = [*LAB, "missing", config["study"], *PLACE]
KEYS = json.loads(subprocess.run(ASKED, check=True, capture_output=True).stdout)
# "1", or "1+2+3" where seeds share a GPU
SEEDS = sorted({key.split("~")[-1] for key in KEYS})


rule all:
    input:
        [f"stamps/{key}" for key in KEYS],


for seed in SEEDS:

    rule:
        name:
            "seed_" + seed.replace("+", "_")
        output:
            temp(touch(f"stamps/{{run}}~{seed}")),
        wildcard_constraints:
            run="[A-Za-z0-9_.~+-]+",
        # every method's first seed, then every method's second
        priority: 1000 - int(seed.split("+")[0])
        threads: 1
        resources:
            mem_mb=2000,
            runtime=config.get("minutes", 240),
        params:
            lab=" ".join(LAB),
            place=" ".join(PLACE),
            study=config["study"],
            seed=seed,
        shell:
            "exec {params.lab} exec {params.study} '{wildcards.run}~{params.seed}' {params.place}"

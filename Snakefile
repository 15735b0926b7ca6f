# Schedules the runs of a study, on this machine or on a cluster.
# `python -m ciabook.studies.lab run STUDY` calls it and writes its configuration.
#
# Which runs are missing, and whether one succeeded, is the library's to say: truth lies
# in the run folders. So the only outputs here are stamps, and a run that is done, or
# that another process trains, is left alone by `lab exec`.
from urllib.parse import quote, unquote

STUDY, PLAN = config["study"], config["plan"]  # key of what is missing: what it needs
LAB = [config["python"], "-m", "ciabook.studies.lab"]
PLACE = ["--results", config["results"], "--device", config["device"]]
# a key as the name of a file
STAMPS = [quote(key, safe="~+") for key in PLAN]
# "1", or "1+2+3" where seeds share a GPU
SEEDS = sorted({key.split("~")[-1] for key in PLAN})


def key(wildcards, seed):
    return unquote(f"{wildcards.run}~{seed}")


def command(seed):
    return lambda wildcards: [*LAB, "exec", STUDY, key(wildcards, seed), *PLACE]


def memory(seed):
    return lambda wildcards: PLAN[key(wildcards, seed)]["mem_mb"]


rule all:
    input:
        [f"stamps/{stamp}" for stamp in STAMPS],


for seed in SEEDS:

    rule:
        name:
            "seed_" + seed.replace("+", "_")
        output:
            temp(touch(f"stamps/{{run}}~{seed}")),
        wildcard_constraints:
            run="[^/]+",
        # every method's first seed, then every method's second
        priority: 1000 - int(seed.split("+")[0])
        threads: 1
        resources:
            mem_mb=memory(seed),
            runtime=config["minutes"],
        params:
            command=command(seed),
        shell:
            "exec {params.command:q}"

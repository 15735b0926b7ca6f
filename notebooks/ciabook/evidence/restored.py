"""The networks of a stored run, as they were at the end of training."""

from __future__ import annotations

import torch
from torch import nn

from ciacore.methods import Parts, assemble
from ciacore.runtime.store import Run
from ciacore.types import Spec, refuse


def restored(run: Run, spec: Spec) -> Parts:
    """Agent, mixer, objective, terms and auxiliaries with the weights of a run.

    Args:
        run: a stored run.
        spec: of the game it was trained on.

    Raises:
        InvalidInputError: the run was kept without weights, or they do not fit a game
            of these sizes.
    """
    if not run.weights:
        cure = "Weights are kept for the first seeds only: take one of those, or train this run again."
        refuse(
            "run",
            "a run with weights",
            f"{run.game}/{run.config.method}/seed_{run.seed} without",
            cure,
        )
    with torch.random.fork_rng(devices=[]):
        parts = assemble(spec, run.config)
    groups = {
        "agent": parts.agent,
        "mixer": parts.mixer,
        "backbone": parts.objective,  # the name under which weights are stored
        "terms": nn.ModuleDict(parts.terms),
        "auxiliaries": nn.ModuleDict(parts.auxiliaries),
    }
    try:
        nn.ModuleDict(groups).load_state_dict(run.weights)
    except RuntimeError as error:
        refuse(
            "spec",
            f"that of the game of this run, {run.game}",
            spec,
            str(error).splitlines()[-1].strip(),
        )
    return parts

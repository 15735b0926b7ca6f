"""A study of one's own: does the width of the agents matter in the first steps?

make study STUDY=examples/own_study.py
"""

from ciabook.studies.runs import sweep

from ciacore import METHODS

STUDY = sweep(METHODS["qmix_cia"].but(env_steps=2_000), hidden_size=[32, 64])
GAME = "turn"
SEEDS = [11]

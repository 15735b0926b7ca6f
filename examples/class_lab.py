"""The lab of the page on teaching: how often does a team set out?

    cp examples/class_lab.py lab.py         SEEDS: ten of your own, 1001 or above
    make study STUDY=lab.py JOBS=2          twenty runs, into runs/lab

The arms are those of the experiment on what wakes a team, so that its chapter reads
them. The book used no seed above 1000.
"""

from ciabook.studies.wake import WAKE

STUDY = [WAKE["qmix"], WAKE["cia"]]
GAME = "turn"
SEEDS = range(1010, 1020)  # those of pair 1; pair 2 has range(1020, 1030)

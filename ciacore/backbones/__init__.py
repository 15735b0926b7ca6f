"""The backbones: what a method regresses on which target. A new one is a new file here and one line in BACKBONES.

A backbone owns the networks it needs beside agent and mixer, and offers two functions: the joint value of the greedy
actions, asked of the target networks, and the losses of an online pass.
"""

from ciacore.backbones.qtran import QTRAN
from ciacore.backbones.temporal_difference import TemporalDifference
from ciacore.backbones.weighted import Weighted

BACKBONES = {
    "td": TemporalDifference,
    "qtran": QTRAN,
    "weighted": Weighted,
}

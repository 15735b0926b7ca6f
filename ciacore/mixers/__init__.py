"""The mixers: (utilities, state) -> Mixed. A new one is a new file here and one line in MIXERS."""

from functools import partial

from ciacore.mixers.central import Central
from ciacore.mixers.qmix import QMIX
from ciacore.mixers.qplex import QPLEX
from ciacore.mixers.shuffled import Shuffled
from ciacore.mixers.value_sum import ValueSum
from ciacore.mixers.vdn import VDN

MIXERS = {
    "vdn": VDN,
    "qmix": QMIX,
    "shuffled_qmix": partial(Shuffled, QMIX),
    "qplex": QPLEX,
    "value_sum": ValueSum,
    "central": Central,
}

"""The mixers: (utilities, state) -> Mixed. A new one is a new file here and one line in MIXERS."""

from ciacore.mixers.qmix import QMIX
from ciacore.mixers.vdn import VDN

MIXERS = {
    "vdn": VDN,
    "qmix": QMIX,
}

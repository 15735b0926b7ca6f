"""ciacore: value decomposition with contrastive identity-aware credits (Liu et al. 2023), readable in one sitting."""

from ciacore.config import Config
from ciacore.methods import METHODS
from ciacore.mixers import MIXERS
from ciacore.runtime.experiment import train

__version__ = "0.1.0"
__all__ = ["METHODS", "MIXERS", "Config", "__version__", "train"]

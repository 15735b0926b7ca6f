"""Tables of a game that are looked up in numpy or in torch, on any device."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ciacore.fast.arrays import tensor
from ciacore.types import Array


class Lookup:
    """A named tuple of numpy tables, and its copies in torch, one for each device.

    A copy is made where one is needed first, and stays: a captured iteration may read
    it, but could not make it.
    """

    def __init__(self, tables: Any) -> None:
        """Keeps the tables.

        Args:
            tables: a named tuple of numpy arrays, which must not be written to.
        """
        self.tables = tables
        self._in_torch: dict[torch.device, Any] = {}

    def __getstate__(self) -> dict[str, object]:
        """Without the tensors, which another process makes where it needs them."""
        return {**self.__dict__, "_in_torch": {}}

    def beside(self, array: Array) -> Any:
        """The tables in the library, and on the device, of an array."""
        if isinstance(array, np.ndarray):
            return self.tables
        if array.device not in self._in_torch:
            copies = [tensor(table).to(array.device) for table in self.tables]
            self._in_torch[array.device] = type(self.tables)(*copies)
        return self._in_torch[array.device]

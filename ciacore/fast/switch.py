"""The one switch of this folder: with CIACORE_FAST=0 everything is computed plainly."""

from __future__ import annotations

import os


def on() -> bool:
    """Whether the fast ways are taken, as by default."""
    return os.environ.get("CIACORE_FAST", "1") != "0"

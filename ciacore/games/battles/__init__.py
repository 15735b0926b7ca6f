"""The six battles of the paper, on SMAX and on StarCraft II."""

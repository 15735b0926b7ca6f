"""Turn beside the library: scripted players, a PettingZoo view."""

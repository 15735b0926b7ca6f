"""Battles beside the library: recordings, tactics, scripted players, difficulty."""

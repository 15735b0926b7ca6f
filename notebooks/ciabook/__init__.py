"""What notebooks share in addition to the library.

In it are checked parameters, a progress bar, figures, statistics, studies, scripted
players and rechecks.
"""

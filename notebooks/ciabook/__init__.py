"""What notebooks share beside the library: checked parameters, a progress bar, figures, scripted players, rechecks."""

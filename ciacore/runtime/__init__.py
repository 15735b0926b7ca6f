"""What keeps a training going: processes, checkpoints, CUDA graphs, run folders."""

"""Programs of one kernel, ``kernels/tile.cu``: each block holds the numbers of some samples in its tile."""

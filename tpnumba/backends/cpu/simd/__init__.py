"""What kernels are written with: operations on columns of a tile, and rows of memory in and out."""

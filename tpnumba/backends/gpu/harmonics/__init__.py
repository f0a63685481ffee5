"""Spherical harmonics of points: lowered to tables of recursions and ladders, read by ``kernels/harmonics.cu``."""

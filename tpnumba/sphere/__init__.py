"""Functions and rotations of the sphere: spherical harmonics, Wigner D."""

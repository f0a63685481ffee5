"""Functions and rotations of the sphere: harmonics, Wigner D, synthesis and analysis, other conventions."""

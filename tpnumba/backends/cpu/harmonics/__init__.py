"""Spherical harmonics and their derivatives: tables, recursion, gradients, and the kernel."""

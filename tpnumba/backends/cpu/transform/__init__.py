"""Transforms, syntheses and analyses: lists of operations, and the kernel that works them."""

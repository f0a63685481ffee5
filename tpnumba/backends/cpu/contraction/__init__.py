"""Contractions: tables of products and sums, and the kernel that reads them."""

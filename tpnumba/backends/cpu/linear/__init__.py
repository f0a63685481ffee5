"""Linear maps of features: the copies of joined blocks side by side, one product by BLAS, and apart again."""

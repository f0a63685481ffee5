"""CUDA sources, as files beside this one; :mod:`tpnumba.backends.gpu.sources` puts them together."""

"""Float64 NumPy tables of the rotation group: cached, read-only, the only home of conventions."""

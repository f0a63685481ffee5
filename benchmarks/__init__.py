"""tpnumba against its peers: ``python -m benchmarks``, or ``nox -s bench_peers`` with every peer installed."""

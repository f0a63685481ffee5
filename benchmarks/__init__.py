"""tpnumba against its peers: ``python -m benchmarks``, or ``python -m nox -s bench_peers`` with every peer installed."""

"""Refusing what cannot fit in memory, with its size, before any of it is allocated."""

from __future__ import annotations

import os

#: A request of at most this many bytes is not looked at: asking the system takes longer than the work would.
SMALL = 2**26


def available_bytes() -> int:
    """Memory this process may still take, in bytes, as the operating system reports it; else a 64-bit limit."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**63 - 1


def readable_size(n_bytes: float) -> str:
    """``n_bytes`` in the unit that keeps the number short."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if n_bytes < 1024 or unit == "TiB":
            break
        n_bytes /= 1024
    return f"{n_bytes:,.0f} {unit}" if unit == "bytes" else f"{n_bytes:,.1f} {unit}"


def require_memory(n_bytes: int, what: str) -> None:
    """Raise ``MemoryError`` if ``n_bytes`` for ``what`` exceed the memory that is available."""
    if n_bytes > SMALL and n_bytes > (free := available_bytes()):
        raise MemoryError(f"{what} would take {readable_size(n_bytes)}, and {readable_size(free)} are available")

"""The clock and the limits of a GPU, through CuPy."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

_FMA = """
extern "C" __global__ void chains(float* out, int rounds) {
    float a = threadIdx.x, b = a + 1, c = a + 2, d = a + 3;
    for (int i = 0; i < rounds; ++i) {
#pragma unroll 16
        for (int k = 0; k < 16; ++k) {
            a = fmaf(a, 0.999f, 0.5f);
            b = fmaf(b, 0.999f, 0.5f);
            c = fmaf(c, 0.999f, 0.5f);
            d = fmaf(d, 0.999f, 0.5f);
        }
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = a + b + c + d;
}
"""
_FLOPS_A_ROUND = 16 * 4 * 2


class Gpu:
    """The current device."""

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.get_device_id())
        self.name = properties["name"].decode()
        self.multiprocessors = int(properties["multiProcessorCount"])
        # Several times what the caches hold. Writing it takes the device longer than the host needs to queue a call, so
        # that the time between two events is that of the device alone.
        self.flushed = cupy.empty(max(2**30, 8 * int(properties["l2CacheSize"])), dtype="uint8")

    def array(self, values: Any) -> Any:
        """A NumPy array there."""
        return self.cupy.asarray(values)

    def host(self, array: Any) -> Any:
        """An array from there, as NumPy's."""
        return array.get()

    def seconds(self, function: Callable[[], object], repeats: int = 15) -> float:
        """The median time of a call, warm, with nothing of it in the caches."""
        cupy = self.cupy
        for _ in range(3):
            function()
        stream = cupy.cuda.get_current_stream()
        times = []
        for _ in range(repeats):
            start, stop = cupy.cuda.Event(), cupy.cuda.Event()
            self.flushed.fill(0)
            start.record(stream)
            function()
            stop.record(stream)
            stop.synchronize()
            times.append(cupy.cuda.get_elapsed_time(start, stop) * 1e-3)
        return statistics.median(times)

    def limits(self) -> dict[str, float]:
        """Bytes a second of a copy, read and written together, and float32 operations a second of multiply-adds."""
        cupy = self.cupy
        source, target = (cupy.zeros(2**27, dtype="float32") for _ in range(2))
        copied = self.seconds(lambda: cupy.copyto(target, source))
        blocks, threads, rounds = 32 * self.multiprocessors, 256, 2048
        out = cupy.empty(blocks * threads, dtype="float32")
        kernel = cupy.RawKernel(_FMA, "chains")
        computed = self.seconds(lambda: kernel((blocks,), (threads,), (out, cupy.int32(rounds))))
        return {
            "bytes_per_second": 2 * source.nbytes / copied,
            "flops_per_second": blocks * threads * rounds * _FLOPS_A_ROUND / computed,
        }

"""The figures of the pages, drawn from results and from the products themselves.

``python docs/figures.py`` draws the figure of the README anew, from ``benchmarks/results``.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt

import tpnumba as tp
from tpnumba.measures.selection import candidates, select
from tpnumba.studies.coupling_figure import figure as pattern

HERE = Path(__file__).parent
RESULTS = HERE.parent / "benchmarks" / "results" / "cpu-amd-epyc.json"
README_FIGURE = HERE / "images" / "trade-off.png"

#: Groups of the benchmark, with the names and colours of the products that they time.
PRODUCTS = {
    "mimo-all": ("Clebsch-Gordan (complete)", "black"),
    "vector-cross": ("vector spherical, cross", "tab:green"),
    "vector-dot": ("vector spherical, dot", "tab:olive"),
    "gaunt": ("Gaunt", "tab:blue"),
    "bracket": ("bracket", "tab:orange"),
    "gaunt-bracket": ("Gaunt and bracket", "tab:purple"),
    "matrix": ("matrix", "tab:red"),
}
_LABELLED = (2, 8)


def trade_off(path: Path) -> None:
    """Time against expressivity, one line a product and one point a degree, into a PNG."""
    document = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for group, (name, colour) in PRODUCTS.items():
        timed: dict[int, tuple[int, list[float]]] = {}
        for work in document["works"]:
            kind = work["group"], work["task"], work["dtype"], work["status"]
            if kind == (group, "forward", "float32", "timed") and "tpnumba" in work["times"]:
                _, found = timed.setdefault(work["lmax"], (work["expressivity"], []))
                found.append(work["times"]["tpnumba"]["seconds"] / work["batch"])
        degrees = [degree for degree in sorted(timed) if degree <= max(_LABELLED)]
        x = [timed[degree][0] for degree in degrees]
        y = [median(timed[degree][1]) * 1e6 for degree in degrees]
        axis.plot(x, y, "o-", color=colour, label=name, markersize=4, linewidth=1.2)
        for degree, *point in zip(degrees, x, y, strict=True):
            if degree in _LABELLED:
                axis.annotate(f"{degree}", point, (4, -8), textcoords="offset points", color=colour, fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="expressivity (dimensions of the maps that are reached)")
    machine = document["machine"]
    axis.set(ylabel="microseconds a sample", title=f"degrees 0 to L in, 0 to 2L out; float32; {machine['processor']}")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, title="numbers: L", title_fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def couplings(path: Path, lmax: int = 3) -> None:
    """Which degrees each product couples, and how strongly, into a PNG."""
    irreps = tp.Irreps.spherical_harmonics(lmax)
    products = {
        "FullTensorProduct": tp.FullTensorProduct(irreps, irreps),
        "GauntTensorProduct": tp.GauntTensorProduct(lmax, lmax),
        "BracketTensorProduct": tp.BracketTensorProduct(lmax, lmax),
        "GauntBracketTensorProduct": tp.GauntBracketTensorProduct(lmax, lmax),
        f"MatrixTensorProduct, degree {lmax}": tp.MatrixTensorProduct(lmax, lmax),
        "VectorSpherical..., cross": tp.VectorSphericalTensorProduct(lmax, lmax, kind="cross", j1=range(lmax + 1)),
        "VectorSpherical..., dot": tp.VectorSphericalTensorProduct(lmax, lmax, kind="dot", j1=range(lmax + 1)),
    }
    figure, axes = plt.subplots(3, 3, figsize=(9, 9), layout="constrained")
    for axis, (name, product) in zip(axes.flat, products.items(), strict=False):
        _draw_couplings(axis, product, lmax)
        axis.set_title(name, fontsize=9)
    for rest in axes.flat[len(products) :]:
        rest.axis("off")
    legend = axes.flat[len(products)]
    for label, colour, face in (
        ("even $l_1 + l_2 + l_3$", "tab:blue", "tab:blue"),
        ("odd $l_1 + l_2 + l_3$", "tab:orange", "tab:orange"),
        ("not coupled", "0.75", "none"),
    ):
        legend.scatter([], [], s=40, edgecolors=colour, facecolors=face, label=label)
    legend.legend(loc="center", frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _draw_couplings(axis: plt.Axes, product: tp.FullTensorProduct, lmax: int) -> None:
    """One box for each (l1, l2), in it one dot for each l3 of the triangle, from left to right."""
    strengths: dict[tuple[int, int, int], float] = {}
    for path in product.paths:
        triple = path.ir1.l, path.ir2.l, path.ir_out.l
        strengths[triple] = strengths.get(triple, 0.0) + path.scale**2
    largest = max(strengths.values())
    for l1 in range(lmax + 1):
        for l2 in range(lmax + 1):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                x, y = l2 + (l3 - max(l1, l2)) / (2 * lmax + 2), l1
                strength = strengths.get((l1, l2, l3))
                if strength is None:
                    axis.scatter(x, y, s=11, facecolors="none", edgecolors="0.75", linewidths=0.8)
                else:
                    colour = "tab:orange" if (l1 + l2 + l3) % 2 else "tab:blue"
                    axis.scatter(x, y, s=5 + 22 * (strength / largest) ** 0.5, color=colour)
    for edge in range(lmax + 2):
        axis.axhline(edge - 0.5, color="0.9", linewidth=0.6)
        axis.axvline(edge - 0.5, color="0.9", linewidth=0.6)
    axis.set(xticks=range(lmax + 1), yticks=range(lmax + 1), xlabel="$l_2$", ylabel="$l_1$")
    axis.set(xlim=(-0.5, lmax + 0.5), ylim=(lmax + 0.5, -0.5))


def selection(path: Path) -> None:
    """Which irreps each product couples, and for what reason not the others, into a PNG."""
    triples = candidates(tp.Irreps("0e + 1o + 1e + 2e"), tp.Irreps("0e + 1o + 1e + 2e"))
    pattern(select(triples), triples).savefig(path, dpi=100)


def draw_all(folder: Path) -> None:
    """What the pages show, into a folder of its own."""
    folder.mkdir(exist_ok=True)
    trade_off(folder / "trade-off.png")
    couplings(folder / "couplings.png")
    selection(folder / "selection.png")


if __name__ == "__main__":
    README_FIGURE.parent.mkdir(exist_ok=True)
    trade_off(README_FIGURE)

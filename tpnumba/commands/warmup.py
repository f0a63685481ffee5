"""The command ``tpnumba warmup``."""

from __future__ import annotations

import argparse
from itertools import chain
from typing import Any

from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.base import Operator


def add_to(commands: Any) -> None:
    """Add the command to the parsers of commands."""
    parser = commands.add_parser(
        "warmup",
        help="compile all kernels ahead, for containers",
        description="Compile every kernel and keep the machine code in the cache, so that first calls are quick. The "
        "cache is TPNUMBA_CACHE_DIR, else the user's cache folder.",
    )
    parser.add_argument(
        "--plan",
        action="append",
        nargs="+",
        default=[],
        metavar=("PRODUCT", "ARGUMENT"),
        help="also make the code of a small product's own, and of its gradients: the name of a class and what it is "
        "made of, such as GauntTensorProduct 3 3 or FullTensorProduct 0e+1o 0e+1o; may be given more than once",
    )
    parser.add_argument("--dtype", choices=tuple(ITEMSIZE), action="append", help="of this code (default: both dtypes)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from tpnumba.backends.cpu.runtime.compiler import cache_folder
    from tpnumba.backends.cpu.warmup import compile_all
    from tpnumba.nn.warmup import compile_layers
    from tpnumba.plans.base import Plan
    from tpnumba.plans.harmonics import Harmonics
    from tpnumba.products.clebsch_gordan import FullTensorProduct
    from tpnumba.products.gaunt import GauntTensorProduct

    products = [(" ".join(words), _product(words)) for words in options.plan]
    plans: dict[str, Plan | Harmonics] = {
        "contraction": FullTensorProduct("1o", "1o").plan,
        "transform": GauntTensorProduct(1, 1, method="grid").plan,
        "harmonics": Harmonics(0),
    }
    for done in chain(compile_all(plans), compile_layers()):
        print(done)
    for name, product in products:
        for dtype in options.dtype or ITEMSIZE:
            print(f"{name}, {dtype}: code for {product.specialize(dtype)} plans of it")
    print(f"kept in {cache_folder()}")


def _product(words: list[str]) -> Operator:
    """The product that the words of ``--plan`` name.

    Raises:
        ValueError: there is no such product, or not of these arguments.
    """
    import tpnumba

    name, *arguments = words
    kind = getattr(tpnumba, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Operator)):
        known = sorted(each for each, value in vars(tpnumba).items() if _is_product(value))
        raise ValueError(f"--plan: there is no product {name!r}; products are {', '.join(known)}")
    try:
        return kind(*(int(each) if each.lstrip("-").isdecimal() else each for each in arguments))
    except (TypeError, ValueError) as error:
        raise ValueError(f"--plan {' '.join(words)}: {error}") from error


def _is_product(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Operator) and value is not Operator

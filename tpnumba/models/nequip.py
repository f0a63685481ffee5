"""Models of NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022) to networks and weights, by the package ``nequip``.

What ``nequip`` 0.19 builds, and how it becomes a :class:`tpnumba.models.Network`:

- The features of an element are rows of a table. The self-connection is a product with the row of the atom's element:
  summed over that row, a linear map for each element.
- What an atom sends is multiplied by one over the root of the number of neighbours, before the products: one number for
  all elements, which is the denominator of the sum, or one for each.
- Hidden layers have activations without a factor that normalises them, and matrices times a gain over the root of their
  rows. Factors that differ from those here go into the weights, in float64.
- Bessel functions are taken of the distance over the cutoff; their frequencies are in radians an angstrom here.

Modules are known by the names of their classes, as a package of ``nequip`` brings classes of its own.
"""

from __future__ import annotations

from itertools import pairwise
from math import pi, sqrt
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irreps
from tpnumba.models.conversion import products, signs_of_products
from tpnumba.models.interaction import LAYOUT
from tpnumba.models.nequip_files import RELEASE, check_release, installed, load_file
from tpnumba.models.network import Interaction, Network, Radial
from tpnumba.models.repulsion import Repulsion
from tpnumba.nn.activations import SAMPLED_SCALES

Array = npt.NDArray[Any]
Weights = dict[str, Array]

#: Around the sequence of modules that gives the energies of the atoms: the attribute that leads inwards.
_WRAPPERS = {"GraphModel": "model", "CompileGraphModel": "model", "ForceStressOutput": "func"}
#: That sequence, but for the interactions, which stand in the middle.
_BEFORE = (
    "NodeTypeEmbed",
    "SphericalHarmonicEdgeAttrs",
    "EdgeLengthNormalizer",
    "BesselEdgeLengthEncoding",
    "ApplyFactor",
)
_INTERACTION = "ConvNetLayer"
_AFTER = ("ScalarMLP", "PerTypeScaleShift", "ZBL", "AtomwiseReduce")
#: Activations by the names of functions and of modules; between linear layers stand modules.
_FUNCTIONS = {"silu": "silu", "tanh": "tanh", "abs": "abs", "shifted_softplus": "ssp"}
_LINEAR = "ScalarLinearLayer"
_MODULES = {"SiLU": "silu", "Tanh": "tanh", "Sigmoid": "sigmoid", "ShiftedSoftplus": "ssp"}
#: Relative difference of constants that are the same, in float32 too.
_SAME = 1e-6


def read_nequip(source: Any) -> tuple[Network, Weights]:
    """The network and the weights of a model of ``nequip`` 0.19, which must be installed; the result is free of it.

    Args:
        source: a model, as ``nequip.model.NequIPGNNModel`` and its kin build it; or the path of a checkpoint
            (``.ckpt``) or a package (``.nequip.zip``), which ``nequip`` loads. That executes what is in the file, so it
            must be one that you trust.

    Returns:
        The network, and its weights by name: those that are taken as they are in the model's dtype; in float64 those
        with a factor, or a sum over the features of elements, in them, so that nothing is rounded.

    Raises:
        ImportError: a path was given, and ``nequip`` is not there.
        OSError: there is no such file.
        TypeError: the source is neither a path nor a model of ``nequip``.
        ValueError: the file is no model, the package or the file is of another release, or the model has parts that are
            not supported, such as cutoffs by edge type; the message names which.
    """
    if isinstance(source, str | PathLike):
        source = load_file(source)
    else:
        check_release(installed(), "the package nequip")
    reader = _Reader(_sequence(source))
    try:
        return reader.network(), reader.weights
    except AttributeError as error:
        raise ValueError(f"the model is not as nequip {RELEASE} builds it: {error}") from error


def _kind(module: Any) -> str:
    """The name of the class of a module, scripted or not."""
    return str(getattr(module, "original_name", type(module).__name__))


def _sequence(model: Any) -> list[Any]:
    """The modules that give the energies of the atoms, one after the other."""
    while _kind(model) in _WRAPPERS:
        model = getattr(model, _WRAPPERS[_kind(model)])
    if _kind(model) != "SequentialGraphNetwork":
        raise TypeError(f"source must be a path or a model that nequip has built, got {_kind(model)}")
    known = {*_BEFORE, _INTERACTION, *_AFTER}
    children = dict(model.named_children())
    for name, module in children.items():
        if _kind(module) not in known:
            raise ValueError(f"the part {name} of the model, of type {_kind(module)}, is not supported")
    kinds = [_kind(module) for module in children.values()]
    count = kinds.count(_INTERACTION)
    after = [kind for kind in _AFTER if kind != "ZBL" or kind in kinds]
    if kinds != [*_BEFORE, *[_INTERACTION] * count, *after]:
        raise ValueError(f"models whose parts stand in the order {', '.join(kinds)} are not supported")
    return list(children.values())


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"{what} not supported")


def _numbers(tensor: Any) -> Array:
    """A copy, which does not change when training goes on."""
    return np.array(tensor.detach().cpu().numpy())


def _wide(tensor: Any) -> npt.NDArray[np.float64]:
    return _numbers(tensor).astype(np.float64)


def _is_close(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME * abs(b)


class _Reader:
    """Reads the network module by module, and collects the weights."""

    def __init__(self, layers: list[Any]) -> None:
        (self.embed, self.harmonics, self.lengths, self.bessel, self.factor), rest = layers[:5], layers[5:]
        self.convolutions = [layer for layer in rest if _kind(layer) == _INTERACTION]
        self.mlp, self.scale_shift, *pairs, self.total = rest[len(self.convolutions) :]
        self.zbl: Any = pairs[0] if pairs else None
        self.weights: Weights = {}
        self.table = _wide(self.embed.embed_module.weight)

    def network(self) -> Network:
        """The network; the weights are complete afterwards."""
        _require(not self.embed.do_categorical_graph_field_embed, "embeddings of fields of the graph are")
        _require(not self.lengths._per_edge_type, "cutoffs by edge type (per_edge_type_cutoff) are")
        _require(self.total.reduce == "sum" and self.total.constant == 1.0, "energies that are no sum over atoms are")
        elements = _elements(self.scale_shift.type_names)
        cutoff, harmonics = float(self.lengths.r_max), Irreps(str(self.harmonics.irreps_edge_sh))
        lmax, parity = harmonics[-1].ir.l, -1 if all(ir.p == (-1) ** ir.l for _, ir in harmonics) else 1
        _require(harmonics == Irreps.spherical_harmonics(lmax, parity), f"harmonics of the irreps {harmonics} are")
        normalization = self.harmonics.sh.normalization
        _require(normalization == "component", f"harmonics of {normalization} normalisation are")
        count, copies = self.table.shape
        self.weights["embedding"] = (self.table * sqrt(count)).ravel()
        interactions = tuple(self._interaction(t, harmonics) for t in range(len(self.convolutions)))
        for one, other in pairwise(interactions):
            found = one.gate(LAYOUT).irreps_out
            _require(
                found == Irreps(other.irreps_in), f"features whose blocks are {found} and then {other.irreps_in} are"
            )
        self.weights["radial.frequencies"] = _wide(self.bessel.bessel_weights).ravel() * (pi / cutoff)
        hidden, activation = self._readout()
        for name, part, default in (("scale", "scales", 1.0), ("shift", "shifts", 0.0)):
            has = getattr(self.scale_shift, f"has_{part}")
            array = _wide(getattr(self.scale_shift, part)).ravel() if has else np.full(1, default)
            self.weights[name] = np.ascontiguousarray(np.broadcast_to(array, (count,)))
        return Network(
            name=f"NequIP {installed()}".strip(),
            elements=elements,
            cutoff=cutoff,
            radial=self._radial(cutoff),
            lmax=lmax,
            parity=parity,
            unit_vectors=bool(self.harmonics.sh.normalize),
            irreps_embedding=f"{copies}x0e",
            interactions=interactions,
            hidden=hidden,
            readout_activation=activation,
            repulsion=None if self.zbl is None else self._repulsion(elements),
        )

    def _radial(self, cutoff: float) -> Radial:
        prefactor = float(self.factor.factor) * cutoff / pi
        return Radial(int(self.bessel.num_bessels), prefactor, "polynomial", float(_power(self.bessel.cutoff)))

    def _repulsion(self, elements: tuple[int, ...]) -> Repulsion:
        numbers = tuple(int(number) for number in _numbers(self.zbl.atomic_numbers).tolist())
        _require(numbers == elements, f"a repulsion of other elements, {numbers} for {elements}, is")
        # half of it, for each of two atoms
        return Repulsion(2 * float(self.zbl._qqr2exesquare), _power(self.zbl.cutoff))

    def _interaction(self, t: int, harmonics: Irreps) -> Interaction:
        into, layer = f"interactions.{t}", self.convolutions[t]
        block, gate = layer.conv, layer.equivariant_nonlin
        _require(not layer.resnet, f"residual connections (convnet_resnet), as of interaction {t}, are")
        _require(_kind(gate) == "Gate", f"the nonlinearity {_kind(gate)} of interaction {t} is")
        _require(_kind(block) == "InteractionBlock", f"the convolution {_kind(block)} of interaction {t} is")
        before, after = Irreps(str(block.linear_1.irreps_in)), Irreps(str(block.linear_2.irreps_out))
        instructions, messages = products(before, harmonics, lambda ir: any(ir == other for _, other in after))
        product = block.tp_scatter.tp
        theirs = (
            tuple((one.i_in1, one.i_in2, one.i_out) for one in product.instructions),
            Irreps(str(product.irreps_out)),
        )
        _require((instructions, messages) == theirs, f"products in another order, as of interaction {t}, are")
        self.weights[f"{into}.linear_1"] = _numbers(block.linear_1.weight)
        self.weights[f"{into}.linear_2"] = _numbers(block.linear_2.weight)
        if block.sc is not None:
            self.weights[f"{into}.self_connection"] = self._self_connection(block.sc, before, after)
        matrices, hidden, activation = _layers(block.edge_mlp, f"the radial network of interaction {t}")
        coefficients = {name.rpartition(".")[2]: _numbers(array) for name, array in product.named_buffers()}
        matrices[-1] *= signs_of_products(coefficients, "", before, harmonics, messages, instructions)
        self.weights[f"{into}.radial"] = np.concatenate([matrix.ravel() for matrix in matrices])
        factors = _wide(block.avg_num_neighbors_norm.norm_const).ravel()
        return Interaction(
            irreps_in=str(before),
            irreps_messages=str(messages),
            instructions=instructions,
            hidden=hidden,
            radial_activation=activation or "silu",
            denominator=float(1 / factors[0]) if factors.size == 1 else 1.0,
            self_connection="none" if block.sc is None else "elements",
            scalars=str(gate.act_scalars.irreps_in),
            scalar_activations=_activations(gate.act_scalars),
            gates=str(gate.act_gates.irreps_in),
            gate_activations=_activations(gate.act_gates),
            gated=str(gate.irreps_gated),
            sender_factors=() if factors.size == 1 else tuple(factors.tolist()),
        )

    def _self_connection(self, product: Any, before: Irreps, after: Irreps) -> Array:
        """The matrices of each element: those of the product, summed over the features of the element."""
        weights = _wide(product.weight)
        count, copies = self.table.shape
        found, start = [], 0
        for mul, ir in before:
            for mul_out, ir_out in after:
                if ir == ir_out:
                    stop = start + mul * copies * mul_out
                    tensor = weights[start:stop].reshape(mul, copies, mul_out)
                    found.append(np.einsum("uvw,zv->uzw", tensor, self.table).ravel())
                    start = stop
        _require(start == weights.size, "self-connections that join other irreps are")
        return np.concatenate(found) * sqrt(count / copies)

    def _readout(self) -> tuple[tuple[int, ...], str | None]:
        """The widths of the hidden layers, and the activation after them."""
        matrices, hidden, activation = _layers(self.mlp.mlp_module, "the readout")
        for number, matrix in enumerate(matrices):
            self.weights[f"readout.{number + 1}"] = matrix.ravel()
        return hidden, activation


def _power(envelope: Any) -> int:
    """Of a polynomial envelope."""
    _require(_kind(envelope) == "PolynomialCutoff", f"the cutoff function {_kind(envelope)} is")
    power = float(envelope.p)
    _require(power == int(power), f"the power {power:g} of the cutoff function, which is no integer, is")
    return int(power)


def _elements(names: Any) -> tuple[int, ...]:
    from ase.data import atomic_numbers

    for name in names:
        if atomic_numbers.get(name, 0) < 1:
            raise ValueError(f"type_names must be chemical symbols, got {name!r}")
    return tuple(atomic_numbers[name] for name in names)


def _activations(module: Any) -> tuple[str, ...]:
    """The names of the activations of a gate, whose factors must be those that are known."""
    found = []
    for function in module.acts:
        name = getattr(function.f, "__name__", type(function.f).__name__)
        _require(name in _FUNCTIONS, f"the activation {name} is")
        known = _FUNCTIONS[name]
        factor = float(function.cst)
        _require(_is_close(factor, SAMPLED_SCALES[known]), f"the factor {factor} of the activation {name} is")
        found.append(known)
    return tuple(found)


def _layers(network: Any, what: str) -> tuple[list[npt.NDArray[np.float64]], tuple[int, ...], str | None]:
    """The matrices of a network of scalars, its hidden widths and its activation.

    Matrices are as they are here: divided by the root of their rows when they are used, and after a layer with an
    activation that is normalised.
    """
    if _kind(network.mlp) == "DeepLinearMLP":  # matrices without anything between: one matrix
        product = _wide(network.mlp.weights[0])
        for weight in network.mlp.weights[1:]:
            product = product @ _wide(weight)
        return [product * (float(network.mlp.alpha) * sqrt(product.shape[0]))], (), None
    kinds = [_kind(module) for module in network.mlp]
    linear = [module for module, kind in zip(network.mlp, kinds, strict=True) if kind == _LINEAR]
    between = sorted(set(kinds) - {_LINEAR})
    for kind in between:
        _require(kind in _MODULES, f"the activation {kind} of {what} is")
    expected = [_LINEAR, *[*between, _LINEAR] * (len(linear) - 1)]
    _require(kinds == expected, f"layers in the order {', '.join(kinds)}, as of {what}, are")
    _require(all(module.bias is None for module in linear), f"biases of {what} are")
    activation = _MODULES[between[0]] if between else None
    matrices = []
    for number, module in enumerate(linear):
        scale = SAMPLED_SCALES[activation] if number and activation is not None else 1.0
        matrix = _wide(module.weight) * float(module.alpha)
        matrices.append(matrix * (sqrt(matrix.shape[0]) / scale))
    return matrices, tuple(int(matrix.shape[1]) for matrix in matrices[:-1]), activation

"""Checkpoints of SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857, 2024) to networks and weights, without torch.

What a checkpoint of ``sevenn`` 0.9 holds beyond the settings in its ``config``: the Clebsch-Gordan coefficients that it
was trained with, as buffers, of which some have another sign than those of today; the denominators that were used; the
weights of the products in the order of the instructions before these were sorted, which ``sevenn`` 0.11 began to do.
The order is not in the file, so there the version decides, as it does in ``sevenn``.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irrep, Irreps
from tpnumba.models.network import Interaction, Network, Radial
from tpnumba.models.torch_files import read_torch_file
from tpnumba.nn import Linear
from tpnumba.tables.clebsch_gordan import relative_sign

Array = npt.NDArray[Any]
Weights = dict[str, Array]

#: What the parts of a network were called before version 0.9.1.
_OLD_NAMES = {
    "EdgeEmbedding": "edge_embedding",
    "reducing nn input to hidden": "reduce_input_to_hidden",
    "reducing nn hidden to energy": "reduce_hidden_to_energy",
    "rescale atomic energy": "rescale_atomic_energy",
}
_ENVELOPES = {"poly_cut": ("polynomial", "poly_cut_p_value", 6), "XPLOR": ("xplor", "cutoff_on", None)}
#: The newest release of ``sevenn`` that is known; the first whose products are in the order of their outputs.
_NEWEST, _SORTED = (0, 13), (0, 11)


def read_sevennet(
    path: str | PathLike[str], *, name: str | None = None, modal: str | None = None
) -> tuple[Network, Weights]:
    """The network and the weights of a checkpoint of SevenNet.

    Args:
        path: a checkpoint (``.pth``) of ``sevenn``, or the wheel of that package; nothing in it is executed.
        name: which checkpoint of a wheel, by its folder, such as ``SevenNet_0__11Jul2024``.
        modal: the fidelity, such as ``PBE``, of a network that was trained for several.

    Returns:
        The network, and its weights by name: as in the file, in float32; in float64 where the fidelity is folded in, so
        that nothing is rounded.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such checkpoint, is damaged, is of a release of ``sevenn`` after 0.13, or has parts that
            are not supported; the message names which. Also a ``modal`` that it does not have, or none where it has
            several.
    """
    content = read_torch_file(path if name is None and not _is_wheel(path) else _checkpoint_of(path, name))
    if not isinstance(content, dict) or not {"config", "model_state_dict"} <= set(content):
        raise ValueError(f"{path} is no checkpoint of SevenNet: it has no 'config' and 'model_state_dict'")
    config = content["config"]
    if config.get("_model_type") != "E3_equivariant_model":
        raise ValueError(f"{path} holds a model of type {config.get('_model_type')!r}, not 'E3_equivariant_model'")
    reader = _Reader(config, _renamed(content["model_state_dict"]), modal)
    try:
        return reader.network(), reader.weights
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}") from error


def _is_wheel(path: str | PathLike[str]) -> bool:
    return os.fspath(path).endswith(".whl")


def _checkpoint_of(path: str | PathLike[str], name: str | None) -> BinaryIO:
    """What a wheel holds under a name."""
    if not _is_wheel(path):
        raise ValueError(f"name {name!r} was given, but {path} is no wheel")
    with zipfile.ZipFile(path) as archive:
        found = {entry.split("/")[-2]: entry for entry in archive.namelist() if entry.endswith(".pth")}
        if name not in found:
            raise ValueError(f"name must be one of the checkpoints in {path}: {', '.join(found)}; got {name!r}")
        return io.BytesIO(archive.read(found[name]))


def _renamed(state: Mapping[str, Array]) -> Weights:
    """The arrays of a checkpoint under the names of today."""
    found = {}
    for name, array in state.items():
        first, _, rest = name.partition(".")
        found[f"{_OLD_NAMES.get(first, first).replace(' ', '_')}.{rest.replace('denumerator', 'denominator')}"] = array
    return found


def _release(version: Any) -> tuple[tuple[int, int], bool]:
    """Major and minor number of a version such as ``0.11.0.dev0``, and whether its products are sorted."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.|$)", version) if isinstance(version, str) else None
    if numbers is None:
        raise ValueError(f"the checkpoint has the version {version!r}, and one such as '0.9.1' is expected")
    release = int(numbers[1]), int(numbers[2])
    if release > _NEWEST:
        raise ValueError(
            f"the checkpoint is of sevenn {version}, and those up to {_NEWEST[0]}.{_NEWEST[1]} are known: it may mean "
            "other things by the same names"
        )
    return release, release >= _SORTED and version != "0.11.0.dev0"


class _Reader:
    """Reads the network layer by layer, and collects the weights."""

    def __init__(self, config: Mapping[str, Any], state: Weights, modal: str | None) -> None:
        self.config, self.state = config, state
        self.release, self.is_sorted = _release(config.get("version"))
        self.weights: Weights = {}
        self.modals: Mapping[str, int] = config["_modal_map"] if config.get("use_modality") else {}
        if not self.modals and modal is not None:
            raise ValueError(f"modal {modal!r} was asked for, but the model has one fidelity only")
        if self.modals and modal not in self.modals:
            raise ValueError(f"modal must be one of {', '.join(self.modals)}, got {modal!r}")
        self.modal = self.modals[modal] if modal is not None else None
        for name, expected in (("use_bias_in_linear", False), ("readout_as_fcn", False)):
            if config.get(name, expected) is not expected:
                raise ValueError(f"the option {name} = {config[name]!r} of SevenNet is not supported")
        if config.get("interaction_type", "nequip") != "nequip":
            raise ValueError(f"interactions of type {config['interaction_type']!r} are not supported")

    def network(self) -> Network:
        """The network; the weights are complete afterwards."""
        config = self.config
        types = config["_type_map"]
        elements = tuple(sorted(types, key=types.__getitem__))
        irreps = self._features()
        harmonics = Irreps.spherical_harmonics(_lmax_of_edges(config), -1 if config["is_parity"] else 1)
        one_hot = Irreps(f"{len(elements)}x0e")
        self._put_linear("embedding", "onehot_to_feature_x", one_hot, irreps[0], "use_modal_node_embedding")
        interactions = []
        for t, (before, after) in enumerate(pairwise(irreps)):
            interactions.append(self._interaction(t, before, after, harmonics, last=t == len(irreps) - 2))
        self.weights["radial.frequencies"] = self.state["edge_embedding.basis_function.coeffs"]
        hidden = Irreps(f"{irreps[-1].dim // 2}x0e")
        self._put_linear("readout.1", "reduce_input_to_hidden", irreps[-1], hidden, "use_modal_output_block")
        self.weights["readout.2"] = self.state["reduce_hidden_to_energy.linear.weight"]
        for name in ("shift", "scale"):
            array = np.atleast_1d(self.state[f"rescale_atomic_energy.{name}"])
            self.weights[name] = np.broadcast_to(array[self.modal] if array.ndim == 2 else array, (len(elements),))
        return Network(
            name=f"SevenNet {config['version']}",
            elements=tuple(int(z) for z in elements),
            cutoff=float(config["cutoff"]),
            radial=self._radial(),
            lmax=_lmax_of_edges(config),
            parity=-1 if config["is_parity"] else 1,
            # not before 0.9.1; sevenn itself reads its absence so
            unit_vectors=bool(config.get("_normalize_sph", self.release >= (0, 10))),
            irreps_embedding=str(irreps[0]),
            interactions=tuple(interactions),
            hidden=str(hidden),
        )

    def _features(self) -> list[Irreps]:
        """The irreps of the features before, between and after the interactions."""
        given = self.config["irreps_manual"]
        if given is False:
            raise ValueError("networks whose irreps are not listed in irreps_manual are not supported")
        return [Irreps(text) for text in given]

    def _radial(self) -> Radial:
        config = self.config
        basis, cutoff = config["radial_basis"], config["cutoff_function"]
        if basis["radial_basis_name"] != "bessel":
            raise ValueError(f"the radial basis {basis['radial_basis_name']!r} is not supported")
        name = cutoff["cutoff_function_name"]
        if name not in _ENVELOPES:
            raise ValueError(f"the cutoff function {name!r} is not supported")
        envelope, key, default = _ENVELOPES[name]
        parameter = cutoff.get(key, default)
        return Radial(int(basis["bessel_basis_num"]), 2.0 / float(config["cutoff"]), envelope, float(parameter))

    def _interaction(self, t: int, before: Irreps, after: Irreps, harmonics: Irreps, *, last: bool) -> Interaction:
        config, state, into = self.config, self.state, f"interactions.{t}"
        instructions, messages = _instructions(before, harmonics, after, even_only=last)
        if self.is_sorted:
            instructions = tuple(sorted(instructions, key=lambda instruction: instruction[2]))
        gate = _gate(after, config["act_scalar"], config["act_gate"])
        mixed = Irreps(gate["scalars"]) + Irreps(gate["gates"]) + Irreps(gate["gated"])
        mixed = mixed.sort().irreps.simplify()
        self._put_linear(f"{into}.linear_1", f"{t}_self_interaction_1", before, before, "use_modal_self_inter_intro")
        self._put_linear(f"{into}.linear_2", f"{t}_self_interaction_2", messages, mixed, "use_modal_self_inter_outro")
        kind = config["self_connection_type"]
        kind = kind if isinstance(kind, str) else kind[t]
        if kind != "linear":
            raise ValueError(f"self-connections of type {kind!r} are not supported")
        self.weights[f"{into}.self_connection"] = state[f"{t}_self_connection_intro.linear.weight"]
        self._put_radial_network(t, before, harmonics, messages, instructions)
        return Interaction(
            irreps_in=str(before),
            irreps_messages=str(messages),
            instructions=instructions,
            hidden=tuple(config["weight_nn_hidden_neurons"]),
            radial_activation=config["act_radial"],
            denominator=float(state[f"{t}_convolution.denominator"][0]),
            self_connection="linear",
            **gate,
        )

    def _put_linear(self, name: str, source: str, irreps_in: Irreps, irreps_out: Irreps, modal_option: str) -> None:
        """A linear map; of one that reads the fidelity too, the part for that becomes a bias.

        That part is one more block of scalars at the input, so it counts among the copies that the weights of scalars
        are normalised by.
        """
        weights = self.state[f"{source}.linear.weight"]
        if self.modal is not None and self.config.get(modal_option):
            count, size = len(self.modals), _scalars(irreps_out)
            scalars = _scalars(irreps_in)
            if any(ir != _SCALAR for _, ir in irreps_in[: sum(ir == _SCALAR for _, ir in irreps_in)]):
                raise ValueError(f"the scalars of {irreps_in} do not come first, which is not supported")
            wide = weights.astype(np.float64)
            weights, rest = wide[: -count * size], wide[-count * size :].reshape(count, size)
            weights[: scalars * size] *= np.sqrt(scalars / (scalars + count))
            self.weights[f"{name}.bias"] = rest[self.modal] / np.sqrt(scalars + count)
        expected = Linear(irreps_in, irreps_out).weight_numel
        if weights.size != expected:
            raise ValueError(f"{source} has {weights.size} weights where {expected} are expected")
        self.weights[name] = weights

    def _put_radial_network(
        self, t: int, before: Irreps, harmonics: Irreps, messages: Irreps, instructions: Sequence[Sequence[int]]
    ) -> None:
        """The matrices of a radial network, with the signs of the coefficients that it was trained with."""
        source = f"{t}_convolution.weight_nn.layer"
        matrices = [self.state[f"{source}{i}.weight"] for i in range(len(self.config["weight_nn_hidden_neurons"]) + 1)]
        signs = np.concatenate(
            [
                np.full(before[i].mul, self._sign(t, before[i].ir.l, harmonics[j].ir.l, messages[k].ir.l))
                for i, j, k in instructions
            ]
        )
        if matrices[-1].shape[1] != signs.size:
            raise ValueError(f"{source}* has {matrices[-1].shape[1]} outputs where {signs.size} are expected")
        matrices[-1] = matrices[-1] * signs.astype(matrices[-1].dtype)
        self.weights[f"interactions.{t}.radial"] = np.concatenate([matrix.ravel() for matrix in matrices])

    def _sign(self, t: int, l1: int, l2: int, l3: int) -> float:
        """Of the coefficients that the network was trained with, relative to those of today."""
        name = f"{t}_convolution.convolution._compiled_main_left_right._w3j_{l1}_{l2}_{l3}"
        stored = self.state.get(name)
        if stored is None:
            if min(l1, l2, l3) > 0:
                raise ValueError(f"the checkpoint lacks the coefficients {name}")
            return 1.0
        return relative_sign(stored, l1, l2, l3, name=name)


_SCALAR = Irrep("0e")


def _scalars(irreps: Irreps) -> int:
    return sum(mul for mul, ir in irreps if ir == _SCALAR)


def _lmax_of_edges(config: Mapping[str, Any]) -> int:
    return int(config["lmax_edge"] if config["lmax_edge"] > 0 else config["lmax"])


def _instructions(
    features: Irreps, harmonics: Irreps, after: Irreps, *, even_only: bool
) -> tuple[tuple[tuple[int, int, int], ...], Irreps]:
    """The products of an interaction in the order of their weights, and the irreps of the messages.

    All products whose degree does not exceed that of the features that come after; of the last interaction, even ones.
    """
    lmax = max(ir.l for _, ir in after)
    found = [
        (i, j, mul, ir)
        for i, (mul, ir_in) in enumerate(features)
        for j, (_, ir_edge) in enumerate(harmonics)
        for ir in ir_in * ir_edge
        if ir.l <= lmax and (ir.p == 1 or not even_only)
    ]
    irreps, place, _ = Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    return tuple((i, j, place[k]) for k, (i, j, _, _) in enumerate(found)), irreps


def _gate(features: Irreps, scalars: Mapping[str, str], gates: Mapping[str, str]) -> dict[str, Any]:
    """The gate that gives ``features``, with the activations for each parity."""
    plain = [entry for entry in features if entry.ir.l == 0]
    gated = [entry for entry in features if entry.ir.l > 0]
    parity = "e" if any(entry.ir == _SCALAR for entry in plain) else "o"
    return {
        "scalars": str(Irreps(plain)),
        "scalar_activations": tuple(scalars["e" if entry.ir.p == 1 else "o"] for entry in plain),
        "gates": str(Irreps([(entry.mul, f"0{parity}") for entry in gated])),
        "gate_activations": (gates[parity],) * len(gated),
        "gated": str(Irreps(gated)),
    }

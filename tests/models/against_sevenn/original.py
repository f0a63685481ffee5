"""``sevenn`` itself: its networks as it loads them, and rebuilt in float64; and checkpoints of its newest release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sevenn
import torch
from ase import Atoms
from sevenn import _keys as keys
from sevenn.atom_graph_data import AtomGraphData
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model
from sevenn.scripts.backward_compatibility import patch_state_dict_if_old
from sevenn.train.dataload import unlabeled_atoms_to_graph

CHECKPOINTS = {path.parent.name: path for path in Path(sevenn.__file__).parent.glob("pretrained_potentials/*/*.pth")}

#: A network such as none of the checkpoints has: odd irreps, other widths, another gate, an XPLOR that begins at once.
OTHER: dict[str, Any] = {
    keys.IRREPS_MANUAL: ["6x0e", "5x0e+3x0o+4x1o+2x1e+3x2e", "4x0e+2x1o+2x2e", "6x0e"],
    keys.IS_PARITY: True,
    keys.NUM_CONVOLUTION: 3,
    keys.CONV_DENOMINATOR: [3.0, 4.0, 5.0],
    keys.CONVOLUTION_WEIGHT_NN_HIDDEN_NEURONS: [7],
    keys.CUTOFF_FUNCTION: {keys.CUTOFF_FUNCTION_NAME: "XPLOR", "cutoff_on": 0.5},
    keys.RADIAL_BASIS: {keys.RADIAL_BASIS_NAME: "bessel", "bessel_basis_num": 5},
}

#: Self-connections by element, and biases.
BIASED: dict[str, Any] = {
    **OTHER,
    keys.SELF_CONNECTION_TYPE: ["nequip", "linear", "nequip"],
    keys.USE_BIAS_IN_LINEAR: True,
}
#: Features that are not listed, self-connections by element everywhere, a readout with activations.
INFERRED: dict[str, Any] = {
    **OTHER,
    keys.IRREPS_MANUAL: False,
    keys.NODE_FEATURE_MULTIPLICITY: 5,
    keys.LMAX: 2,
    keys.LMAX_EDGE: 3,
    keys.LMAX_NODE: 1,
    keys.SELF_CONNECTION_TYPE: "nequip",
    keys.READOUT_AS_FCN: True,
    keys.READOUT_FCN_HIDDEN_NEURONS: [7, 6],
    keys.READOUT_FCN_ACTIVATION: "silu",
}
#: The same without parities, with other activations.
RELU: dict[str, Any] = {
    **INFERRED,
    keys.IS_PARITY: False,
    keys.READOUT_FCN_ACTIVATION: "relu",
    keys.ACTIVATION_RADIAL: "ssp",
    keys.ACTIVATION_SCARLAR: {"e": "ssp", "o": "abs"},
    keys.ACTIVATION_GATE: {"e": "ssp", "o": "abs"},
}


class Numbers(NamedTuple):
    """As :class:`tpnumba.models.Results` has them."""

    energies: np.ndarray
    forces: np.ndarray
    stress: np.ndarray


class Original:
    """A network of ``sevenn`` on the processor.

    Args:
        path: a checkpoint.
        dtype: ``float32``, as ``sevenn`` loads it; or ``float64``, where the weights are those of the checkpoint, and
            the Clebsch-Gordan coefficients, of which it has float32 ones, are made anew.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self.dtype = getattr(torch, dtype)
        checkpoint = SevenNetCheckpoint(path)
        self.config = checkpoint.config
        if dtype == "float32":
            self.model = checkpoint.build_model()
        else:
            self.model = self._in_float64(checkpoint)
        self.model.set_is_batch_data(False)
        self.model.eval()
        kinds = {array.dtype for array in self.model.state_dict().values() if array.is_floating_point()}
        assert kinds == {self.dtype}

    def _in_float64(self, checkpoint: SevenNetCheckpoint) -> Any:
        with default_dtype(torch.float64):
            model = build_E3_equivariant_model(self.config)
        state = patch_state_dict_if_old(checkpoint.model_state_dict, self.config, model)
        for name, exact in model.state_dict().items():
            if "_w3j_" in name:
                torch.testing.assert_close(state[name].double(), exact, rtol=0, atol=1e-6)
                state[name] = exact
        model.load_state_dict(state, strict=True)
        for name in ("onehot_idx_to_onehot", "one_hot_modality"):
            if name in model._modules:
                model._modules[name].register_forward_hook(_widen)
        return model.double()

    def evaluate(self, atoms: Atoms, modal: str | None) -> Numbers:
        """As ``sevenn``'s calculator does it, with energies of the atoms, in the dtype."""
        graph = unlabeled_atoms_to_graph(atoms, self.config[keys.CUTOFF])
        exact = {key: graph[key].copy() for key in (keys.EDGE_VEC, keys.CELL_VOLUME)}
        data = AtomGraphData.from_numpy_dict(graph)  # rounds to float32
        data.update({key: torch.tensor(value, dtype=self.dtype) for key, value in exact.items()})
        if modal is not None:
            data[keys.DATA_MODALITY] = modal
        with default_dtype(self.dtype):
            out = self.model(data)
        found = {key: out[key].detach() for key in (keys.ATOMIC_ENERGY, keys.PRED_FORCE, keys.PRED_STRESS)}
        assert {array.dtype for array in found.values()} == {self.dtype}
        energies, forces, stress = (array.numpy() for array in found.values())
        return Numbers(energies.ravel(), forces[: len(atoms)], -stress[[0, 1, 2, 4, 5, 3]])


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """What torch and e3nn make arrays and coefficients of."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _widen(_module: Any, _inputs: Any, data: Any) -> Any:
    """One-hot vectors, which ``sevenn`` makes in float32 always."""
    for key, value in list(data.items()):
        if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
            data[key] = value.double()
    return data


def write_checkpoint(
    path: Path,
    source: Path,
    changes: dict[str, Any],
    *,
    version: str | None = sevenn.__version__,
    edit: Callable[[dict[str, Any]], object] = lambda state: None,
) -> None:
    """A checkpoint of the installed release: one of the published networks, or a random one with other settings.

    Args:
        path: to write to.
        source: the published checkpoint.
        changes: of its configuration; if there are any, the weights are random.
        version: what it says that it is of.
        edit: called with the state before it is written.
    """
    checkpoint = SevenNetCheckpoint(source)
    config = {**checkpoint.config, **changes}
    if changes:
        torch.manual_seed(0)
        model = build_E3_equivariant_model(config)
    else:
        model = checkpoint.build_model()
    state = model.state_dict()
    for name, array in state.items():
        if changes and name.endswith(".bias"):  # zero in a network that was not trained
            array.normal_()
    edit(state)
    torch.save({"config": {**config, "version": version}, "model_state_dict": state}, path)

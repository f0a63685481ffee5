"""``nequip`` itself: models by its own builders, with random weights, and what they give for structures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import lightning
import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from nequip.data import AtomicDataDict, compute_neighborlist_, from_ase
from nequip.model import FullNequIPGNNModel, NequIPGNNModel
from nequip.model.saved_models.load_utils import load_saved_model
from nequip.train import NequIPLightningModule
from nequip.utils.global_state import set_global_state
from nequip.utils.versions import get_current_code_versions

from tpnumba.models import Results

CUTOFF = 4.0
SHARED: dict[str, Any] = {
    "seed": 1,
    "model_dtype": "float64",
    "r_max": CUTOFF,
    "type_names": ["O", "H", "C"],
    "num_bessels": 5,
    "radial_mlp_width": 7,
    "avg_num_neighbors": 11.0,
}

#: Degrees, parities and numbers of interactions.
SIZES: dict[str, dict[str, Any]] = {
    "plain": {"l_max": 1, "parity": False, "num_layers": 2, "num_features": 4},
    "parities": {"l_max": 1, "parity": True, "num_layers": 3, "num_features": [5, 4]},
    "degree 2": {"l_max": 2, "parity": False, "num_layers": 4, "num_features": [5, 4, 3]},
    "degree 2, parities": {"l_max": 2, "parity": True, "num_layers": 3, "num_features": [4, 3, 2]},
    "degree 3, parities": {"l_max": 3, "parity": True, "num_layers": 2, "num_features": [5, 4, 3, 2]},
    "degree 3": {"l_max": 3, "parity": False, "num_layers": 3, "num_features": [5, 4, 3, 2]},
}

#: Everything else that a model can be asked to have, each on a model of two or three interactions.
OPTIONS: dict[str, dict[str, Any]] = {
    "embedding": {"type_embed_num_features": 6},
    "deep radial network": {"radial_mlp_depth": 3},
    "no radial network": {"radial_mlp_depth": 0},
    "trained frequencies": {"bessel_trainable": True},
    "another cutoff": {"polynomial_cutoff_p": 9},
    "neighbours by element": {"avg_num_neighbors": {"O": 3.0, "H": 7.0, "C": 19.0}},
    "scale and shift": {"per_type_energy_scales": 0.7, "per_type_energy_shifts": -2.5},
    "scale and shift by element": {
        "per_type_energy_scales": {"O": 0.7, "H": 1.9, "C": 0.3},
        "per_type_energy_shifts": {"O": -2.5, "H": 0.4, "C": 3.1},
    },
    "readout": {"readout_mlp_hidden_layers_depth": 2, "readout_mlp_hidden_layers_width": 6},
    "readout, tanh": {
        "readout_mlp_hidden_layers_depth": 1,
        "readout_mlp_hidden_layers_width": 6,
        "readout_mlp_nonlinearity": "tanh",
    },
    "readout, linear": {
        "readout_mlp_hidden_layers_depth": 2,
        "readout_mlp_hidden_layers_width": 6,
        "readout_mlp_nonlinearity": None,
    },
    "other activations": {
        "convnet_nonlinearity_scalars": {"e": "ssp", "o": "abs"},
        "convnet_nonlinearity_gates": {"e": "ssp", "o": "tanh"},
    },
    "self-connections everywhere": {"learnable_shift": True},
    "no self-connections": {"convnet_sc": False},
    "one element": {"type_names": ["C"]},
    "repulsion": {
        "pair_potential": {
            "_target_": "nequip.nn.pair_potential.ZBL",
            "units": "metal",
            "chemical_species": ["O", "H", "C"],
            "polynomial_cutoff_p": 5,
        }
    },
}


def build(**options: Any) -> Any:
    """A model of ``nequip``, with every parameter drawn anew."""
    set_global_state()
    model = NequIPGNNModel(**{**SHARED, **options})
    draw(model)
    return model


def build_full(**options: Any) -> Any:
    """A model whose irreps are listed."""
    set_global_state()
    fields = {key: value for key, value in SHARED.items() if key != "radial_mlp_width"}
    layers = len(options["feature_irreps_hidden"])
    shared = {"radial_mlp_depth": [1] * layers, "radial_mlp_width": [7] * layers, "type_embed_num_features": 4}
    model = FullNequIPGNNModel(**{**fields, **shared, **options})
    draw(model)
    return model


def draw(model: Any) -> None:
    """Other numbers for trained frequencies, which are whole at first."""
    generator = torch.Generator().manual_seed(2)
    for name, array in model.named_parameters():
        if name.endswith("bessel_weights"):
            factors = torch.rand(array.shape, generator=generator, dtype=array.dtype)
            array.data *= 0.95 + 0.1 * factors


def evaluate(model: Any, atoms: Atoms) -> Results:
    """As ``nequip``'s calculator does it; float64 whatever the dtype of the model, as its energies are."""
    data = compute_neighborlist_(from_ase(atoms), CUTOFF)
    kinds = [model.type_names.index(symbol) for symbol in atoms.get_chemical_symbols()]
    data[AtomicDataDict.ATOM_TYPE_KEY] = torch.tensor(kinds)
    out = {key: array.detach().numpy() for key, array in model(data).items()}
    stress = None
    if AtomicDataDict.STRESS_KEY in out and atoms.cell.rank == 3:
        matrix = out[AtomicDataDict.STRESS_KEY].reshape(3, 3)
        stress = matrix[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    energies = out[AtomicDataDict.PER_ATOM_ENERGY_KEY].ravel()
    return Results(float(np.sum(energies)), energies, out[AtomicDataDict.FORCE_KEY], stress)


def load_original(path: Path) -> Any:
    """The model of a file."""
    set_global_state()
    return load_saved_model(str(path))


def write_training(folder: Path) -> Path:
    """What ``nequip-train`` reads for two epochs, on energies and forces of nothing; gives the name of the folder."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(4):
        atoms = Atoms("COH2", positions=rng.uniform(0, 3, (4, 3)), cell=[6.0] * 3, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=float(rng.normal()), forces=rng.normal(size=(4, 3)))
        frames.append(atoms)
    ase.io.write(folder / "frames.xyz", frames)
    names = SHARED["type_names"]
    loader = {"_target_": "torch.utils.data.DataLoader", "batch_size": 2}
    transforms = "nequip.data.transforms"
    saved = {
        "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
        "dirpath": str(folder),
        "filename": "best",
    }
    config = {
        "run": ["train"],
        "data": {
            "_target_": "nequip.data.datamodule.ASEDataModule",
            "seed": 1,
            "split_dataset": {"file_path": str(folder / "frames.xyz"), "train": 2, "val": 2},
            "transforms": [
                {"_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper", "model_type_names": names},
                {"_target_": f"{transforms}.NeighborListTransform", "r_max": CUTOFF},
            ],
            "train_dataloader": loader,
            "val_dataloader": loader,
        },
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": 2,
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [saved],
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "per_atom_energy": True,
                "coeffs": {"total_energy": 1.0, "forces": 1.0},
            },
            "val_metrics": {"_target_": "nequip.train.EnergyForceMetrics"},
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
            "model": {"_target_": "nequip.model.NequIPGNNModel", **SHARED, **SIZES["parities"]},
        },
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML too
    return folder


def write_checkpoint(path: Path, **options: Any) -> Any:
    """A checkpoint as training writes it; gives the model that is in it."""
    set_global_state()
    target = "nequip.train.NequIPLightningModule"
    module = NequIPLightningModule(
        model={"_target_": "nequip.model.NequIPGNNModel", **SHARED, **options},
        num_datasets={"train": 1, "val": 0, "test": 0},
        info_dict={"versions": get_current_code_versions(verbose=False), "training_module": {"_target_": target}},
    )
    content = {
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "pytorch-lightning_version": lightning.__version__,
    }
    torch.save(content, path)
    return module.model["sole_model"]

"""The list of planted faults keeps up with the code; the session ``mutants`` runs them."""

from __future__ import annotations

import pytest
from cuda_host.cuda_faults import CUDA_MUTANTS
from faults import MUTANTS
from mutants import ROOT


@pytest.mark.parametrize("mutant", MUTANTS + CUDA_MUTANTS, ids=lambda mutant: mutant.what)
def test_the_line_to_change_is_there_once(mutant) -> None:
    assert (ROOT / "tpnumba" / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert all((ROOT / "tests" / name.split("::")[0]).is_file() for name in mutant.tests.split())

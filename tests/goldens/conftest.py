"""The folder in which the cases run, shared by the modules here: its runs are made once."""

from __future__ import annotations

import pytest
from gather import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A folder in which the cases run."""
    return Workshop(tmp_path_factory.mktemp("goldens").resolve())

"""Whether this machine has the compiler that ``torch.compile`` calls. Importing this module loads no torch."""

from __future__ import annotations

import os
import shutil
import sys


def can_compile() -> bool:
    """Whether ``torch.compile`` would find its compiler: one for C++ on a CPU, or one for C (for Triton) with CUDA."""
    import torch  # here, so that settings can import this module at no cost

    if torch.cuda.is_available():
        return any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang"))))
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")) is not None

"""Builds the runtime: its own few lines, and the modules that it shares with understudy."""

import re
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gather import SOURCE, gather

PACKAGE = Path("understudy_runtime")
VERSION = SOURCE / "version.py" if SOURCE.is_dir() else PACKAGE / "version.py"


class BuildWithShared(build_py):
    """The package as it is installed."""

    def run(self) -> None:
        """Copy what is here, then what is shared."""
        super().run()
        gather(Path(self.build_lib) / PACKAGE)


class SourceWithShared(sdist):
    """The source distribution, which can be built elsewhere."""

    def make_release_tree(self, base_dir: str, files: list) -> None:
        """Copy what is here, then what is shared."""
        super().make_release_tree(base_dir, [*files, "gather.py"])
        gather(Path(base_dir) / PACKAGE)


setup(
    version=re.search(r'VERSION = "([^"]+)"', VERSION.read_text(encoding="utf-8"))[1],
    cmdclass={"build_py": BuildWithShared, "sdist": SourceWithShared},
)

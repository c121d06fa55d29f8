"""Settings of ``understudy push``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from understudy.settings.flags import Shown

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LONGEST = 96
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*|multilingual|code")


@dataclass(kw_only=True)
class PushSettings:
    """Put a trained model on the Hugging Face hub, with a card that the hub understands. Data never go."""

    command: ClassVar[str] = "push"
    positional: ClassVar[tuple[str, ...]] = ("folder",)
    folder: Annotated[str, Shown("FOLDER", required=True)] = ""
    """A run, a model folder or an exported one; also as a bare word."""
    to: Annotated[str, Shown("USER/NAME", required=True)] = ""
    """The repository on the hub; it is made if it is not there."""
    onnx: Annotated[str | None, Shown("FOLDER")] = None
    """A folder that `understudy export` or `quantize` made of the same model; it goes into onnx/."""
    languages: Annotated[list[str], Shown("CODE")] = field(default_factory=list)
    """The languages of the texts, for the card, such as en or de."""
    license: Annotated[str | None, Shown("NAME")] = None
    """The licence of the model as the hub names it, such as apache-2.0, for the card."""
    private: bool = False
    """Make the repository private, if it is new."""
    token: Annotated[str | None, Shown("VARIABLE")] = None
    """The environment variable that holds the token (HF_TOKEN, else what `hf auth login` stored)."""
    dry_run: Annotated[bool, Shown(group="Run")] = False
    """Print what would go, with its bytes, and what would stay; send nothing."""

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading the files."""
        faults = []
        if not self.folder:
            faults.append(
                "no folder: name a run or a model folder, as in: understudy push runs/student --to user/name."
            )
        elif not Path(self.folder).expanduser().is_dir():
            faults.append(f"{self.folder}: there is no such folder. Check the path.")
        if not self.to:
            faults.append("no repository: name it with --to, as in: --to user/name.")
        else:
            faults += repository_faults(self.to)
        if self.onnx is not None and not Path(self.onnx).expanduser().is_dir():
            faults.append(f"{self.onnx}: there is no such folder. Check --onnx.")
        faults += [
            f"--languages names '{code}', which is no code of a language. Give codes such as en, de or tw."
            for code in self.languages
            if not _LANGUAGE.fullmatch(code)
        ]
        if self.token is not None and not re.fullmatch(r"[A-Za-z_]\w*", self.token):
            faults.append("--token takes the name of an environment variable that holds the token, such as HF_TOKEN.")
        elif self.token is not None and self.token.startswith("hf_"):
            faults.append(
                "--token takes the name of an environment variable, never the token itself: everybody on this machine can read a command line. Set HF_TOKEN instead, and make that token invalid."
            )
        return faults


def repository_faults(name: str) -> list[str]:
    """What is wrong with the name of a repository.

    Example:
        >>> repository_faults("ada/small-reviews")
        []
        >>> repository_faults("reviews")
        ["--to is 'reviews', but must be user/name, as in: --to ada/small-reviews."]
    """
    parts = name.split("/")
    if len(parts) != 2:
        return [f"--to is '{name}', but must be user/name, as in: --to ada/small-reviews."]
    wrong = [
        part for part in parts if not _NAME.fullmatch(part) or "--" in part or ".." in part or part.endswith(".git")
    ]
    if wrong:
        return [
            f"--to is '{name}', but '{wrong[0]}' is no name that the hub takes: letters, digits, '-', '_' and '.', the first and the last a letter or a digit, no '--', no '..'."
        ]
    return [f"--to is '{name}', which is longer than {_LONGEST} characters."] if len(name) > _LONGEST else []

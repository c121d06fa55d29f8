"""What can be compared: how the entries of ``compare --models`` are read, and what can be wrong with them."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from understudy.errors import UnderstudyError, nearest
from understudy.models.files.names import resolve
from understudy.settings.adapters import AdapterSettings
from understudy.settings.models import model_faults
from understudy.settings.student_options import STUDENTS, LayersOptions, is_table, layers_faults

TFIDF = "tfidf"
DISTILLED = "distilled"
_NAMED = re.compile(r"([\w.+:,@ -]+)=(.+)")
_NOT_IN_A_FOLDERS_NAME = re.compile(r"[^\w.+@,=-]+")
_ANYWHERE = ("model", "checkpoint", "best")
"""Names of folders that say nothing: the folder above is called after."""
_DEPTHS = ("num_hidden_layers", "n_layers", "n_layer")
"""How configurations of transformers call the number of layers."""


def _adapters() -> tuple[str, ...]:
    kind = typing.get_type_hints(AdapterSettings)["adapter"]
    (known,) = (part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_args(known)


ADAPTERS = _adapters()
"""The kinds of adapters that can stand after a model: ``MODEL+lora``."""


@dataclass(frozen=True)
class Contestant:
    """One entry of ``--models``."""

    name: str
    """How tables and plots call it."""
    spec: str
    """A model folder or hub id, ``bilstm``, ``static``, ``layers:N`` or ``tfidf``."""
    kind: Literal["encoder", "student", "tfidf"]
    adapter: str | None = None
    distilled: bool = False
    """Whether it learns from a teacher's answers."""

    @property
    def folder(self) -> str:
        """Its name as the name of a folder."""
        return _NOT_IN_A_FOLDERS_NAME.sub("-", self.name)

    @property
    def is_cut(self) -> bool:
        """Whether it is made of some layers of another model."""
        return self.spec.split(":")[0] == LayersOptions.name

    @property
    def is_encoder(self) -> bool:
        """Whether it is a pretrained model all of whose weights learn from the labels: what can teach, and be cut."""
        return self.kind == "encoder" and self.adapter is None and not self.distilled


def contestant(entry: str) -> Contestant:
    """Read an entry: ``[NAME=]MODEL[+KIND of adapter][+distilled]``.

    Example:
        >>> contestant("layers:3+distilled")
        Contestant(name='layers:3+distilled', spec='layers:3', kind='student', adapter=None, distilled=True)
        >>> contestant("small=models/bert-mini+lora").name, contestant("models/bert-mini+lora").name
        ('small', 'bert-mini+lora')
    """
    own, spec, suffixes = _parts(entry)
    adapter = next((suffix for suffix in suffixes if suffix in ADAPTERS), None)
    kind: Literal["encoder", "student", "tfidf"] = (
        "tfidf" if spec == TFIDF else "student" if spec.split(":")[0] in STUDENTS else "encoder"
    )
    name = own or "+".join([_short(spec) if kind == "encoder" else spec, *suffixes])
    return Contestant(name, spec, kind, adapter, DISTILLED in suffixes)


def _parts(entry: str) -> tuple[str | None, str, list[str]]:
    """The name that an entry gives, its model, and what stands after that."""
    own, spec = None, entry
    if (match := _NAMED.fullmatch(entry)) and not Path(entry).expanduser().exists():
        own, spec = match[1].strip(), match[2]
    suffixes: list[str] = []
    while (parts := spec.rpartition("+"))[1] and parts[2] in (DISTILLED, *ADAPTERS):
        spec = parts[0]
        suffixes.insert(0, parts[2])
    return own, spec, suffixes


def _short(spec: str) -> str:
    """What a folder or a hub id is called.

    Example:
        >>> _short("/data/models/bert-mini"), _short("google/bert-base"), _short("runs/teacher/model")
        ('bert-mini', 'bert-base', 'teacher')
    """
    path = Path(spec).resolve() if Path(spec).name in ("", "..") else Path(spec)
    parts = [part for part in path.parts if part not in ("/", ".", "~")]
    while len(parts) > 1 and parts[-1] in _ANYWHERE:
        parts.pop()
    return parts[-1] if parts else spec


def contestants_faults(entries: Sequence[str], *, teacher: str | None, encoder: str | None) -> list[str]:
    """What is wrong with a list of models, before anything is loaded: every bad entry, and every name that occurs twice.

    Args:
        teacher: who teaches what is distilled; the first encoder of the list if it is None.
        encoder: what students are made of; the first encoder of the list if it is None.
    """
    faults = [fault for entry in entries for fault in _faults(entry)]
    found = [contestant(entry) for entry in entries]
    seen: dict[str, str] = {}
    for entry, one in zip(entries, found, strict=True):
        if one.folder in seen:
            said = f"twice '{entry}'" if seen[one.folder] == entry else f"'{seen[one.folder]}' and '{entry}'"
            faults.append(
                f"--models names {said}, and both would be called '{one.name}'. Leave one out, or give it a name of its own: other={entry}"
            )
        seen.setdefault(one.folder, entry)
    has_encoder = any(one.is_encoder for one in found)
    for entry, one in zip(entries, found, strict=True):
        if one.distilled and teacher is None and not has_encoder:
            faults.append(f"{entry}: nobody teaches it. Name a --teacher, or an encoder among --models.")
        if one.is_cut and not one.distilled and encoder is None and not has_encoder:
            faults.append(f"{entry}: there is no encoder that it could be cut from. Name one with --encoder.")
    first = next((one.spec for one in found if one.is_encoder), None)
    for entry, one in zip(entries, found, strict=True):
        faults += _depth_faults(entry, one, (teacher if one.distilled else encoder) or first)
    return faults


def _depth_faults(entry: str, one: Contestant, source: str | None) -> list[str]:
    """What is wrong with the number of layers, where the configuration of what they are cut from is at hand.

    It would be said when its turn comes, too, but that may be hours later.
    """
    numbered = re.fullmatch(rf"{LayersOptions.name}:([1-9]\d*)", one.spec)
    depth = None if source is None or numbered is None else _depth(source)
    if depth is None or numbered is None or int(numbered[1]) <= depth:
        return []
    return [f"{entry}: {source} has {depth} layers, so it can have 1 to {depth} of them. Name fewer."]


def _depth(model: str) -> int | None:
    """The layers of a model in a local folder, as its configuration tells; None where it does not."""
    try:
        told = json.loads((Path(resolve(model, weights=False)) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, UnderstudyError):
        return None
    found = next((told[key] for key in _DEPTHS if key in told), None) if isinstance(told, dict) else None
    return found if isinstance(found, int) else None


def _faults(entry: str) -> list[str]:
    """What is wrong with one entry."""
    one = contestant(entry)
    faults: list[str] = []
    suffix = one.spec.rpartition("+")
    if one.kind == "encoder":
        faults = model_faults(one.spec, built=(*STUDENTS, TFIDF))
        if faults and suffix[1] and not Path(one.spec).exists():
            known = (DISTILLED, *ADAPTERS)
            faults = [
                f"{entry}: after the + stands {DISTILLED} or a kind of adapter ({', '.join(ADAPTERS)}), but it is '{suffix[2]}'.{nearest(suffix[2], known)}"
            ]
    elif one.kind == "student" and not is_table(one.spec.split(":")[0]):
        faults = [f"{entry}: {fault}" for fault in layers_faults(one.spec, LayersOptions())]
    elif one.kind == "student" and ":" in one.spec:
        faults = [f"{entry}: {one.spec.split(':')[0]} takes no number. Leave it out."]
    suffixes = _parts(entry)[2]
    if len([suffix for suffix in suffixes if suffix in ADAPTERS]) > 1 or suffixes.count(DISTILLED) > 1:
        faults.append(f"{entry}: {'+'.join(suffixes)} is more than one model has. Name one after the +.")
    if one.name == TFIDF and one.kind != "tfidf":
        faults.append(f"{entry}: {TFIDF} is what TF-IDF with a linear model is called. Give this one another name.")
    if one.adapter is not None and one.kind != "encoder":
        faults.append(f"{entry}: an adapter is trained inside a pretrained model, and {one.spec} is none.")
    if one.adapter is not None and one.distilled:
        faults.append(f"{entry}: an adapter learns from the labels alone. Leave out +{DISTILLED} or +{one.adapter}.")
    if one.kind == "tfidf" and one.distilled:
        faults.append(f"{entry}: TF-IDF learns from the labels alone. Leave out +{DISTILLED}.")
    return faults

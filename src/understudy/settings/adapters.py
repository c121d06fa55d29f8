"""Which adapter is trained instead of the encoder's weights: settings that several training commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from understudy.adapters.design import LEAST_REDUCTION
from understudy.models.files.names import adapter_folder
from understudy.settings.flags import Shown

_SPAN = re.compile(r"(\d+)(?:-(\d+))?")
_OF_LAYERS = re.compile(rf"{_SPAN.pattern}=(\d+(?:\.\d+)?)")


@dataclass(kw_only=True)
class AdapterSettings:
    """Which adapter is trained, if one is."""

    group: ClassVar[str] = "Method"
    adapter: (
        Annotated[Literal["houlsby", "pfeiffer", "parallel", "invertible", "lora", "ia3"], Shown("KIND")] | None
    ) = None
    """Train a small adapter in a frozen encoder: houlsby, pfeiffer, parallel, invertible, lora or ia3."""
    reduction: Annotated[float, Ge(LEAST_REDUCTION), Shown(rare=True)] | None = None
    """The encoder's width divided by this is the width of an adapter that is neither lora nor ia3 (16, of invertible 2)."""
    reductions: Annotated[list[str], Shown("LAYER=X", rare=True)] = field(default_factory=list)
    """Of single layers, instead of --reduction: `0-3=64 11=8`."""
    rank: Annotated[int, Gt(0), Shown(rare=True)] | None = None
    """Rank of a lora (8)."""
    non_linearity: (
        Annotated[Literal["relu", "swish", "gelu", "gelu_new", "tanh", "leakyrelu", "linear"], Shown("NAME", rare=True)]
        | None
    ) = None
    """Between an adapter's two projections (swish for houlsby, otherwise relu)."""
    adapter_scaling: Annotated[float, Gt(0), Shown(rare=True)] | None = None
    """What an adapter adds is multiplied by this (4 for parallel, 2 for lora, otherwise 1)."""
    adapter_start: Annotated[Literal["identity", "normal"], Shown(rare=True)] = "identity"
    """identity: at first the adapter adds exactly nothing. normal: drawn from N(0, 0.02), as in AdapterHub."""
    adapter_norms: Annotated[bool, Shown(rare=True)] = False
    """The adapter also has norms of its own, which learn instead of the encoder's."""
    drop_adapters: Annotated[list[str], Shown("LAYER", rare=True)] = field(default_factory=list)
    """Layers without an adapter: `0-3`. Nothing learns below the lowest adapter, so steps are faster (AdapterDrop)."""
    load_adapter: Annotated[str | None, Shown("FOLDER", rare=True)] = None
    """Go on from this adapter, which was trained on the same base."""
    stack_on: Annotated[str | None, Shown("FOLDER", rare=True)] = None
    """Stack the new adapter on this one, such as that of a language (MAD-X), which stays as it is and is saved with it."""
    fuse: Annotated[list[str], Shown("FOLDER", rare=True)] = field(default_factory=list)
    """Instead of --adapter: fuse these trained adapters by attention (AdapterFusion), which alone learns, with a new head."""
    adapter_half: Annotated[bool, Shown(rare=True)] = False
    """Store adapter and head in two bytes a number; what is scored is what is stored."""

    @property
    def adapts(self) -> bool:
        """Whether an adapter is trained."""
        return self.adapter is not None or self.load_adapter is not None or bool(self.fuse)

    def adapter_faults(self, *, trains: str | None) -> list[str]:
        """What is wrong with these settings.

        Args:
            trains: what is trained if that is no encoder's weights, such as ``--model tfidf``.
        """
        design = self._design_flags()
        faults = []
        if not self.adapts:
            rest = [*design, *self._flags("drop_adapters", "stack_on", "adapter_half")]
            return [f"{', '.join(rest)}: this is for adapters. Give --adapter, or leave it out."] if rest else []
        if trains is not None:
            faults.append(f"an adapter is trained inside an encoder, but {trains} trains none. Leave one of them out.")
        if self.load_adapter is not None and (said := [*self._flags("adapter", "stack_on", "fuse"), *design]):
            faults.append(
                f"{', '.join(said)}: the adapter of --load_adapter is what it is. Leave out --load_adapter for a new one, or {' and '.join(said)}."
            )
        faults += self._fuse_faults(design)
        for flag, name in (
            ("--load_adapter", self.load_adapter),
            ("--stack_on", self.stack_on),
            *(("--fuse", name) for name in self.fuse),
        ):
            if name is not None and adapter_folder(name) is None:
                there = "is no adapter: it holds no adapter_config.json" if Path(name).exists() else "no such folder"
                faults.append(f"{name}: {there}. Name the folder of a run that trained one with {flag}.")
        allowed = {"lora": ["--rank", "--adapter_scaling"], "ia3": []}.get(
            str(self.adapter), [f for f in design if f != "--rank"]
        )
        if self.adapter is not None and (odd := [flag for flag in design if flag not in allowed]):
            faults.append(f"{', '.join(odd)}: this is for another kind of adapter than {self.adapter}. Leave it out.")
        if getattr(self, "freeze", []):
            faults.append(
                "--freeze: with an adapter the whole encoder is frozen. Leave it out; --drop_adapters names layers without an adapter."
            )
        bad = [word for word in self.drop_adapters if not _SPAN.fullmatch(word)]
        faults += [f"--drop_adapters: {word!r} is neither a layer (3) nor a range of layers (0-3)." for word in bad]
        faults += _falling("--drop_adapters", [_SPAN.fullmatch(word) for word in self.drop_adapters])
        return faults + self._reductions_faults()

    def adapters_read(self) -> list[str]:
        """The names of the adapters that are read."""
        return [name for name in (self.load_adapter, self.stack_on, *self.fuse) if name is not None]

    def given_of_others(self, *allowed: str) -> list[str]:
        """The flags that build on trained adapters and were given, but for those that a command allows."""
        return [f for f in self._flags("load_adapter", "stack_on", "fuse") if f.removeprefix("--") not in allowed]

    def layer_reductions(self) -> dict[int, float]:
        """The reductions of single layers by their numbers.

        Example:
            >>> AdapterSettings(reductions=["0-1=64", "5=8"]).layer_reductions()
            {0: 64.0, 1: 64.0, 5: 8.0}
        """
        found = [match for word in self.reductions if (match := _OF_LAYERS.fullmatch(word))]
        return {layer: float(match[3]) for match in found for layer in _layers(match)}

    def _reductions_faults(self) -> list[str]:
        read = [(word, _OF_LAYERS.fullmatch(word)) for word in self.reductions]
        faults = [
            f"--reductions: {word!r} must be a layer or a range of layers and a number from {LEAST_REDUCTION}, as in 0-3=64."
            for word, found in read
            if not found or float(found[3]) < LEAST_REDUCTION
        ]
        faults += _falling("--reductions", [found for _, found in read])
        named = [layer for word in self.reductions if (found := _OF_LAYERS.fullmatch(word)) for layer in _layers(found)]
        twice = sorted({layer for layer in named if named.count(layer) > 1})
        faults += [f"--reductions names layer {layer} more than once. Name it once." for layer in twice[:3]]
        return faults

    def _fuse_faults(self, design: list[str]) -> list[str]:
        if not self.fuse:
            return []
        faults = []
        if said := [*self._flags("adapter", "drop_adapters"), *design]:
            faults.append(
                f"{', '.join(said)}: the adapters of --fuse are what they are. Leave out --fuse, or {' and '.join(said)}."
            )
        if len(self.fuse) < 2:
            faults.append("--fuse names one adapter. Name two or more.")
        faults += [
            f"--fuse names {name} more than once. Leave one of them out."
            for name in dict.fromkeys(self.fuse)
            if self.fuse.count(name) > 1
        ]
        return faults

    def dropped(self) -> tuple[int, ...]:
        """The numbers of the layers that get no adapter.

        Example:
            >>> AdapterSettings(drop_adapters=["0-2", "5"]).dropped()
            (0, 1, 2, 5)
        """
        found = [match for word in self.drop_adapters if (match := _SPAN.fullmatch(word))]
        return tuple(sorted({layer for match in found for layer in _layers(match)}))

    def _design_flags(self) -> list[str]:
        return self._flags(
            "reduction", "reductions", "rank", "non_linearity", "adapter_scaling", "adapter_start", "adapter_norms"
        )

    def _flags(self, *names: str) -> list[str]:
        plain = AdapterSettings()
        return [f"--{name}" for name in names if getattr(self, name) != getattr(plain, name)]


def _falling(flag: str, found: list[re.Match[str] | None]) -> list[str]:
    """What is wrong with ranges of layers that count down."""
    return [
        f"{flag}: {match[1]}-{match[2]} counts down. Write {match[2]}-{match[1]}."
        for match in found
        if match is not None and match[2] is not None and int(match[2]) < int(match[1])
    ]


def _layers(match: re.Match[str]) -> range:
    """The layers of a match of ``_SPAN``, both ends included."""
    return range(int(match[1]), int(match[2] or match[1]) + 1)

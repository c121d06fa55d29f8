"""Which adapter is trained instead of the encoder's weights: settings that several training commands share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Gt

from understudy.models.files.names import adapter_folder
from understudy.settings.flags import Shown

_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(kw_only=True)
class AdapterSettings:
    """Which adapter is trained, if one is."""

    group: ClassVar[str] = "Method"
    adapter: Annotated[Literal["houlsby", "pfeiffer", "parallel", "lora", "ia3"], Shown("KIND")] | None = None
    """Train a small adapter in the encoder, which stays as it is: houlsby, pfeiffer, parallel, lora or ia3."""
    reduction: Annotated[float, Gt(0)] | None = None
    """The encoder's width divided by this is the width of a houlsby, pfeiffer or parallel adapter (16)."""
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
    """Go on from this adapter, which was trained on the same --model."""
    adapter_half: Annotated[bool, Shown(rare=True)] = False
    """Store adapter and head in two bytes a number; what is scored is what is stored."""

    @property
    def adapts(self) -> bool:
        """Whether an adapter is trained."""
        return self.adapter is not None or self.load_adapter is not None

    def adapter_faults(self, *, trains: str | None) -> list[str]:
        """What is wrong with these settings.

        Args:
            trains: what is trained if that is no encoder's weights, such as ``--model tfidf``.
        """
        design = self._design_flags()
        faults = []
        if not self.adapts:
            rest = [*design, *self._flags("drop_adapters", "adapter_half")]
            return [f"{', '.join(rest)}: this is for adapters. Give --adapter, or leave it out."] if rest else []
        if trains is not None:
            faults.append(f"an adapter is trained inside an encoder, but {trains} trains none. Leave one of them out.")
        if self.load_adapter is not None and (said := [*self._flags("adapter"), *design]):
            faults.append(
                f"{', '.join(said)}: the adapter of --load_adapter is what it is. Leave out --load_adapter for a new one, or {' and '.join(said)}."
            )
        if self.load_adapter is not None and adapter_folder(self.load_adapter) is None:
            there = (
                "is no adapter: it holds no adapter_config.json"
                if Path(self.load_adapter).exists()
                else "no such folder"
            )
            faults.append(
                f"{self.load_adapter}: {there}. Name the folder of a run that trained one with --load_adapter."
            )
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
        return faults

    def dropped(self) -> tuple[int, ...]:
        """The numbers of the layers that get no adapter.

        Example:
            >>> AdapterSettings(drop_adapters=["0-2", "5"]).dropped()
            (0, 1, 2, 5)
        """
        found = [match for word in self.drop_adapters if (match := _SPAN.fullmatch(word))]
        spans = [range(int(match[1]), int(match[2] or match[1]) + 1) for match in found]
        return tuple(sorted({layer for span in spans for layer in span}))

    def _design_flags(self) -> list[str]:
        return self._flags("reduction", "rank", "non_linearity", "adapter_scaling", "adapter_start", "adapter_norms")

    def _flags(self, *names: str) -> list[str]:
        plain = AdapterSettings()
        return [f"--{name}" for name in names if getattr(self, name) != getattr(plain, name)]

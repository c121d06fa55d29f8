"""``understudy push``: a trained model on the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from understudy.adapters.facts import AdapterFacts
from understudy.deploy.hub.contents import left_behind, pushed_files
from understudy.deploy.hub.sending import send, token_of
from understudy.errors import ModelError
from understudy.models.files.names import ADAPTER, kind_of, read_model_config, resolve
from understudy.report.card.hub import hub_card, plain_hub_card
from understudy.report.numbers import human_bytes
from understudy.settings.configuration import check
from understudy.settings.ship.push import PushSettings
from understudy.terminal.lines import say, show


class Push(PushSettings):
    """Put a trained model on the Hugging Face hub, with a card that the hub understands."""

    def run(self) -> str:
        """Find the model, write the card, send; the address of the repository, empty if nothing was sent.

        Raises:
            UnderstudyError: if there is no model, no token, or the hub cannot be reached or refuses.
        """
        check(self)
        given = Path(self.folder).expanduser()
        model = Path(resolve(self.folder, adapters=True))
        run = next((place for place in (given, given.parent) if _is_run_of(place, model)), None)
        files = pushed_files(
            model,
            run=run,
            onnx=None if self.onnx is None else Path(resolve(self.onnx, adapters=True)),
            card=self._card(model, run),
        )
        if base := _base_of_this_machine(model):
            say(
                f"  the adapter's base is {base}, a folder of this machine: nobody else can load it. Push the base too, write its hub id in its place in {model / ADAPTER}, and push again."
            )
        total = sum(one.size for one in files)
        if self.dry_run:
            width = len(f"{max(one.size for one in files):,}")
            for one in files:
                show(f"{one.size:>{width},}  {one.name}")
            show(
                f"{total:,} bytes ({human_bytes(total)}) in {len(files)} files would go to {self.to}{', which would be private' if self.private else ''}."
            )
            if stays := left_behind(given, files):
                show(f"These stay here: {', '.join(stays)}.")
            return ""
        address = send(files, repository=self.to, token=token_of(self.token), private=self.private)
        show(f"{address}: has {len(files)} files of {self.folder}, {human_bytes(total)}.")
        return address

    def _card(self, model: Path, run: Path | None) -> str:
        """The card: that of the run, or a short one where there is no record."""
        named: dict[str, Any] = {"repository": self.to, "languages": self.languages, "licence": self.license}
        if run is not None:
            return hub_card(run, _record(run), **named)
        kind = kind_of(model)
        about = {} if kind == "adapter" else read_model_config(model).get("understudy") or {}
        task = about.get("task") if isinstance(about, dict) else None
        pair = isinstance(task, dict) and len(task.get("text") or []) == 2
        language = kind in ("language_model", "awd_lstm")
        return plain_hub_card(
            f"A text model ({about.get('of') or kind}), made with Understudy.",
            pair=pair,
            pipeline="text-generation" if language and task is None else "text-classification",
            **named,
        )


def _base_of_this_machine(model: Path) -> str | None:
    """The folder that an adapter belongs to; None for one of the hub, or if it is no adapter."""
    if kind_of(model) != "adapter":
        return None
    base = AdapterFacts.read(model).base.name
    return base if Path(base).is_absolute() else None


def _is_run_of(folder: Path, model: Path) -> bool:
    """Whether a folder is a finished run and the model lies in it."""
    return (folder / "record.json").is_file() and folder.resolve() in model.resolve().parents


def _record(run: Path) -> dict[str, Any]:
    """The record of a run.

    Raises:
        ModelError: if it cannot be read, or the run is not finished.
    """
    try:
        found: dict[str, Any] = json.loads((run / "record.json").read_text(encoding="utf-8"))
        finished = found.get("finished") is True
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise ModelError(f"{run}: its record.json cannot be read ({error}). Name its model folder instead.") from None
    if not finished:
        raise ModelError(f"{run}: the run is not finished. Finish it with --resume first, then push it.")
    return found

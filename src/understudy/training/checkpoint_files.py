"""What a phase of training leaves on disk: checkpoints to resume from, and its result when it is finished."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from understudy.errors import ConfigError
from understudy.training.best_weights import BestWeights
from understudy.training.checkpoint import load_checkpoint, random_state, save_checkpoint
from understudy.training.weights import Weights

_FORMAT = 4
"""The format of the files; it is raised whenever their contents change."""


class PhaseFiles:
    """The files of a phase. They hold what training may change, and a fingerprint of the frozen parameters.

    - ``<phase>.pt``: the checkpoint: weights, extra state, optimizer, generators, how far the run has come.
    - ``<phase>-best-<step>.pt``: the best weights that belong to it; written only if they have changed.
    - ``<phase>-rank<n>-<step>.pt``: with several processes, the generators and the extra state of each.
    - ``<phase>-done.pt``: the result of a finished phase, and its final weights.

    A checkpoint names the files that belong to it. They are written before it, and old ones are deleted after it, so a
    kill at any moment leaves a complete set.

    Args:
        stem: folder and name of the phase.
        weights: those of the objective.
        keepers: the best weights, by a name each.
        accelerator: the processes.
        lasting: further keepers, whose weights are still needed when the phase is finished.
    """

    def __init__(
        self,
        stem: Path,
        weights: Weights,
        keepers: Mapping[str, BestWeights],
        accelerator: Accelerator,
        lasting: Mapping[str, BestWeights] | None = None,
    ) -> None:
        self._lasting = lasting or {}
        self._keepers = {**keepers, **self._lasting}
        self._stem, self._weights, self._accelerator = stem, weights, accelerator
        self.path, self.done_path = stem.with_name(f"{stem.name}.pt"), done_path(stem.parent, stem.name)
        self._kept: dict[str, int] = {}
        """The steps of the best weights on disk, by the keeper's name."""

    def save(self, step: int, content: Mapping[str, Any]) -> None:
        """Write a checkpoint; all processes call it.

        Args:
            step: of the run.
            content: what is the same for all processes, beside the weights and the generators.
        """
        accelerator = self._accelerator
        if accelerator.num_processes > 1:
            save_checkpoint(self._rank_path(step), {"random": random_state(), "carried": self._weights.extra()})
            accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._save_best()
            save_checkpoint(
                self.path,
                {
                    **content,
                    "model": self._weights.changing(),
                    "extra": self._weights.extra(),
                    "frozen": self._weights.frozen_fingerprint,
                    "best": self._kept,
                    "random": random_state(),
                    "processes": accelerator.num_processes,
                    "format": _FORMAT,
                },
            )
        accelerator.wait_for_everyone()
        self._delete(f"rank{accelerator.process_index}", all_but=[self._rank_path(step)])
        if accelerator.is_main_process:
            self._delete_best(all_but=[self._best_path(name, step) for name, step in self._kept.items()])

    def _save_best(self) -> None:
        for name, keeper in self._keepers.items():
            if keeper.found and self._kept.get(name) != keeper.step:
                save_checkpoint(self._best_path(name, keeper.step), keeper.state_dict())
                self._kept[name] = keeper.step

    def load(self) -> dict[str, Any] | None:
        """The checkpoint, with this process's own generators and extra state; None if there is none.

        The best weights go to their keepers. Nothing else is restored yet.

        Raises:
            ConfigError: if the checkpoint is of another format or number of processes, if a file that belongs to it is
                missing, or if the frozen parameters have changed.
        """
        content = load_checkpoint(self.path)
        if content is None:
            return None
        self._check(content, self.path)
        if content["processes"] != self._accelerator.num_processes:
            raise ConfigError(
                f"{self.path}: was written by {content['processes']} processes, but there are now "
                f"{self._accelerator.num_processes}. Resume with as many as before."
            )
        if self._accelerator.num_processes > 1:
            own = _needed(self._rank_path(content["state"]["step"]))
            content |= {"random": own["random"], "extra": content["extra"] | own["carried"]}
        self._kept = content["best"]
        for name, step in self._kept.items():
            self._keepers[name].load_state_dict(_needed(self._best_path(name, step)))
        return content

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result and the final weights, and delete the checkpoint; all processes call it."""
        if self._accelerator.is_main_process:
            weights, frozen = self._weights.changing(), self._weights.frozen_fingerprint
            content = {"weights": weights, "frozen": frozen, "result": dict(result), "format": _FORMAT}
            if self._lasting:
                content["kept"] = {name: keeper.state_dict() for name, keeper in self._lasting.items()}
            save_checkpoint(self.done_path, content)
            self.path.unlink(missing_ok=True)
            self._delete_best(all_but=[])
        self._accelerator.wait_for_everyone()

    def finished(self) -> dict[str, Any] | None:
        """The result of a finished phase, after its final weights were put back; None if it is not finished.

        Raises:
            ConfigError: if the file is of another format, or the frozen parameters have changed.
        """
        content = load_checkpoint(self.done_path)
        if content is None:
            return None
        self._check(content, self.done_path)
        self._weights.put_back(content["weights"])
        for name, keeper in self._lasting.items():
            keeper.load_state_dict(content["kept"][name])
        result: dict[str, Any] = content["result"]
        return result

    def _check(self, content: Mapping[str, Any], path: Path) -> None:
        if content.get("format") != _FORMAT:
            raise ConfigError(
                f"{path}: was written by another version of understudy. Give --overwrite instead of --resume to start afresh."
            )
        if content["frozen"] != self._weights.frozen_fingerprint:
            raise ConfigError(
                f"{path}: the frozen weights are not those that the run began with, and no checkpoint has a copy of them. "
                "Resume with the model of before, or give --overwrite instead of --resume to start afresh."
            )

    def _rank_path(self, step: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}-rank{self._accelerator.process_index}-{step}.pt")

    def _best_path(self, keeper: str, step: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}-{keeper}-{step}.pt")

    def _delete_best(self, *, all_but: Collection[Path]) -> None:
        for name in self._keepers:
            self._delete(name, all_but=all_but)

    def _delete(self, kind: str, *, all_but: Collection[Path]) -> None:
        for path in set(self._stem.parent.glob(f"{self._stem.name}-{kind}-*.pt")):
            if path not in all_but:
                path.unlink()


def done_path(folder: Path, phase: str) -> Path:
    """The file that a finished phase leaves."""
    return folder / f"{phase}-done.pt"


def _needed(path: Path) -> dict[str, Any]:
    content = load_checkpoint(path)
    if content is None:
        raise ConfigError(f"{path}: is missing. Give --overwrite instead of --resume to start afresh.")
    return content

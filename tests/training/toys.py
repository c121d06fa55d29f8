"""Batch sources and scores for the loop, small enough to be worked out by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from understudy.checksums import seal
from understudy.data.batches.contract import Batch


class Rows:
    """A batch source over fixed rows: `cuts` gives the sizes of the micro-batches of every step."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor, cuts: list[int]) -> None:
        self.x, self.y, self.cuts = x, y, cuts

    def steps(self, epoch: int) -> int:
        return len(self.x) // sum(self.cuts)

    def windows(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(epoch))
        for step in order.split(sum(self.cuts))[start : self.steps(epoch)]:
            yield [self._batch(rows) for rows in step.split(self.cuts)]

    def _batch(self, rows: torch.Tensor) -> Batch:
        labels = self.y[rows]
        counts = {"rows": len(rows), "labelled": int((labels != -100).sum())}
        return Batch(inputs={"input_ids": self.x[rows]}, counts=counts, labels=labels)


def rows(
    n: int = 64, *, unlabelled: bool = False, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=generator, dtype=dtype)
    y = (x @ torch.randn(4, 3, generator=generator, dtype=dtype)).argmax(-1)
    if unlabelled:
        y[torch.randperm(n, generator=generator)[: n // 2]] = -100
    return x, y


def accuracy(source: Rows) -> Callable[[nn.Module], dict[str, float]]:
    def score(model: nn.Module) -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            return {"accuracy": (model(source.x).logits.argmax(-1) == source.y).double().mean().item()}

    return score


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rewrite(path: Path, content: object) -> None:
    """Put other content into a checkpoint, with the checksum that its reader asks for."""
    torch.save(content, path)
    with open(path, "r+b") as file:
        seal(file)

"""An exported folder with smaller weights, written only if the score on labelled rows survives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from understudy.atomic import OUTPUT, new_folder
from understudy.checksums import list_checksums
from understudy.data.splits import Rows
from understudy.data.tasks import Text
from understudy.deploy.onnx.export import TOLERANCE, write_graph, write_mobile
from understudy.deploy.onnx.int8 import parts_of
from understudy.deploy.onnx.targets import INT8, Target
from understudy.errors import ModelError, require
from understudy.evaluation.paired import PairedDifference, paired_differences
from understudy.functional.scoring import higher_is_better, score
from understudy.inference.exported.facts import (
    BAG,
    GRAPH,
    MOBILE,
    SAMPLE,
    TOKENIZER,
    ExportedFacts,
    QuantizedFacts,
)
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.terminal.lines import say

LEVEL = 0.95
"""Of the interval of the difference: its upper end is exceeded by chance in 2.5 of 100 models."""
_RANKED_ON = 512
"""Rows on which single parts are ranked. All rows decide."""


def quantize_onnx(
    folder: Path, source: ExportedPredictor, rows: Rows, *, origin: str, max_drop: float, target: Target = INT8
) -> ExportedFacts:
    """Write an exported folder whose weights are smaller, as far as the score allows. It appears whole or not at all.

    The score of `source` and that of the new model are compared on the same rows. If the upper end of the interval of
    their difference is above `max_drop`, the parts that move the logits most are left in float32, one after the other,
    until it is not.

    Args:
        source: an exported model with float32 weights.
        rows: labelled rows, in the order of the model's labels.
        origin: what these rows are, in words.
        max_drop: in points, hundredths of the metric.
        target: what weights become, see :mod:`understudy.deploy.onnx.targets`.

    Returns:
        The facts; ``quantized`` says what was measured.

    Raises:
        ModelError: if nothing can be made smaller, if the score falls too much whatever is left out, or if `source` is
            quantised already or above 1.5 GB.
        OutputError: if the folder cannot be written.
        UnderstudyError: if what it needs is not installed.
    """
    if source.facts.quantized is not None:
        raise ModelError(
            f"{source.folder}: is quantised already ({source.facts.quantized.to}). Name the model that it was made of."
        )
    if (source.folder / f"{GRAPH}.data").is_file():
        raise ModelError(
            f"{source.folder}: its weights lie beside the graph, because they are above 1.5 GB, and ONNX Runtime quantises no graph of that size. Distil it into a smaller model, such as layers:N."
        )
    onnx: Any = require("onnx", extra="onnx")
    graph = onnx.load(str(source.folder / GRAPH))
    # The head of a static model stays as it is, so that NumPy and ONNX Runtime compute the same.
    parts = parts_of(graph, tables_only=(source.folder / BAG).is_file(), kinds=target.kinds)
    if not parts:
        raise ModelError(f"{source.folder}: its graph has no weights that can be {target.name}. Use it as it is.")
    metric = next((name for name in source.task.metrics if higher_is_better(name)), "pearson")
    with new_folder(folder, remedy=OUTPUT, replace=True) as temporary:
        for name in (TOKENIZER, SAMPLE):
            if (source.folder / name).is_file():
                shutil.copyfile(source.folder / name, temporary / name)
        maker = _Maker(temporary, source, graph, parts, target)
        gate = _Gate(metric, rows, source.logits(rows.texts), max_drop)
        left, found, after = _searched(folder, gate, maker)
        made = maker.predictor(left)
        told = QuantizedFacts(
            to=target.name,
            left=tuple(left),
            parts=len(parts),
            bytes_before=source.summary()["size_bytes"],
            bytes_after=made.summary()["size_bytes"],
            metric=metric,
            rows=found.rows,
            origin=origin,
            before=score(metric, gate.before, rows.labels),
            after=score(metric, after, rows.labels),
            low=found.low,
            high=found.high,
            level=LEVEL,
            max_drop=max_drop,
        )
        apart = float(np.abs(after - gate.before).max())
        facts = replace(source.facts, difference=apart, compared=len(rows), quantized=told)
        maker.write(left, facts)
        if (source.folder / MOBILE).is_file():
            write_mobile(temporary / GRAPH, temporary / MOBILE)
        _check_same(folder, temporary, rows.texts)
        list_checksums(temporary, without="config.json")
        ExportedPredictor(temporary, threads=1)
    return facts


def left_out(
    parts: Sequence[str], damage: Callable[[str], float], fits: Callable[[list[str]], bool]
) -> list[str] | None:
    """The parts to leave as they are, found greedily: the most damaging first, until what is left over fits.

    Args:
        parts: all of them.
        damage: what one part does alone; asked only if all parts together do not fit.
        fits: whether these parts, left out, are enough.

    Returns:
        The parts, in their own order; None if one part after the other was left out in vain.

    Example:
        >>> harm = {"a": 1, "b": 5, "c": 2}
        >>> left_out("abc", harm.get, lambda left: sum(harm[part] for part in harm if part not in left) < 2)
        ['b', 'c']
        >>> left_out("abc", harm.get, lambda left: False) is None
        True
    """
    if fits([]):
        return []
    order = sorted(parts, key=lambda part: -damage(part))
    for count in range(1, len(parts)):
        left = [part for part in parts if part in order[:count]]
        if fits(left):
            return left
    return None


class _Gate(NamedTuple):
    """What a model must keep."""

    metric: str
    rows: Rows
    before: np.ndarray
    """The logits of the model as it was."""
    max_drop: float

    def drop(self, after: np.ndarray) -> PairedDifference:
        """How much lower the score of these logits is."""
        pair = {"before": self.before, "after": after}
        return paired_differences(self.metric, pair, self.rows.labels, level=LEVEL)["before", "after"]

    def accepts(self, found: PairedDifference) -> bool:
        """Whether the upper end of the interval is low enough; to a billionth, which is rounding."""
        return 100 * found.high <= self.max_drop + 1e-9


class _Maker:
    """Writes the model with some parts left in float32 into a folder, and has it answer."""

    def __init__(
        self, folder: Path, source: ExportedPredictor, graph: Any, parts: dict[str, list[str]], target: Target
    ) -> None:
        self.folder, self.source, self.graph, self.parts, self.target = folder, source, graph, parts, target

    def write(self, left: Sequence[str], facts: ExportedFacts) -> None:
        """Write graph, arrays and facts."""
        nodes = [node for part, nodes in self.parts.items() if part not in left for node in nodes]
        write_graph(self.folder, self.target.graph(self.graph, nodes), facts)
        if (self.source.folder / BAG).is_file():
            with np.load(self.source.folder / BAG, allow_pickle=False) as found:
                arrays = dict(found)
            np.savez(self.folder / BAG, **self.target.table(arrays.pop("table")), **arrays)  # type: ignore[arg-type]

    def predictor(self, left: Sequence[str]) -> ExportedPredictor:
        """The model with these parts left, ready to answer."""
        self.write(left, self.source.facts)
        return ExportedPredictor(self.folder, threads=self.source.threads)

    def logits(self, left: Sequence[str], texts: Sequence[Text]) -> np.ndarray:
        """What it answers."""
        return self.predictor(left).logits(texts)


def _searched(folder: Path, gate: _Gate, maker: _Maker) -> tuple[list[str], PairedDifference, np.ndarray]:
    """The parts to leave in float32, the difference then, and the logits.

    Raises:
        ModelError: if none are enough.
    """
    tried = list[tuple[list[str], PairedDifference, np.ndarray]]()
    some = np.unique(np.linspace(0, len(gate.rows) - 1, min(len(gate.rows), _RANKED_ON)).astype(int))
    texts = gate.rows.texts.take(some)

    def fits(left: list[str]) -> bool:
        after = maker.logits(left, gate.rows.texts)
        found = gate.drop(after)
        tried.append((left, found, after))
        if not gate.accepts(found):
            names = f"with {', '.join(left)} in fp32" if left else f"all in {maker.target.name}"
            say(f"  {names}: {gate.metric} may fall by {100 * found.high:.2f} points.")
        return gate.accepts(found)

    def damage(part: str) -> float:
        others = [name for name in maker.parts if name != part]
        return float(np.square(maker.logits(others, texts) - gate.before[some]).mean())

    if left_out(list(maker.parts), damage, fits) is None:
        left, found, _ = min(tried, key=lambda one: one[1].high)
        what = f"with {', '.join(left)} in fp32" if left else f"with all weights in {maker.target.name}"
        raise ModelError(
            f"{folder}: is not written, because {gate.metric} falls too much: {what}, which is the best that was found, by {100 * found.difference:.2f} points on {found.rows:,} rows, and by up to {100 * found.high:.2f} (the upper end of the {LEVEL:.0%} interval), but --max_drop is {gate.max_drop:g}. Give more labelled rows with --texts, which narrows the interval, or a larger --max_drop."
        )
    return tried[-1]


def _check_same(folder: Path, written: Path, texts: Sequence[Text]) -> None:
    """Check that the ways to compute a folder agree: NumPy and the graph.

    Raises:
        ModelError: if they do not.
    """
    if not (written / BAG).is_file():
        return
    few = [texts[int(i)] for i in np.linspace(0, len(texts) - 1, min(len(texts), 64))]
    expected = ExportedPredictor(written).logits(few)
    apart = float(np.abs(ExportedPredictor(written, graph=GRAPH).logits(few) - expected).max())
    if not apart <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelError(
            f"{folder}: is not written, because its graph and its arrays differ by {apart:.1e}. Please report this model."
        )

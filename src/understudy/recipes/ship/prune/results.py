"""What a pruned model is worth beside the model that it was made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from understudy.data.splits import Splits
from understudy.evaluation import cost
from understudy.evaluation.quality import evaluate
from understudy.inference.predictor import Predictor
from understudy.models.shrink.prune.blocks import headed_blocks
from understudy.models.shrink.prune.magnitude import compressed_bytes, zero_share
from understudy.models.shrink.prune.sizes import loads_alone
from understudy.runs.entries import put_on_record
from understudy.runs.judging.comparing import compare
from understudy.runs.session import Session


def scored(session: Session, models: Mapping[str, Predictor], splits: Splits, *, packed: bool) -> None:
    """Put models on the record: scores on the validation and the test rows, cost; and compare them on the rows that report.

    Args:
        models: by name, the pruned one first.
        packed: whether to measure what zeros save: the share of zeros, and the bytes after compression.
    """
    parts = {"validation": splits.validation}
    if splits.test is not None:
        parts["test"] = splits.test
    answers: dict[str, np.ndarray] = {}
    for name, model in models.items():
        found = {split: session.answers(model, rows.texts) for split, rows in parts.items()}
        answers[name] = found[splits.reporting()[0]]
        with session.run.timed("evaluate_s"):
            scores = {
                split: evaluate(
                    found[split],
                    rows.labels,
                    splits.task,
                    intervals=True,
                    temperature=model.temperature,
                    seed=session.settings.seed,
                )
                for split, rows in parts.items()
            }
        with session.run.timed("bench_s"):
            facts = cost.measure(model, splits.reporting()[1].texts)
        if packed:
            facts |= {"zeros": zero_share(model.model), "compressed_bytes": compressed_bytes(model.model)}
        put_on_record(session, name, scores=scores, facts=facts, order=list(models))
    compare(session, answers, splits)


def note_sizes(session: Session, before: Predictor, after: Predictor) -> None:
    """Put on the record what is left of each layer, and whether transformers can load it."""
    pruned = session.run.record.pruned
    for name, model in (("before", before.model), ("after", after.model)):
        blocks = headed_blocks(model)
        pruned[name] = {"heads": [block.heads for block in blocks], "neurons": [block.neurons for block in blocks]}
    pruned["transformers"] = loads_alone(after.model)
    session.run.save()

"""What does a factorised embedding table lose before any training, begun from the word table or from what texts have?

The blocks stay the teacher's own, each layer with its own, so that the table alone differs: its width, and whether its
directions are those of the teacher's word table, each row alike, or those of the embeddings of 2,000 training texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from distilbert import LENGTH, TEACHER
from evidence import Setting, begin, target, write

WIDTHS = (32, 64, 128, 192, 256, 384)
TEXTS, SCORED = 2000, 400


def measured(setting: Setting) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The teacher's scores, and a row for every width and start."""
    from understudy.data.batches.masked import fixed_batches
    from understudy.data.batches.masking import Masking
    from understudy.data.readers.corpus import load_corpus
    from understudy.data.tokens.encode import encode
    from understudy.models.masked import load_masked_model
    from understudy.models.shrink.albert import albert
    from understudy.objectives.masked_lm import masked_scores

    teacher = load_masked_model(TEACHER)
    corpus = load_corpus(setting.data("wikipedia_en"), limit_train=setting.pick(TEXTS, 50))
    train = encode(corpus.train, teacher.tokenizer, max_length=LENGTH)
    texts = [torch.from_numpy(np.array(train.row(i))) for i in range(len(train))]
    part = corpus.validation.take(np.arange(setting.pick(SCORED, 20)))
    shown, masking = encode(part, teacher.tokenizer, max_length=LENGTH), Masking.of(teacher.tokenizer, seed=0)

    def scores(model: Any) -> dict[str, float]:
        batches: Iterator[Any] = fixed_batches(shown, masking, names=("input_ids", "attention_mask"), max_tokens=4096)
        return masked_scores(model.eval(), batches, device="cpu")

    rows = [
        {"embedding": width, "start": start, **scores(albert(teacher.model, embedding=width, share="none", texts=seen))}
        for width in setting.pick(WIDTHS, (64, 384))
        for start, seen in (("word table", ()), ("texts", texts))
    ]
    return scores(teacher.model), rows


def main() -> None:
    """Every width from either start, with the same masks."""
    setting = begin(__doc__)
    teacher, rows = measured(setting)
    losses = {
        start: {row["embedding"]: row["loss"] for row in rows if row["start"] == start}
        for start in ("word table", "texts")
    }
    widths = [width for width in losses["texts"] if width < 384]
    write(
        setting,
        "albert_start",
        question=__doc__ or "",
        config={
            "teacher": "minilm-mlm",
            "texts": "wikipedia_en",
            "max_length": LENGTH,
            "sample": TEXTS,
            "scored": SCORED,
        },
        raw={"teacher": teacher, "students": rows},
        summary={"teacher": teacher["loss"], **losses},
        targets=[
            target(
                f"width {width}: loss from the texts' directions over that from the table's",
                losses["texts"][width] / losses["word table"][width],
                at_most=1.0,
            )
            for width in widths
        ],
    )


if __name__ == "__main__":
    main()

"""How many parameters does ALBERT's shape save? From configurations alone, beside Table 1 and Table 3 of the paper."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from evidence import begin, target, write

VOCABULARY = 30_000
E = 128
SHAPES = {"base": (768, 12, 12), "large": (1024, 24, 16), "xlarge": (2048, 24, 32)}
"""Hidden size, layers, heads; the feed-forward width is four times the hidden size."""
PAPER_MILLIONS = {
    "BERT base": 108,
    "BERT large": 334,
    "ALBERT base": 12,
    "ALBERT large": 18,
    "ALBERT xlarge": 60,
    "ALBERT base, nothing shared": 89,
}
"""Lan et al. 2020, arXiv 1909.11942, Table 1; the last of Table 3 (E = 128, parameters not shared)."""


def count(teacher: Any, **options: Any) -> dict[str, int]:
    """Parameters of a teacher's ALBERT, or of the teacher itself without options: all, and those of its embeddings."""
    from understudy.models.shrink.albert_shape import albert_config
    from understudy.models.structure.shapes import components

    model = transformers.AlbertModel(albert_config(teacher, **options)) if options else teacher
    parts = dict(components(model))
    return {"parameters": sum(parts.values()), "embeddings": parts["embeddings"]}


def main() -> None:
    """Everything on the meta device: no weight is made."""
    setting = begin(__doc__)
    found: dict[str, dict[str, int]] = {}
    with torch.device("meta"):
        for name, (width, layers, heads) in SHAPES.items():
            config = transformers.BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=4 * width,
            )
            teacher = transformers.BertModel(config)
            found[f"BERT {name}"] = count(teacher)
            found[f"ALBERT {name}"] = count(teacher, embedding=E)
            found[f"ALBERT {name}, nothing shared"] = count(teacher, embedding=E, share="none")
            found[f"ALBERT {name}, whole table"] = count(teacher, embedding=width)
    base, factorised = found["BERT base"]["embeddings"], found["ALBERT base, nothing shared"]["embeddings"]
    millions = {name: row["parameters"] / 1e6 for name, row in found.items()}
    write(
        setting,
        "albert_arithmetic",
        question=__doc__ or "",
        config={"vocabulary": VOCABULARY, "embedding": E, "shapes": SHAPES, "model": "encoder with pooler, no head"},
        raw=found,
        summary={"millions": millions, "paper_millions": PAPER_MILLIONS},
        targets=[
            *(
                target(
                    f"{name}, millions of parameters over the paper's",
                    millions[name] / paper,
                    at_least=0.96,
                    at_most=1.04,
                )
                for name, paper in PAPER_MILLIONS.items()
            ),
            target(
                "share of the embedding parameters that factorising alone saves", 1 - factorised / base, at_least=0.8
            ),
        ],
    )


if __name__ == "__main__":
    main()

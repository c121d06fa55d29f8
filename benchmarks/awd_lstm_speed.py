"""What do the regularisers of an AWD-LSTM cost? Its training step against a bare nn.LSTM language model's, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evidence import begin, in_turn, spread, target, write

VOCABULARY, EMBEDDING, HIDDEN = 8000, 200, 512
STREAMS, WINDOW = 32, 70
ROUNDS, STEPS = 8, 4


class Bare(nn.Module):
    """The same sizes without any regulariser: embeddings, one nn.LSTM a layer, a projection onto the tied table.

    Time comes first throughout, which is the fastest way: nothing is transposed, and the projection is one product.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(VOCABULARY, widths[0])
        self.layers = nn.ModuleList(nn.LSTM(a, b) for a, b in pairwise(widths))
        self.projection = nn.Linear(widths[-1], VOCABULARY)
        self.projection.weight = self.embeddings.weight

    def forward(self, input_ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Scores of the next token, and the state."""
        states, after = self.embeddings(input_ids), []
        for i, layer in enumerate(self.layers):
            states, remembered = layer(states, None if state is None else state[i])
            after.append((remembered[0].detach(), remembered[1].detach()))
        return self.projection(states), after


def windows(count: int) -> list[Tensor]:
    """Random tokens, one more a stream than a window predicts."""
    generator = torch.Generator().manual_seed(0)
    return list(torch.randint(VOCABULARY, (count, STREAMS, WINDOW + 1), generator=generator))


def stepping(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Callable[[], float]:
    """A few optimizer steps as training takes them; tokens a second."""
    from understudy.training.optimizers.groups import build_optimizer
    from understudy.training.optimizers.lazy_adamw import clip_gradients

    optimizer = build_optimizer(module, learning_rate=1e-3)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    batches = windows(STEPS)

    def run() -> float:
        start = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            forward(batch).backward()
            clip_gradients(parameters, 1.0)
            optimizer.step()
        return STEPS * STREAMS * WINDOW / (time.perf_counter() - start)

    run()  # the optimizer makes its state
    return run


def contenders() -> dict[str, Callable[[], float]]:
    """The training step of each."""
    from understudy.data.batches.streams import StreamBatch
    from understudy.models.awd_lstm.config import AWDLSTMConfig
    from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
    from understudy.objectives.language_model import RecurrentLM
    from understudy.training.dropout import FastDropout

    config = AWDLSTMConfig(vocab_size=VOCABULARY, embedding_size=EMBEDDING, hidden_size=HIDDEN)
    torch.manual_seed(0)
    bare = Bare(config.widths).train()
    objective = RecurrentLM(AWDLSTMForCausalLM(config).train())
    held: dict[str, Any] = {"state": None}

    def plain(batch: Tensor) -> Tensor:
        by_time = batch.t()
        logits, held["state"] = bare(by_time[:-1], held["state"])
        return F.cross_entropy(logits.flatten(0, 1), by_time[1:].flatten())

    def regularised(batch: Tensor) -> Tensor:
        counts = {"tokens": STREAMS * WINDOW, "transitions": STREAMS * (WINDOW - 1), "rows": STREAMS}
        window = StreamBatch(
            inputs={"input_ids": batch[:, :-1]}, counts=counts, labels=batch[:, 1:], first=0, begins=False
        )
        with FastDropout():  # as the loop has it
            terms = objective(window)
        return torch.stack([term.weight * term.sum / counts[term.per] for term in terms]).sum()

    return {"awd_lstm": stepping(objective, regularised), "bare": stepping(bare, plain)}


def main() -> None:
    """Both in turn, round after round."""
    setting = begin(__doc__)
    found = in_turn(contenders(), rounds=setting.pick(ROUNDS, 1))
    shares = [ours / theirs for ours, theirs in zip(found["awd_lstm"], found["bare"])]
    write(
        setting,
        "awd_lstm_speed",
        question=__doc__ or "",
        config={
            "vocabulary": VOCABULARY,
            "embedding": EMBEDDING,
            "hidden": HIDDEN,
            "layers": 2,
            "streams": STREAMS,
            "window": WINDOW,
            "steps a round": STEPS,
            "awd_lstm": "weight, input, hidden, output and embedding dropout, AR and TAR; AdamW, clipping",
            "bare": "the same sizes, tied too, with none of these; the same AdamW and clipping",
            "unit": "tokens a second of a training step",
        },
        raw=found | {"share": shares},
        summary={name: spread(values) for name, values in found.items()} | {"share": spread(shares)},
        targets=[
            target(
                "tokens a second, AWD-LSTM over bare nn.LSTM, median over rounds",
                statistics.median(shares),
                at_least=0.85,
            )
        ],
    )


if __name__ == "__main__":
    main()

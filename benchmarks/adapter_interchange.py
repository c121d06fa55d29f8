"""Do AdapterHub and Understudy answer alike for each other's adapters?

AdapterHub pins transformers 4, so it runs in a process of its own, from a folder that the environment variable ADAPTERHUB
names: pip install --no-deps --target FOLDER transformers==4.57.6 adapters==1.3.0 'huggingface_hub<1' 'tokenizers<0.23'
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from evidence import Setting, begin, earlier, target, write

BASES = ("bert", "roberta", "distilbert", "albert", "electra", "xlm-roberta")
KINDS = ("double_seq_bn", "seq_bn", "par_bn", "seq_bn_inv")
SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "max_position_embeddings": 40}
CONFIG = {"bases": BASES, "kinds": KINDS, "sizes": SIZES, "library": "adapters 1.3.0, transformers 4.57.6"}

WRITES = """
import copy, sys, torch
from safetensors.torch import save_file
from transformers import AlbertConfig, BertConfig, DistilBertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig
import adapters
kw = dict(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=40)
configs = {
    "bert": BertConfig(**kw), "roberta": RobertaConfig(**kw), "xlm-roberta": XLMRobertaConfig(**kw),
    "distilbert": DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=40),
    "albert": AlbertConfig(embedding_size=16, **kw), "electra": ElectraConfig(embedding_size=16, **kw),
}
out, name, kinds = sys.argv[1], sys.argv[2], sys.argv[3:]
torch.manual_seed(3)
base = adapters.AutoAdapterModel.from_config(copy.deepcopy(configs[name]))
with torch.no_grad():
    for p in base.parameters():
        if p.dim() > 1: p.mul_(8)
getattr(base, base.base_model_prefix).save_pretrained(f"{out}/base")
ids = torch.randint(5, 50, (4, 12)); mask = torch.ones_like(ids); mask[1, 9:] = 0; mask[3, 4:] = 0
ids[mask == 0] = configs[name].pad_token_id
found = {"input_ids": ids, "attention_mask": mask}
for kind in kinds:
    m = copy.deepcopy(base)
    m.add_adapter("task", config=kind); m.add_classification_head("task", num_labels=3, overwrite_ok=True)
    with torch.no_grad():
        for key, p in m.named_parameters():
            if "adapters." in key: p.copy_(torch.randn_like(p) * (0.3 if p.dim() > 1 else 0.1))
            if key.startswith("heads."): p.copy_(torch.randn_like(p) * 0.3)
    m.eval(); m.set_active_adapters("task"); m.active_head = "task"
    with torch.no_grad(): found["theirs." + kind] = m(input_ids=ids, attention_mask=mask).logits.contiguous()
    m.save_adapter(f"{out}/{kind}", "task", with_head=True, use_safetensors=True)
save_file(found, f"{out}/theirs.safetensors")
"""

READS = """
import sys, torch
from safetensors.torch import load_file, save_file
import adapters
out, kinds = sys.argv[1], sys.argv[2:]
found, answered = load_file(f"{out}/theirs.safetensors"), {}
for kind in kinds:
    m = adapters.AutoAdapterModel.from_pretrained(f"{out}/base")
    name = m.load_adapter(f"{out}/{kind}-ours", set_active=True, with_head=True, use_safetensors=True)
    m.eval(); m.active_head = name
    with torch.no_grad(): answered[kind] = m(input_ids=found["input_ids"], attention_mask=found["attention_mask"]).logits.contiguous()
save_file(answered, f"{out}/again.safetensors")
"""


def theirs(program: str, *arguments: str) -> None:
    """Run a program beside AdapterHub."""
    environment = {**os.environ, "PYTHONPATH": os.environ["ADAPTERHUB"], "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, *arguments], env=environment, check=True)


def ours(folder: Path, kind: str, found: dict[str, Any]) -> Any:
    """Read what AdapterHub wrote, answer, and write it again."""
    import torch

    from understudy.adapters.facts import AdapterFacts, Base
    from understudy.adapters.files import NAME
    from understudy.adapters.heads import headed
    from understudy.adapters.hub.reading import read_hub_adapter
    from understudy.adapters.hub.writing import write_hub_adapter
    from understudy.adapters.inject import add_adapter, load_tensors

    read = read_hub_adapter(folder / kind)
    assert read.task is not None
    model = headed(str(folder / "base"), read.task, "first_token", read.head_options)
    base = Base.of(model, str(folder / "base"))
    add_adapter(model, NAME, read.design)
    load_tensors(model, NAME, read.tensors, origin=kind)
    model.head.load_state_dict(read.head)
    facts = AdapterFacts(
        method="bottleneck", design=read.design.as_dict(), base=base, task=read.task, head="first_token", max_length=40
    )
    write_hub_adapter(folder / f"{kind}-ours", model, facts, model.head, name="task")
    with torch.no_grad():
        return model.eval()(input_ids=found["input_ids"], attention_mask=found["attention_mask"]).logits


def main() -> None:
    """AdapterHub writes, we read and write, AdapterHub reads: the largest differences of the logits."""
    setting = begin(__doc__)
    if "ADAPTERHUB" not in os.environ:
        print((__doc__ or "").partition("\n\n")[2])
        return
    from safetensors.torch import load_file

    rows = list(earlier(setting, "adapter_interchange", CONFIG).get("raw", []))
    for base in BASES[: setting.pick(len(BASES), 2)]:
        if all(row["base"] != base for row in rows):
            rows += differences(setting.runs / "adapter_interchange" / base, base, load_file)
            report(setting, rows)


def differences(folder: Path, base: str, load_file: Any) -> list[dict[str, Any]]:
    """For each kind, how far our logits are from AdapterHub's, and its own for what we wrote from its first ones."""
    folder.mkdir(parents=True, exist_ok=True)
    theirs(WRITES, str(folder), base, *KINDS)
    found = load_file(folder / "theirs.safetensors")
    mine = {kind: ours(folder, kind, found) for kind in KINDS}
    theirs(READS, str(folder), *KINDS)
    again = load_file(folder / "again.safetensors")
    rows = []
    for kind in KINDS:
        expected = found[f"theirs.{kind}"]
        differs = {"read": float((mine[kind] - expected).abs().max())}
        differs["written"] = float((again[kind] - expected).abs().max())
        rows.append({"base": base, "kind": kind, **differs})
        print(rows[-1], flush=True)
    return rows


def report(setting: Setting, rows: list[dict[str, Any]]) -> None:
    """Write down what has been measured by now."""
    largest = {way: max(row[way] for row in rows) for way in ("read", "written")}
    write(
        setting,
        "adapter_interchange",
        question=__doc__ or "",
        config=CONFIG,
        raw=rows,
        summary={f"largest difference of a logit, {way}": value for way, value in largest.items()},
        targets=[
            target(f"largest difference of a logit, {way}", value, at_most=1e-5) for way, value in largest.items()
        ],
        complete=len(rows) == len(BASES) * len(KINDS),
    )


if __name__ == "__main__":
    main()

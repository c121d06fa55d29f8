"""What the goldens are made of: rows, texts, tiny models and faulty files, built in code and the same every time."""

from __future__ import annotations

import csv
import json
import pickle
import random
import shutil
import zlib
from pathlib import Path
from typing import Any

WORDS = "good fine great lovely nice bad awful poor dreadful sad film book song play cast plot the a is was very quite"
GOOD, BAD, REST = WORDS.split()[:5], WORDS.split()[5:10], WORDS.split()[10:]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FASTAI_WORDS = [
    "xxunk",
    "xxpad",
    "xxbos",
    "xxmaj",
    "xxup",
    "xxrep",
    "the",
    "film",
    "was",
    "good",
    "bad",
    ".",
    "xxfake",
    "xxfake",
]


def build(folder: Path) -> None:
    """All that the runs read: ``rows``, ``texts``, ``answers.jsonl``, the models ``bert`` and ``gpt2``, fast.ai's files."""
    _rows(folder / "rows")
    _texts(folder / "texts")
    with open(folder / "rows" / "train.csv", newline="", encoding="utf-8") as file:
        answers = [
            {"text": row["text"], "negative": share, "positive": 1 - share}
            for row in csv.DictReader(file)
            for share in [0.9 if row["label"] == "negative" else 0.2]
        ]
    (folder / "answers.jsonl").write_text("".join(f"{json.dumps(answer)}\n" for answer in answers), encoding="utf-8")
    _models(folder)
    _fastai(folder)


def _sentence(rng: random.Random, label: str) -> str:
    words = [rng.choice(REST) for _ in range(rng.randint(3, 8))]
    words.insert(rng.randrange(len(words) + 1), rng.choice(GOOD if label == "positive" else BAD))
    return " ".join(words)


def _rows(folder: Path) -> None:
    folder.mkdir()
    for seed, (name, count) in enumerate({"train": 24, "validation": 12, "test": 16}.items()):
        rng = random.Random(seed)
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for i in range(count):
                label = ("negative", "positive")[i % 2]
                writer.writerow([f"{_sentence(rng, label)} {seed}x{i}", label])
    rng = random.Random(9)
    pool = [f"{_sentence(rng, rng.choice(['negative', 'positive']))} 9x{i}\n" for i in range(12)]
    (folder / "pool.txt").write_text("".join(pool), encoding="utf-8")


def _texts(folder: Path) -> None:
    folder.mkdir()
    for seed, (name, count) in enumerate({"train": 32, "valid": 12, "test": 8}.items()):
        rng = random.Random(100 + seed)
        lines = [f"{_sentence(rng, rng.choice(['negative', 'positive']))}\n" for _ in range(count)]
        (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def _tokenizer() -> Any:
    """A tokenizer of whole words, which never calls itself anything but what its file says."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS.split()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def _drawn(model: Any) -> Any:
    """The model with matrices that depend on nothing but their names and shapes, not on a library's way to draw them."""
    import torch

    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            if tensor.dim() > 1:
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
    return model


def _models(folder: Path) -> None:
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

    tokenizer = _tokenizer()
    bert = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    gpt2 = GPT2Config(
        vocab_size=len(tokenizer), n_positions=24, n_embd=16, n_layer=1, n_head=2, bos_token_id=3, eos_token_id=3
    )
    for name, model in (("bert", BertModel(bert)), ("gpt2", GPT2LMHeadModel(gpt2))):
        _drawn(model).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def _fastai(folder: Path) -> None:
    """Weights of 2 layers, 4/6, as fast.ai 1 has them, and their vocabulary."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator)

    words = len(FASTAI_WORDS)
    table = draw(words, 4)
    weights = {"0.encoder.weight": table, "0.encoder_dp.emb.weight": table, "1.decoder.weight": table}
    weights["1.decoder.bias"] = draw(words)
    for i, (inner, outer) in enumerate([(4, 6), (6, 4)]):
        weights[f"0.rnns.{i}.weight_hh_l0_raw"] = draw(4 * outer, outer)
        weights[f"0.rnns.{i}.module.weight_ih_l0"] = draw(4 * outer, inner)
        weights[f"0.rnns.{i}.module.bias_ih_l0"] = draw(4 * outer)
        weights[f"0.rnns.{i}.module.bias_hh_l0"] = draw(4 * outer)
    torch.save({"model": weights, "opt": {}}, folder / "weights.pth")
    (folder / "itos.pkl").write_bytes(pickle.dumps(FASTAI_WORDS, protocol=4))


HEAD = b"text,label\na good film,positive\na bad film,negative\n"
FILES: dict[str, bytes] = {
    "no-text.csv": b"txt,label\na,x\nb,y\n",
    "no-label.csv": b"text,stars\na,x\nb,y\n",
    "few-fields.csv": HEAD + b"only this\n",
    "latin.csv": HEAD + b"caf\xe9,positive\n",
    "nul.csv": HEAD + b"nu\0l,positive\n",
    "nul.jsonl": b'{"text": "nu\\u0000l", "label": "a"}\n',
    "blank.csv": HEAD + b"  ,positive\n",
    "empty.csv": b"",
    "header.csv": b"text,label\n",
    "one-class.csv": b"text,label\na,x\nb,x\n",
    "nan.csv": b"text,score\na,0.5\nb,NaN\nc,0.1\n",
    "unlabelled.csv": HEAD + b"no label,\n",
    "several.csv": HEAD + b",positive\nshort\n\xff,\n",
    "sheet.doc": b"PK",
    "plain.txt": b"just text\n",
    "misspelt.csv": b"text,label\na good film,positive\na film,postive\n",
    "strange-answers.csv": b"text,label\nnot in the data,positive\n",
    "foreign.txt": "уряд міста\nновий міст\n".encode() * 4,
    "vectors.txt": b"good 1 2 3\nfilm 1 2\n",
    "model.pkl": b"\x80\x04N.",
    "a-file": b"precious",
    "out.csv": b"precious",
    "mine/thesis.tex": b"precious",
    "broken/record.json": b"{",
    "short.json": b'["the", "film"]',
    "keys.yaml": b"studnt: static\nepochs: none\nbilstm: {hiden: 3, dropout: 2}\ndistance: mle\n",
    "other.yaml": b"command: pretrain\ndata: rows\n",
    "list.yaml": b"- 1\n- 2\n",
    "torn.yaml": b"data: [rows\n",
    "steps.yaml": b"command: finetune\ndata: rows\n---\ndata: rows\n---\ncommand: predict\n---\ncommand: distil\n",
}
"""What a person may have given that is wrong, in a folder called ``faulty``."""


def build_faulty(folder: Path) -> None:
    """Faulty files, faulty models, and run folders that are taken; `folder` already has the runs ``bert`` and ``tfidf``."""
    faulty = folder / "faulty"
    for name, content in FILES.items():
        (faulty / name).parent.mkdir(parents=True, exist_ok=True)
        (faulty / name).write_bytes(content)
    for name in ("bare", "pickled"):
        shutil.copytree(folder / "bert", faulty / name)
        (faulty / name / "model.safetensors").unlink()
    (faulty / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    changes: dict[str, dict[str, Any]] = {
        "other-labels": {"labels": ["bad", "good"]},
        "other-kind": {"kind": "multi_label"},
        "pairs": {"text": [["sentence1"], ["sentence2"]]},
    }
    for name, change in changes.items():
        shutil.copytree(folder / "runs" / "bert" / "model", faulty / name)
        config = json.loads((faulty / name / "config.json").read_text(encoding="utf-8"))
        config["understudy"]["task"] |= change
        (faulty / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shutil.copytree(folder / "runs" / "tfidf", faulty / "finished")
    shutil.copytree(folder / "runs" / "tfidf", faulty / "unfinished")
    record = json.loads((faulty / "unfinished" / "record.json").read_text(encoding="utf-8"))
    (faulty / "unfinished" / "record.json").write_text(json.dumps(record | {"finished": False}), encoding="utf-8")
    shutil.copytree(faulty / "unfinished", faulty / "no-model")
    shutil.rmtree(faulty / "no-model" / "model")

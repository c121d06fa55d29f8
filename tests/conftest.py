"""What every test has: a cache of its own, no network, one thread, and tiny models built in code."""

from __future__ import annotations

import gc
import itertools
import os
import random
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is imported
os.environ["OMP_NUM_THREADS"] = (
    "1"  # read once, when torch is; a process forked from one with more threads would wait for them
)

import pytest

import forked
import little
from toy_reviews import WORDS, sentence, write_reviews
from understudy.cores import wait_briefly

wait_briefly()  # as the command line does: where two threads are tested, they keep no core from another worker


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder for every cache; `mktemp` would look through all that there are."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(_caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = next(_caches)
    cache.mkdir()
    monkeypatch.setenv("UNDERSTUDY_CACHE", str(cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _from_the_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for fixtures of a wider scope, which are made before a test's own environment is."""
    import torch

    torch.set_num_threads(1)
    import_module("understudy.training.loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # no test cuts the power
        # Accelerate collects garbage at every change of stage: a tenth of a toy run's time
        patch.setattr("accelerate.utils.memory.gc", SimpleNamespace(collect=lambda: 0))
        patch.setenv("UNDERSTUDY_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        forked.begin()
        yield


@pytest.fixture(autouse=True, scope="module")
def _less_to_collect() -> None:
    """Most of the time in which garbage is collected goes over what the imports left."""
    import_module("understudy.training.loop")
    gc.freeze()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that draw no plots and measure on a few texts: most of a toy run's time, and tested elsewhere."""
    little.ask(monkeypatch)


@pytest.fixture(scope="module")
def quick_throughout() -> Iterator[None]:
    """The same for a whole module, what its fixtures run included."""
    with pytest.MonkeyPatch.context() as patch:
        little.ask(patch)
        yield


@pytest.fixture(scope="module")
def two_folds() -> Iterator[None]:
    """Penalties of probes and linear models are chosen over two folds; for modules that do not look at what is chosen."""
    with pytest.MonkeyPatch.context() as patch:
        little.ask_for_two_folds(patch)
        yield


@pytest.fixture(scope="module")
def forked_throughout() -> Iterator[None]:
    """The runs of a family are forked, with all modules; what depends on how Python starts is tested elsewhere."""
    process = import_module("understudy.runs.processes.process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "subprocess", forked.Subprocess)
        yield


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of splits and a pool: 120 + 40 + 60 labelled toy reviews, 150 unlabelled."""
    folder = tmp_path_factory.mktemp("reviews")
    for seed, (name, rows) in enumerate({"train": 120, "validation": 40, "test": 60}.items()):
        write_reviews(folder / f"{name}.csv", rows, seed)
    rng = random.Random(9)
    lines = [f"{sentence(rng, rng.choice(['negative', 'positive']))} 9x{i}" for i in range(150)]
    (folder / "pool.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights (4 layers of 32) with a word-level tokenizer over the toy reviews' words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
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
        model_max_length=64,
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    folder = tmp_path_factory.mktemp("tiny-bert")
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def larger_bert(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with larger weights: through those of a new one hardly anything is seen from above."""
    import torch

    from understudy.models.files.classifiers import load_encoder

    folder = tmp_path_factory.mktemp("larger")
    shutil.copytree(tiny_bert, folder, dirs_exist_ok=True)
    model = load_encoder(str(tiny_bert))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8 if parameter.dim() > 1 else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def byte_level() -> Any:
    """A tokenizer as GPT-2's: 256 bytes, some merges, one special token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the film filmed naïve", "un café, filming the café"] * 5, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=end, eos_token=end, unk_token=end)

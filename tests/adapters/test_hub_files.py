"""What is written for AdapterHub, by architecture: the names of its tensors, and what it has no place for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from adapter_toys import CONFIGS, SIZES, build
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from understudy.adapters.design import design_of
from understudy.adapters.facts import AdapterFacts, Base
from understudy.adapters.files import NAME, save_adapter
from understudy.adapters.heads import headed
from understudy.adapters.hub.reading import read_hub_adapter
from understudy.adapters.hub.writing import check_for_hub, write_hub_adapter
from understudy.adapters.inject import adapter_tensors, add_adapter
from understudy.cli import main
from understudy.data.tasks import Task
from understudy.errors import ModelError

_USUAL = "encoder.layer.{}.output.adapters.task.adapter_"
PLACES = {
    "bert": f"bert.{_USUAL}",
    "roberta": f"roberta.{_USUAL}",
    "xlm-roberta": f"roberta.{_USUAL}",
    "electra": f"electra.{_USUAL}",
    "distilbert": "distilbert.transformer.layer.{}.output_adapters.adapters.task.adapter_",
    "albert": "albert.encoder.albert_layer_groups.{}.albert_layers.0.output_adapters.adapters.task.adapter_",
}
"""Of the adapters after the feed-forward parts, as the library itself calls them."""


def facts_of(architecture: str, **changed: Any) -> AdapterFacts:
    base = Base(name="base", fingerprint="", model_type=architecture, hidden_size=16, layers=3)
    told = design_of("pfeiffer", reduction=4, **changed).as_dict()
    return AdapterFacts(method="bottleneck", design=told, base=base, task=None, head=None, max_length=8)


@pytest.mark.parametrize("architecture", PLACES)
def test_tensors_are_called_as_the_library_calls_them(architecture: str, tmp_path: Path) -> None:
    model, facts = build(architecture), facts_of(architecture)
    add_adapter(model, NAME, design_of("pfeiffer", reduction=4), start="normal")
    write_hub_adapter(tmp_path / "out", model, facts, None, name="task")
    layers = 1 if architecture == "albert" else 3  # an ALBERT's layers share one adapter
    parts = ("down.0.weight", "down.0.bias", "up.weight", "up.bias")
    expected = {PLACES[architecture].format(layer) + part for layer in range(layers) for part in parts}
    assert load_file(tmp_path / "out" / "adapter.safetensors").keys() == expected
    back, own = read_hub_adapter(tmp_path / "out").tensors, adapter_tensors(model, NAME)
    assert back.keys() == own.keys()
    assert all(torch.equal(value, own[key]) for key, value in back.items())


def test_an_albert_of_several_groups_keeps_its_layers_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"num_hidden_groups": 3, "inner_group_num": 2, "embedding_size": 8}
    model = transformers.AlbertModel(transformers.AlbertConfig(**SIZES, **shape)).eval()
    add_adapter(model, NAME, design_of("pfeiffer", reduction=4), start="normal")
    write_hub_adapter(tmp_path / "out", model, facts_of("albert"), None, name="task")
    back, own = read_hub_adapter(tmp_path / "out").tensors, adapter_tensors(model, NAME)
    assert len(own) == 6 * 4
    assert back.keys() == own.keys()
    assert all(torch.equal(value, own[key]) for key, value in back.items())


@pytest.mark.parametrize("architecture", sorted(CONFIGS.keys() - PLACES.keys() - {"deberta-v2"}))
def test_what_the_library_lacks_is_refused(architecture: str) -> None:
    with pytest.raises(ModelError, match=rf"^runs/x: AdapterHub has no adapters for the architecture '{architecture}'"):
        check_for_hub(facts_of(architecture), origin="runs/x")
    with pytest.raises(ModelError, match=r"^runs/x: this adapter has norms of its own"):
        check_for_hub(facts_of("bert", norms=True), origin="runs/x")


def test_nobody_is_sent_to_train_another_head_in_vain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The library has no MPNet, whatever the head reads."""
    vocabulary = {word: i for i, word in enumerate(("<s>", "<pad>", "</s>", "<unk>", "<mask>", "good", "film"))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>")
    tokenizer.save_pretrained(tmp_path / "base")
    transformers.MPNetModel(transformers.MPNetConfig(**SIZES)).save_pretrained(tmp_path / "base")
    task = Task(text=(("text",),), label="label", kind="single_label", labels=("no", "yes"))
    model, design = headed(str(tmp_path / "base"), task, "mean", {}), design_of("pfeiffer", reduction=4)
    base = Base.of(model, str(tmp_path / "base"))
    add_adapter(model, NAME, design)
    about: dict[str, Any] = {"method": "bottleneck", "design": design.as_dict(), "max_length": 8}
    save_adapter(tmp_path / "run", model, AdapterFacts(**about, base=base, task=task, head="mean"))
    assert main(["adapter", "export", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert "AdapterHub has no adapters for the architecture 'mpnet'" in said
    assert "--pooling" not in said

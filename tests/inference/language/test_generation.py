"""Continuing texts: against transformers' own generation, a whole re-reading, and a published sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from understudy.cli import main
from understudy.data.tokens.vocabulary import train_tokenizer
from understudy.errors import ConfigError
from understudy.inference.language.generation import Writer, sample
from understudy.models.awd_lstm.config import AWDLSTMConfig
from understudy.models.awd_lstm.model import AWDLSTMForCausalLM
from understudy.models.files.save import save_model

STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
SAMPLE = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
WORDS = "the cat sees a bird and the dog hears a song near old house"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([WORDS], "words:40", marks_beginning=False)


def spread(model: Any) -> Any:
    """Weights so large that the likeliest tokens differ from place to place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.6)
    return model.eval()


def awd(tokenizer: Any, *, unused: int = 0, **options: Any) -> AWDLSTMForCausalLM:
    torch.manual_seed(0)
    config = AWDLSTMConfig(
        vocab_size=len(tokenizer) + unused, embedding_size=8, hidden_size=9, pad_token_id=0, **options
    )
    return spread(AWDLSTMForCausalLM(config))


def gpt2(tokenizer: Any) -> Any:
    torch.manual_seed(1)
    end = tokenizer.sep_token_id
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    return spread(transformers.GPT2LMHeadModel(config))


def test_frequencies_are_the_probabilities() -> None:
    scores = torch.tensor([2.0, -1.0, 0.5, 1.0, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    draws = [sample(scores, temperature=0.7, top_k=3, generator=generator) for _ in range(4000)]
    kept = np.exp(np.array([2.0, 0.5, 1.0]) / 0.7)
    expected = dict(zip([0, 2, 3], kept / kept.sum()))
    for token in range(5):
        share, p = draws.count(token) / len(draws), expected.get(token, 0.0)
        assert abs(share - p) <= 4 * np.sqrt(p * (1 - p) / len(draws))
    generator.manual_seed(0)
    everything = [sample(scores, generator=generator) for _ in range(4000)]
    p = torch.softmax(scores, -1).numpy()
    assert all(abs(everything.count(i) / 4000 - p[i]) <= 4 * np.sqrt(p[i] * (1 - p[i]) / 4000) for i in range(5))
    assert sample(scores, top_k=99, temperature=0) == 0


def test_next_to_no_temperature_takes_the_likeliest() -> None:
    """Whatever is divided by it stays a number."""
    assert sample(torch.tensor([0.0, 30.0, 29.0]), temperature=1e-39) == 1
    assert sample(torch.tensor([-torch.inf, -30.0, -29.0]), temperature=1e-39, top_k=2) == 2


def test_rows_of_the_table_beyond_the_vocabulary_are_no_words(tokenizer: Any) -> None:
    model = awd(tokenizer, unused=3)
    with torch.no_grad():
        model.lm_head.bias[len(tokenizer) :] = 1e4
        model.lm_head.bias[tokenizer.sep_token_id] = -1e4
    words = Writer(model, tokenizer).write("the cat", max_tokens=5).split()
    assert len(words) == 7
    assert set(words) <= set(tokenizer.get_vocab())


def test_greedy_is_transformers_own(tokenizer: Any) -> None:
    model = gpt2(tokenizer)
    writer = Writer(model, tokenizer)
    ids = writer.prompt("the cat")
    never = [token for token in tokenizer.all_special_ids if token != tokenizer.sep_token_id]
    expected = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=12,
        do_sample=False,
        suppress_tokens=never,
        pad_token_id=0,
    )[0]
    words = tokenizer.decode(expected[len(ids) :], skip_special_tokens=True)
    assert writer.write("the cat", max_tokens=12, temperature=0) == f"the cat {words}"
    assert len(set(words.split())) > 2


@pytest.mark.parametrize("backward", [False, True])
def test_greedy_of_an_awd_lstm_is_that_of_reading_all_again_each_time(tokenizer: Any, backward: bool) -> None:
    model = awd(tokenizer, backward=backward)
    words = ["dog", "hears"]
    never = [token for token in tokenizer.all_special_ids if token != tokenizer.sep_token_id]
    for _ in range(8):
        ids = tokenizer.convert_tokens_to_ids(words[::-1] if backward else words)
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0, -1]
        scores[never] = -torch.inf
        token = int(scores.argmax())
        if token == tokenizer.sep_token_id:
            break
        words.insert(0 if backward else len(words), tokenizer.convert_ids_to_tokens(token))
    written = Writer(model, tokenizer).write("dog hears", max_tokens=8, temperature=0)
    assert written == " ".join(words)
    assert len(words) > 4


def test_the_seed_decides_and_the_text_stays_as_it_was_typed(tokenizer: Any) -> None:
    writer = Writer(awd(tokenizer), tokenizer)
    one, same, other = (writer.write("The CAT", max_tokens=20, seed=seed) for seed in (0, 0, 1))
    assert one == same != other
    assert one.startswith("The CAT ")
    assert not {"[UNK]", "[PAD]", "[MASK]", "[CLS]", "[SEP]"} & set(one.split())


def test_it_ends_where_a_text_ends(tokenizer: Any) -> None:
    model = awd(tokenizer)
    with torch.no_grad():
        model.lm_head.bias[tokenizer.sep_token_id] = 1e4
    assert Writer(model, tokenizer).write("the dog", max_tokens=20) == "the dog"


def test_an_empty_text_begins_after_the_end_of_another(tokenizer: Any) -> None:
    writer = Writer(awd(tokenizer), tokenizer)
    assert writer.prompt("") == [tokenizer.sep_token_id]
    assert writer.write("", max_tokens=5, temperature=0).split()


def test_no_more_than_the_model_can_read(tokenizer: Any) -> None:
    writer = Writer(gpt2(tokenizer), tokenizer)
    assert len(writer.write("the cat", max_tokens=30).split()) <= 32
    with pytest.raises(ConfigError, match=r"reads 32 in all\. Give --max_tokens 30 or less"):
        writer.write("the cat", max_tokens=31)
    with pytest.raises(ConfigError, match="Give a shorter text"):
        writer.write("the cat " * 20, max_tokens=1)
    assert Writer(awd(tokenizer), tokenizer).write("the cat " * 20, max_tokens=1)


def test_the_command(tokenizer: Any, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "lm", awd(tokenizer), tokenizer, task=None, max_length=100)
    arguments = [str(tmp_path / "lm"), "the cat", "a dog", "--max_tokens", "4", "--temperature", "0"]
    assert main(["generate", *arguments]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("the cat")
    assert second.startswith("a dog")
    assert main(["generate", str(tiny_bert), "the cat"]) == 2
    assert "fills gaps and does not continue texts" in capsys.readouterr().err
    assert main(["generate", str(tmp_path / "nowhere"), "--max_tokens", "0"]) == 2
    said = capsys.readouterr().err
    assert "no text: write the text to continue" in said
    assert "there is no such folder" in said
    assert "max_tokens must be greater than 0" in said
    assert main(["generate", str(tmp_path / "lm"), "the cat", "--temperature", "inf"]) == 2
    assert "temperature must be a finite number" in capsys.readouterr().err


def test_the_published_sample(capsys: pytest.CaptureFixture[str]) -> None:
    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not there")
    assert main(["generate", str(STORIES), "", "--max_tokens", "255", "--temperature", "0"]) == 0
    story = capsys.readouterr().out.strip()
    assert story.startswith(SAMPLE)
    assert len(story) == 564

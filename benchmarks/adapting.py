"""What twi.py and domain.py share: masked language models adapted to other texts, timed in turn, scored and shown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evidence import Setting, finished, in_turn, run, train

ROUNDS = 5
SHOWN = 5
"""Fillings."""


def adapt(setting: Setting, folder: Path, *, model: str, data: str, seed: int, epochs: int, **options: Any) -> Any:
    """The record of a model that is trained on texts."""
    from understudy.recipes.train.pretrain.recipe import Pretrain

    return run(
        Pretrain(
            data=data,
            model=model,
            limit_train=64 if setting.quick else None,
            epochs=setting.pick(epochs, 1),
            seed=seed,
            output=str(folder),
            **options,
        )
    )


def seconds_in_turn(
    models: Mapping[str, Mapping[str, Any]], *, data: str, texts: int, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Seconds that an epoch over some texts takes each model, all in turn, and over all texts by their number.

    Args:
        models: by name, the settings of ``pretrain``.
        texts: how many of the training texts, drawn at random.
        rounds: turns of each.
    """
    from understudy.data.readers.corpus import load_corpus
    from understudy.recipes.train.pretrain.recipe import Pretrain

    whole = load_corpus(data)
    fits, share = {}, {}
    for name, settings in models.items():
        recipe = Pretrain(data=data, **settings)
        fits[name] = partial(_one_epoch, recipe, recipe.prepare(load_corpus(data, limit_train=texts)))
        share[name] = texts / len(whole.train)
    found = in_turn(fits, rounds=rounds)
    return {
        name: {"rounds": times, "texts": texts, "epoch_s": statistics.median(times) / share[name]}
        for name, times in found.items()
    }


def _one_epoch(recipe: Any, work: Any) -> float:
    """Seconds, in the recipe's own precision."""
    from understudy.runs.devices import make_accelerator

    found = train(
        work.objective,
        work.texts.batches,
        epochs=1,
        learning_rate=1e-5,
        terms=work.terms,
        accelerator=make_accelerator(recipe),
    )
    return float(found.seconds)


def shown(folder: Path, *, data: str, text: str, max_length: int, quick: bool) -> dict[str, Any] | None:
    """What there is to say of an adapted model: size, losses, the likeliest words for a gap. None while it is not there.

    ``loss`` is in nats a hidden token, which other vocabularies make easier or harder: rarer, longer tokens are harder
    to guess, and there are fewer of them. ``nats_a_character`` hides whole words and divides by the characters that
    were hidden; the pieces of a word are guessed apart from each other, which is unfair to a vocabulary that has more
    of them. :func:`word_by_word` is fair to both.
    """
    from understudy.data.readers.corpus import load_corpus
    from understudy.inference.language.fill_mask import Filler
    from understudy.models.masked import load_masked_model

    record = finished(folder)
    if record is None:
        return None
    found = load_masked_model(str(folder))
    mask = str(found.tokenizer.mask_token)
    filler = Filler(found.model, found.tokenizer, max_length=max_length)
    (fillings,) = filler.fill(text.replace("[MASK]", mask), top=SHOWN)
    entry, training = record.model("model"), record.training["train"]
    corpus = load_corpus(data)
    texts = corpus.test or corpus.validation  # where validation texts are cut off by the seed, other runs learnt them
    return {
        "parameters": entry["parameters"],
        "embedding_parameters": entry["embedding_parameters"],
        "size_bytes": entry["size_bytes"],
        "epochs": training["epochs"],
        "run_s_an_epoch": training["seconds"] / training["epochs"],
        "loss": entry["metrics"]["validation"]["loss"],
        "accuracy": entry["metrics"]["validation"]["accuracy"],
        "loss_before": {m["name"]: m["metrics"]["validation"]["loss"] for m in record.models}.get("before training"),
        **characters(found, texts.take(range(40)) if quick else texts, max_length=max_length),
        "fillings": [{"token": filling.token, "probability": filling.probability} for filling in fillings],
        "notes": [note for note in record.notes if note.startswith("vocabulary")],
    }


def characters(found: Any, texts: Any, *, max_length: int) -> dict[str, float]:
    """Nats a hidden character where whole words are hidden, and characters a token."""
    import numpy as np

    from understudy.data.batches.masked import fixed_batches
    from understudy.data.batches.masking import Masking
    from understudy.data.tasks import NO_LABEL
    from understudy.data.tokens.encode import encode
    from understudy.data.tokens.pieces import pieces
    from understudy.objectives.masked_lm import masked_scores

    tokenizer = found.tokenizer
    encoded = encode(texts, tokenizer, max_length=max_length)
    long = np.zeros(max(tokenizer.get_vocab().values()) + 1, np.int64)
    for number, piece in pieces(tokenizer).items():
        long[number] = len(piece.text.decode(errors="ignore"))
    masking = Masking.of(tokenizer, whole_words=True, seed=0)
    batches = list(fixed_batches(encoded, masking, names=("input_ids", "attention_mask"), max_tokens=4096))
    hidden = np.concatenate([batch.labels[batch.labels != NO_LABEL].numpy() for batch in batches])
    loss = masked_scores(found.model, batches, device="cpu")["loss"]
    return {
        "nats_a_character": loss * len(hidden) / int(long[hidden].sum()),
        "characters_a_token": float(long[encoded.ids].sum() / (long[encoded.ids] > 0).sum()),
        "unknown_tokens": float((encoded.ids == tokenizer.unk_token_id).mean()),
    }


def word_by_word(folder: Path, texts: Any, *, max_length: int) -> float:
    """Nats a character of one word a text in an adapted model, its pieces guessed from the first to the last, each seeing those before it.

    So a word's pieces have together the probability of the word, whatever they are and however many; all models are
    asked for the same words. Words stand between white space, and are among the first thirty of their text.

    Reference:
        Kauf & Ivanova 2023, arXiv 2305.10588 (within-word left-to-right pseudo-log-likelihood).
    """
    import numpy as np
    import torch

    from understudy.data.batches.contract import Batch
    from understudy.data.tasks import NO_LABEL
    from understudy.models.masked import load_masked_model
    from understudy.objectives.masked_lm import masked_scores

    found = load_masked_model(str(folder))
    tokenizer, draws = found.tokenizer, np.random.default_rng(0)
    rows: list[tuple[list[int], int, int]] = []
    characters = 0
    for (text,) in texts:
        words = text.split()
        word = int(draws.integers(min(len(words), 30)))
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
        ids, places = encoded["input_ids"], [at for at, of in enumerate(encoded.word_ids()) if of == word]
        characters += len(words[word]) * bool(places)
        for first, place in enumerate(places):
            hidden = [tokenizer.mask_token_id if at in places[first:] else number for at, number in enumerate(ids)]
            rows.append((hidden, place, ids[place]))
    rows.sort(key=lambda row: len(row[0]))

    def batches() -> Any:
        for start in range(0, len(rows), 32):
            some = rows[start : start + 32]
            padded = tokenizer.pad({"input_ids": [row[0] for row in some]}, return_tensors="pt")
            labels = torch.full_like(padded["input_ids"], NO_LABEL)
            for number, (_, place, piece) in enumerate(some):
                labels[number, place] = piece
            inputs = {name: padded[name] for name in ("input_ids", "attention_mask")}
            yield Batch(inputs, {"rows": len(some)}, labels)

    return masked_scores(found.model, batches(), device="cpu")["loss"] * len(rows) / characters

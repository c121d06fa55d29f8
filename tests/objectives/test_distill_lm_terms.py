"""The losses of language-model distillation, against the papers' own formulas on whole forwards."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from understudy.data.batches.masked import MaskedBlocks, MaskedLines
from understudy.data.batches.masking import Masking
from understudy.data.tasks import NO_LABEL
from understudy.data.tokens.encode import Encoded
from understudy.functional.state_distances import relation_kl
from understudy.models.shrink.albert import albert
from understudy.models.shrink.cut import cut_layers
from understudy.objectives.distill_lm import TERMS, DistillMaskedLM, matched_depths, real_tokens
from understudy.objectives.teachers.language import LanguageTeacher, TaughtBatch, TaughtBatches

VOCABULARY, PAD, MASK = 40, 0, 4
NAMES = ("input_ids", "attention_mask")


def bert(width: int = 16, layers: int = 4, heads: int = 2, seed: int = 0, **more: Any) -> BertForMaskedLM:
    torch.manual_seed(seed)
    settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.4, **more}
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        pad_token_id=PAD,
        **settings,
    )
    return BertForMaskedLM(config)


@pytest.fixture(scope="module")
def encoded() -> Encoded:
    """Twelve texts of 3 to 14 tokens, their first and last one special."""
    rng = np.random.default_rng(0)
    texts = [np.concatenate([[2], rng.integers(5, VOCABULARY, n), [3]]) for n in rng.integers(1, 13, 12)]
    lengths = np.array([len(text) for text in texts])
    return Encoded(
        np.concatenate(texts).astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), None, PAD, "right", ""
    )


def lines(encoded: Encoded, *, packed: bool = False, **options: Any) -> Any:
    maskable = np.ones(VOCABULARY, bool)
    maskable[:5] = False
    masking = Masking(mask_id=MASK, maskable=maskable, probability=0.3, seed=1)
    options = {"batch_size": 12, "max_tokens": 10_000, "seed": 0, "names": NAMES} | options
    if packed:
        return MaskedBlocks(encoded, masking, max_length=16, **options)
    return MaskedLines(encoded, masking, **options)


def objective(
    student: Any, teacher: Any, weights: dict[str, float], **options: Any
) -> tuple[DistillMaskedLM, LanguageTeacher]:
    layers = teacher.config.num_hidden_layers
    own = student.config.num_hidden_layers
    depths = matched_depths(own, layers)
    made = DistillMaskedLM(
        student,
        teacher_head=LanguageTeacher(teacher).head,
        teacher_width=teacher.config.hidden_size,
        pad_id=PAD,
        weights=weights,
        **{
            "depths": depths,
            "attention": [(ours - 1, theirs - 1) for ours, theirs in depths[1:]],
            "heads": teacher.config.num_attention_heads,
            "relation": (own - 1, layers - 1),
            "relation_heads": 4,
        }
        | options,
    )
    return made, LanguageTeacher(teacher, **made.wanted())


def values(made: DistillMaskedLM, taught: LanguageTeacher, batches: Any) -> dict[str, Tensor]:
    """Each term divided by its count, over the one window there is."""
    (window,) = TaughtBatches(batches, taught).windows(0)
    totals = {name: sum(batch.counts[name] for batch in window) for name in window[0].counts}
    found: dict[str, Tensor] = {}
    for batch in window:
        for term in made(batch.to("cpu")):
            found[term.name] = found.get(term.name, torch.zeros(())) + term.sum / totals[term.per]
    return found


ALL = dict.fromkeys(TERMS, 1.0)


# --- the triple loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ce_positions", ["masked", "all"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_the_triple_loss_is_distilberts(encoded: Encoded, ce_positions: Any, chunk: int | None) -> None:
    """As its published training code computes it, from whole forwards with torch's own losses."""
    teacher, student = bert(seed=0), bert(layers=2, seed=1)
    weights = {"soft_targets": 5.0, "masked_lm": 2.0, "cosine": 1.0}
    made, taught = objective(student, teacher, weights, ce_positions=ce_positions, chunk=chunk)
    found = values(made, taught, lines(encoded))
    (batch,), temperature = next(iter(lines(encoded).windows(0))), 2.0
    outputs = [m(**batch.inputs, output_hidden_states=True) for m in (student, teacher)]
    real, chosen = batch.inputs["attention_mask"].bool(), batch.labels != NO_LABEL
    where = chosen if ce_positions == "masked" else real
    s, t = (output.logits[where] / temperature for output in outputs)
    soft = nn.KLDivLoss(reduction="batchmean")(s.log_softmax(-1), t.softmax(-1)) * temperature**2
    hard = nn.CrossEntropyLoss(ignore_index=NO_LABEL)(outputs[0].logits.flatten(0, 1), batch.labels.flatten())
    last = [output.hidden_states[-1][real] for output in outputs]
    cosine = nn.CosineEmbeddingLoss(reduction="mean")(*last, torch.ones(len(last[0])))
    torch.testing.assert_close(found["soft_targets"], soft, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["masked_lm"], hard, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["cosine"], cosine, rtol=1e-4, atol=1e-5)
    (taught_batch,) = next(iter(TaughtBatches(lines(encoded), taught).windows(0)))
    assert [(term.name, term.weight) for term in made(taught_batch.to("cpu"))] == list(weights.items())


@pytest.mark.parametrize("alone", ["soft_targets", "masked_lm"])
@pytest.mark.parametrize("ce_positions", ["masked", "all"])
def test_a_term_alone_is_what_it_is_among_others(encoded: Encoded, alone: str, ce_positions: Any) -> None:
    teacher, student = bert(seed=0), bert(layers=2, seed=1)
    both = values(*objective(student, teacher, ALL, ce_positions=ce_positions), lines(encoded))
    one = values(*objective(student, teacher, {alone: 3.0}, ce_positions=ce_positions), lines(encoded))
    assert list(one) == [alone]
    torch.testing.assert_close(one[alone], both[alone])


# --- what goes beyond it ---------------------------------------------------------------------------------------------


def test_states_attention_and_relations_are_the_papers(encoded: Encoded) -> None:
    """From the states and attention that transformers itself gives out, text by text, without padding."""
    teacher, student = bert(seed=0), bert(layers=2, heads=2, seed=1)
    for model in (teacher, student):
        model.set_attn_implementation("eager")
    found = values(*objective(student, teacher, ALL), lines(encoded))
    sums = dict.fromkeys(("hidden", "attention", "relation"), 0.0)
    tokens = 0
    (batch,) = next(iter(lines(encoded).windows(0)))
    for row, length in zip(batch.inputs["input_ids"], batch.inputs["attention_mask"].sum(1)):
        ids = row[None, :length]
        s, t = (m(ids, output_hidden_states=True, output_attentions=True) for m in (student, teacher))
        tokens += int(length)
        sums["hidden"] += (
            sum(
                ((s.hidden_states[m] - t.hidden_states[g]) ** 2).mean(-1).sum().item()
                for m, g in ((0, 0), (1, 2), (2, 4))
            )
            / 3
        )
        for m, g in ((0, 1), (1, 3)):
            # TinyBERT's scores come before the softmax: up to a constant in each row they are the logs of what comes after
            scores = []
            for model, output, layer in ((student, s, m), (teacher, t, g)):
                part = model.bert.encoder.layer[layer].attention.self
                q, k = (
                    f(output.hidden_states[layer]).view(1, -1, 2, 8).transpose(1, 2) for f in (part.query, part.key)
                )
                scores.append(q @ k.transpose(2, 3) / 8**0.5)
                torch.testing.assert_close(scores[-1].softmax(-1), output.attentions[layer], rtol=1e-4, atol=1e-5)
            sums["attention"] += ((scores[0] - scores[1]) ** 2).mean(-1).mean(1).sum().item() / 2
        for kind in ("query", "key", "value"):
            vectors = [
                getattr(m.bert.encoder.layer[-1].attention.self, kind)(o.hidden_states[-2])
                for m, o in ((student, s), (teacher, t))
            ]
            sums["relation"] += relation_kl(*vectors, heads=4).mean(1).sum().item()
    for name, value in sums.items():
        assert found[name].item() == pytest.approx(value / tokens, rel=1e-4), name


def test_a_copy_of_the_teacher_has_nothing_to_learn(encoded: Encoded) -> None:
    teacher = bert()
    found = values(*objective(copy.deepcopy(teacher), teacher, ALL, ce_positions="all"), lines(encoded))
    assert found.pop("masked_lm") > 1
    assert list(found) == [name for name in TERMS if name != "masked_lm"]
    assert all(abs(value.item()) < 1e-5 for value in found.values())


def test_matched_depths_end_together() -> None:
    for layers in range(1, 13):
        for others in range(1, 25):
            pairs = matched_depths(layers, others)
            assert pairs[0] == (0, 0)
            assert pairs[-1] == (layers, others)
            assert all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


@pytest.mark.parametrize("shape", ["albert", "narrow"])
def test_students_of_another_width_and_number_of_heads(encoded: Encoded, shape: str) -> None:
    teacher = bert(seed=0)
    student = albert(teacher, embedding=4, layers=3) if shape == "albert" else bert(width=24, layers=2, heads=3, seed=1)
    student.train()
    weights = ALL if shape == "albert" else ALL | {"attention": 0.0}
    made, taught = objective(student, teacher, weights)
    own = set(made.state_dict()) - {f"model.{name}" for name in student.state_dict()}
    assert own == (set() if shape == "albert" else {"projection.weight"})
    (batch,) = next(iter(TaughtBatches(lines(encoded), taught).windows(0)))
    sum(term.sum for term in made(batch.to("cpu"))).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


# --- batches ---------------------------------------------------------------------------------------------------------


def gradients(made: DistillMaskedLM, taught: LanguageTeacher, batches: Any) -> list[Tensor]:
    made.zero_grad()
    sum(values(made, taught, batches).values()).backward()
    return [parameter.grad.clone() for parameter in made.parameters() if parameter.grad is not None]


def test_the_gradient_of_a_large_batch_does_not_depend_on_its_pieces(encoded: Encoded) -> None:
    teacher, student = bert(seed=0).double(), bert(layers=2, seed=1).double()
    made, taught = objective(student, teacher, ALL)
    whole = gradients(made, taught, lines(encoded))
    pieces = gradients(made, taught, lines(encoded, max_tokens=20))
    assert len(next(iter(lines(encoded, max_tokens=20).windows(0)))) > 4
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("ce_positions", ["masked", "all"])
def test_packed_texts_teach_what_texts_alone_do(encoded: Encoded, ce_positions: Any) -> None:
    teacher, student = bert(seed=0), bert(layers=2, seed=1)
    made, taught = objective(student, teacher, ALL, ce_positions=ce_positions)
    alone, packed = values(made, taught, lines(encoded)), values(made, taught, lines(encoded, packed=True))
    for name in TERMS:
        torch.testing.assert_close(packed[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_real_tokens_of_packed_rows(side: str) -> None:
    ids = torch.tensor([[2, 7, 3, 2, 3, 0, 0], [2, 0, 0, 7, 8, 8, 3]])
    text = torch.tensor([[1, 1, 1, 2, 2, 9, 9], [1, 1, 1, 1, 1, 1, 1]])
    if side == "left":
        ids, text = ids.flip(1), text.flip(1)
    mask = (text[:, :, None] == text[:, None, :])[:, None]
    real, pairs = real_tokens({"input_ids": ids, "attention_mask": mask}, pad_id=0)
    assert torch.equal(real, text != 9)
    assert torch.equal(pairs, mask[:, 0] & (text != 9)[:, :, None])


def test_nothing_masked_is_nothing_learnt_from_words(encoded: Encoded) -> None:
    teacher, student = bert(seed=0), bert(layers=2, seed=1)
    made, taught = objective(student, teacher, {"soft_targets": 5.0, "masked_lm": 2.0})
    (batch,) = next(iter(lines(encoded).windows(0)))
    batch.labels = torch.full_like(batch.labels, NO_LABEL)
    total = sum(term.sum for term in made(TaughtBatch(**vars(batch), teacher=taught).to("cpu")))
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in student.parameters())


# --- the teacher -----------------------------------------------------------------------------------------------------


def test_the_teacher_is_a_constant_and_no_part(encoded: Encoded) -> None:
    teacher = bert(seed=0, hidden_dropout_prob=0.5).train()
    student = bert(layers=2, seed=1)
    before = copy.deepcopy(teacher.state_dict())
    made, taught = objective(student, teacher, ALL)
    assert not teacher.training
    parts = {id(p) for p in teacher.parameters()}
    assert not parts & {id(p) for p in made.parameters()}
    assert not parts & {id(m) for m in made.modules()}
    made.train()
    one, other = values(made, taught, lines(encoded)), values(made, taught, lines(encoded))
    assert all(torch.equal(one[name], other[name]) for name in one)  # no dropout in it
    sum(one.values()).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_student_comes_nearer(encoded: Encoded) -> None:
    teacher = bert(seed=0)
    student = cut_layers(teacher, [0, 3])
    made, taught = objective(student, teacher, ALL, ce_positions="all")
    optimizer = torch.optim.AdamW(made.parameters(), lr=3e-3)
    first = values(made, taught, lines(encoded))
    for _ in range(30):
        optimizer.zero_grad()
        sum(values(made, taught, lines(encoded)).values()).backward()
        optimizer.step()
    last = values(made, taught, lines(encoded))
    for name in TERMS:
        assert last[name] < 0.8 * first[name], name


@pytest.mark.parametrize("weights", [{}, {"cosine": 0.0}, {"cosine": -1.0, "hidden": 1.0}, {"cosin": 1.0}], ids=str)
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        objective(bert(layers=1), bert(), weights)


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "electra", "mobilebert", "modernbert", "mpnet"])
def test_relations_of_every_architecture(architecture: str, encoded: Encoded) -> None:
    """Relations need nothing of each other's architecture but the words."""
    torch.manual_seed(0)
    size: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    size |= {"intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": PAD}
    students: dict[str, Any] = {
        "roberta": lambda: transformers.RobertaForMaskedLM(transformers.RobertaConfig(**size)),
        "distilbert": lambda: transformers.DistilBertForMaskedLM(
            transformers.DistilBertConfig(vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        ),
        "electra": lambda: transformers.ElectraForMaskedLM(transformers.ElectraConfig(**size, embedding_size=8)),
        "mobilebert": lambda: transformers.MobileBertForMaskedLM(
            transformers.MobileBertConfig(**size, embedding_size=8, intra_bottleneck_size=8, true_hidden_size=8)
        ),
        "modernbert": lambda: transformers.ModernBertForMaskedLM(
            transformers.ModernBertConfig(**size, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3)
        ),
        "mpnet": lambda: transformers.MPNetForMaskedLM(transformers.MPNetConfig(**size)),
    }
    student = students[architecture]()
    made, taught = objective(student, bert(seed=0), {"relation": 1.0, "soft_targets": 1.0})
    found = values(made, taught, lines(encoded))
    assert found["relation"].isfinite()
    assert found["relation"] > 0
    sum(found.values()).backward()

"""Which tokens of a text an answer comes from: gradient times input for networks, exact weights for TF-IDF."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.data.tasks import Task, Text
from understudy.errors import ModelError
from understudy.inference.predictor import LinearPredictor, Predictor
from understudy.models.structure.layers import word_embeddings
from understudy.models.students.apart import ApartClassifier
from understudy.models.terms import Terms, edges_of, terms_of

GRADIENT, WEIGHTS = "gradient x input", "exact linear weights"


@dataclass(frozen=True)
class AttributedToken:
    """One token, or term, with its share of a logit."""

    token: str
    score: float
    start: int | None = None
    """Where it begins in its text, in characters, if that is known."""
    end: int | None = None
    text: int = 0
    """Which text of a pair it is in."""


@dataclass(frozen=True)
class Attribution:
    """Shares of the tokens of a text in the logit of a label."""

    label: str
    method: str
    tokens: tuple[AttributedToken, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"label": self.label, "method": self.method, "tokens": [asdict(token) for token in self.tokens]}


def gradient_times_input(
    forward: Callable[..., Tensor], table: nn.Module, inputs: Mapping[str, Tensor], *, output: int
) -> Tensor:
    r"""Share of each token in one output: the gradient at its embedding, times the embedding, summed over the width.

    .. math:: a_t = \sum_d e_{t,d} \, \frac{\partial z_c}{\partial e_{t,d}}

    It is the first-order estimate of how the output changes if the token's embedding becomes zero. Where the output is
    linear in the embeddings it is exact, and the shares add up to the output without its bias.

    Args:
        forward: the model's keyword arguments to logits ``(1, outputs)``, in evaluation mode.
        table: the module whose output are the embeddings, ``(1, tokens, width)`` or ``(tokens, 1, width)``, at once or
            piece by piece.
        inputs: the arguments; ``input_ids`` is ``(1, tokens)``.
        output: c, the column of the logits.

    Returns:
        ``(tokens,)`` float32, in the order in which the model reads them.

    Raises:
        ModelError: if the model does not look its tokens up one by one in this table, or the output does not depend on it.

    Reference:
        Shrikumar et al. 2016, arXiv 1605.01713, section 2.3; Simonyan et al. 2014, arXiv 1312.6034, section 3.

    Example:
        >>> table = nn.Embedding.from_pretrained(torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]]))
        >>> inputs = {"input_ids": torch.tensor([[1, 2]])}
        >>> weight = torch.tensor([[1.0], [-1.0]])
        >>> gradient_times_input(lambda input_ids: table(input_ids).mean(1) @ weight, table, inputs, output=0)
        tensor([-0.5000,  1.0000])
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any, embedded: Tensor) -> Tensor:
        leaf = embedded.detach().requires_grad_()
        found.append(leaf)
        return leaf

    hook = table.register_forward_hook(keep)
    try:
        # recurrent layers of cuDNN have no backward pass in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            logits = forward(**inputs)
            if not found:
                raise ModelError("this model does not look its tokens up in its table, so it has no attributions.")
            gradients = torch.autograd.grad(logits[:, output].sum(), found, allow_unused=True)
    finally:
        hook.remove()
    shares = torch.cat(
        [
            (torch.zeros_like(leaf) if gradient is None else leaf * gradient).detach().sum(-1).reshape(-1).float().cpu()
            for leaf, gradient in zip(found, gradients)
        ]
    )
    if len(shares) == inputs["input_ids"].numel():
        return shares
    raise ModelError("this model reads its tokens more than once or in another order, so it has no attributions.")


def explainer(model: Any) -> tuple[str, Callable[[Text, str | None], Mapping[str, Any]]] | None:
    """How a model's answers can be attributed: the method's name, and what does it for a text and a label.

    None for models without gradients: exported ones and averages.
    """
    if isinstance(model, LinearPredictor):
        return WEIGHTS, lambda text, label: attribute_weights(model, text, label).as_dict()
    if isinstance(model, Predictor):
        try:
            word_embeddings(model.model)
        except ModelError:
            return None
        return GRADIENT, lambda text, label: attribute_gradients(model, text, label).as_dict()
    return None


def attribute_gradients(model: Predictor, text: Text, label: str | None = None) -> Attribution:
    """The share of each token in the logit of a label, by :func:`gradient_times_input`.

    Args:
        text: a string, or a pair.
        label: of the task; the likeliest by default.

    Raises:
        ModelError: if the network cannot tell.
    """
    ids, segments = model.encoder.one(text)
    ids = ids or [model.encoder.pad_id]
    network, device = model.model, next(model.model.parameters()).device
    inputs = {"input_ids": torch.tensor([ids], device=device)}
    if "attention_mask" in model.names:
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "token_type_ids" in model.names:
        kinds = segments or [0] * len(ids)
        inputs["token_type_ids"] = torch.tensor([kinds], device=device)
    name, output = _output(model.task, label, model.logits([text])[0])
    network.eval()
    if isinstance(network, ApartClassifier):
        return Attribution(name, GRADIENT, tuple(_read_apart(model, network, text, inputs, output)))
    scores = gradient_times_input(
        lambda **given: network(**given).logits, word_embeddings(network), inputs, output=output
    )
    if bool(getattr(network.config, "backward", False)) and len(ids) > 1:  # it reads from the end
        scores = scores.flip(-1)
    return Attribution(name, GRADIENT, tuple(_placed(model, text, ids, segments, scores.tolist())))


def _read_apart(
    model: Predictor, network: ApartClassifier, text: Text, inputs: Mapping[str, Tensor], output: int
) -> list[AttributedToken]:
    """The tokens of the two texts of a pair as the encoder reads them, each text with special tokens of its own."""
    ids, mask = network.apart(**inputs)

    def forward(input_ids: Tensor) -> Tensor:
        return network.classifier(network.compare(input_ids, mask))

    shares = gradient_times_input(forward, word_embeddings(network), {"input_ids": ids}, output=output)
    tokens = list[AttributedToken]()
    for number, (part, row, real, own) in enumerate(zip(text, ids, mask.bool(), shares.reshape(ids.shape))):
        tokens += _placed(model, part, row[real].tolist(), None, own[real.cpu()].tolist(), number=number)
    return tokens


def attribute_weights(model: LinearPredictor, text: Text, label: str | None = None) -> Attribution:
    """The share of each term in the logit of a label: its TF-IDF value times its weight, exact.

    With two classes it is the difference of the two logits, for the label against the other one. With the bias, the
    shares add up to it. Of a pair each term stands once, with what it adds to the product, the difference and the cosine.

    Args:
        text: a string, or a pair.
        label: of the task; the likeliest by default.
    """
    tfidf = model.tfidf
    name, output = _output(model.task, label, model.logits([text])[0])
    column, sign = output, 1.0
    if tfidf.weight.shape[1] == 1 and model.task.outputs == 2:
        column, sign = 0, 1.0 if output else -1.0
    shares = {term: sign * share for term, share in tfidf.shares(text, column).items()}
    parts = (text,) if isinstance(text, str) else text
    tokens = list[AttributedToken]()
    for number, part in enumerate(parts):
        own = dict.fromkeys(terms_of(tfidf.terms)(part))
        for term in own:
            if term not in shares:
                continue
            places = _places(term, part, tfidf.terms)
            both = sum(term in terms_of(tfidf.terms)(other) for other in parts)
            score = shares[term] / both / max(len(places), 1)
            if not places:
                tokens.append(AttributedToken(term, score, text=number))
            tokens += [AttributedToken(term, score, start, end, number) for start, end in places]
    return Attribution(name, WEIGHTS, tuple(tokens))


def _output(task: Task, label: str | None, logits: np.ndarray) -> tuple[str, int]:
    if task.kind == "regression":
        return task.label, 0
    output = int(logits.argmax()) if label is None else task.labels.index(label)
    return task.labels[output], output


def _places(term: str, text: str, kind: Terms) -> list[tuple[int, int]]:
    """Where a term stands in a text, whatever its case and what is between its words."""
    pattern = r"\W+".join(map(re.escape, term.split(" ")))
    before, after = edges_of(term, kind)
    return [found.span() for found in re.finditer(before + pattern + after, text, re.IGNORECASE)]


def _placed(
    model: Predictor,
    text: Text,
    ids: Sequence[int],
    segments: Sequence[int] | None,
    scores: Sequence[float],
    *,
    number: int = 0,
) -> list[AttributedToken]:
    """Tokens with their places in the text, where the tokenizer tells them; `number` is that of the first text."""
    names = [str(name) for name in model.tokenizer.convert_ids_to_tokens(list(ids))]
    backend = model.encoder.backend
    places = backend.places(text) if backend is not None else None
    if places is None or len(places) != len(ids):
        kinds = segments or [number] * len(ids)
        return [AttributedToken(name, score, None, None, kind) for name, score, kind in zip(names, scores, kinds)]
    return [
        AttributedToken(name, score, text=number)
        if place is None
        else AttributedToken(name, score, start=place[1], end=place[2], text=number + place[0])
        for name, score, place in zip(names, scores, places)
    ]

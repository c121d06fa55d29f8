"""The work of ``distill --embeddings_only``: a static embedding model of an encoder, without a label.

1. Each token of the vocabulary goes through the encoder as a text of its own.
2. Of these vectors the principal components are kept, and weighted by how frequent a token of this rank is in any text.
3. With texts, the table is fitted so that the means of its rows come near to the encoder's vectors of them.

Steps 1 and 2 are model2vec's. Step 3 is what "tokenlearn" trains in epochs, here in closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import spearmanr
from tokenizers import Tokenizer

from understudy.data.readers.corpus import Corpus
from understudy.data.tasks import Task
from understudy.data.texts import Texts
from understudy.data.tokens.encode import encode
from understudy.data.tokens.pieces import special_ids
from understudy.errors import ModelError
from understudy.evaluation import cost
from understudy.evaluation.quality import Evaluation
from understudy.inference.embeddings import EmbeddingModel
from understudy.inference.logits import logits
from understudy.inference.predictor import Predictor
from understudy.models.files.classifiers import load_encoder
from understudy.models.files.tokenizers import check_tokenizer, load_tokenizer
from understudy.models.static_vectors import StaticVectors
from understudy.models.structure.inputs import settle_inputs
from understudy.models.vocabulary.static_table import (
    fitted_to_vectors,
    principal_directions,
    seen_along,
    sif_weights,
    single_token_states,
    zipf_shares,
)
from understudy.report.scores import STUDENT, TEACHER
from understudy.runs.entries import put_on_record
from understudy.runs.judging.probe import mean_features
from understudy.runs.session import Session
from understudy.runs.subject import Subject
from understudy.runs.text_limits import text_length
from understudy.settings.train.distill import DistillSettings

AGREEMENT = "spearman"
"""Of the cosines of pairs of texts: by the encoder, and by the static model."""
_PENALTY = 0.03
"""On STS-B's development rows, with 12,000 sentences of Wikipedia: 0.003 gave 81.1, 0.01 81.7, 0.03 81.8; the table as it begins 79.8."""
_MOST_TEXTS = 20_000
"""What a static table can learn from more texts is little, and the encoder would read them for minutes."""
_PAIRS = 5_000
_UNUSED = "[unused"


class EmbeddingsWork:
    """An encoder, and texts where there are some; everything checked that can be checked before anything is computed."""

    notes: Sequence[str] = ()
    terms: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __init__(self, settings: DistillSettings, corpus: Corpus | None) -> None:
        (name,) = settings.teacher
        self.settings, self.name, self.corpus = settings, name, corpus
        self.encoder, self.tokenizer = load_encoder(name), load_tokenizer(name)
        check_tokenizer(self.encoder, self.tokenizer, name=name)
        backend: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ModelError(
                f"{name}: has a tokenizer written in Python, which no static model can take along. Name another encoder."
            )
        self.features = mean_features(self.encoder)
        self.names = settle_inputs(self.features, self.tokenizer)
        self.length = text_length(self.encoder, self.tokenizer, settings.max_length)
        self.width = min(settings.static.embedding, self.encoder.config.hidden_size)
        self.backend = Tokenizer.from_str(backend.to_str())
        self.backend.no_truncation()
        self.backend.no_padding()
        special = special_ids(self.tokenizer)
        vocabulary = sorted(self.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        self.ids = [number for token, number in vocabulary if number not in special and not token.startswith(_UNUSED)]
        self.rows = max(self.backend.get_vocab_size(), vocabulary[-1][1] + 1)
        self.train, self.held_out = (
            None if corpus is None else corpus.train,
            None if corpus is None else corpus.validation,
        )
        if self.train is not None and len(self.train) > _MOST_TEXTS:
            self.notes = [f"unlabeled: {_MOST_TEXTS:,} of {len(self.train):,} texts are used, drawn by the seed."]
            drawn = np.random.default_rng([settings.seed, 5]).choice(len(self.train), _MOST_TEXTS, replace=False)
            self.train = self.train.take(np.sort(drawn))
        task = {"kind": "embeddings", "metrics": [AGREEMENT]}
        known = () if corpus is None else corpus.notes
        self.subject = Subject(task, {} if corpus is None else corpus.texts(), (AGREEMENT,), known)

    def plan_lines(self) -> Mapping[str, str]:
        """How many tokens and texts go through the encoder."""
        texts = (
            "none: the tokens alone" if self.train is None else f"{len(self.train):,}, each once through the encoder"
        )
        return {
            "teacher": self.name,
            "student": f"a static embedding model of width {self.width}",
            "tokens": f"{len(self.ids):,}, each once through the encoder",
            "texts": texts,
        }

    def carry_out(self, session: Session) -> None:
        """Ask the encoder, make the table, save it, compare both."""
        if not session.run.writes:
            return
        self.features.to(session.device)
        with session.run.timed("tokens_s"):
            states = self._token_states(session)
        if self.train is None:
            table = self._table(states, principal_directions(states, self.width))
        else:
            with session.run.timed("texts_s"):
                table = self._fitted(session, states, self.train)
        about = {"encoder": self.name if "/" not in self.name else self.name.rsplit("/", 1)[1], "width": self.width}
        student = StaticVectors(table.astype(np.float32), self.backend, about)
        student.save(session.run.folder / "model")
        self._describe(session, EmbeddingModel(StaticVectors.load(session.run.folder / "model")))

    def _token_states(self, session: Session) -> np.ndarray:
        """What the encoder makes of each token: float32 ``(tokens, width of the encoder)``."""
        on_batch = _counting(session, "tokens", len(self.ids))
        encoder = self.features.encoder
        found = single_token_states(encoder, self.tokenizer, self.ids, names=self.names, on_batch=on_batch)
        session.display.close()
        return found

    def _table(self, states: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The tokens' states along some directions, weighted: float64 ``(rows of the table, width)``."""
        table = np.zeros((self.rows, directions.shape[1]))
        table[self.ids] = seen_along(states, directions)
        return table * self._weights()

    def _weights(self) -> np.ndarray:
        """How much each row of the table counts: ``(rows of the table, 1)``."""
        weights = np.zeros((self.rows, 1))
        weights[self.ids, 0] = sif_weights(zipf_shares(len(self.ids)))
        return weights

    def _fitted(self, session: Session, states: np.ndarray, texts: Texts) -> np.ndarray:
        """A table whose means come near to the encoder's vectors of texts, along the directions in which these vary."""
        vectors = self._vectors(session, texts)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        directions = principal_directions(vectors, self.width)
        table, shares, wanted = self._table(states, directions), self._shares(texts), seen_along(vectors, directions)
        means = shares @ table
        table *= (means * wanted).sum() / (means**2).sum()  # the scale of the vectors
        # weighted once more, because the fit lets frequent tokens grow: without it the 81.8 of above are 80.1
        return fitted_to_vectors(table, shares, wanted, penalty=_PENALTY) * self._weights()

    def _shares(self, texts: Texts) -> Any:
        """Each token's share of each text, sparse ``(texts, rows of the table)``."""
        encoded = self.backend.encode_batch([text for (text,) in texts], add_special_tokens=False)
        lengths = [len(encoding.ids) for encoding in encoded]
        places = (np.repeat(np.arange(len(encoded)), lengths), [token for row in encoded for token in row.ids])
        values = np.repeat(1 / np.maximum(lengths, 1), lengths)
        return csr_array((values, places), shape=(len(encoded), self.rows))

    def _vectors(self, session: Session, texts: Texts) -> np.ndarray:
        """The encoder's own vectors of texts: the mean of its states, float64 ``(texts, width of the encoder)``."""
        encoded = encode(texts, self.tokenizer, max_length=self.length)
        on_batch = _counting(session, "texts", len(texts))
        found = logits(self.features, encoded, names=self.names, device=session.device, on_batch=on_batch)
        session.display.close()
        return found.astype(np.float64)

    def _describe(self, session: Session, student: EmbeddingModel) -> None:
        """Put both on the record: size and speed, and with texts how far the student's cosines are the encoder's."""
        scores: dict[str, Evaluation] = {}
        texts: Any = self.held_out
        if self.held_out is not None and len(self.held_out) > 2:
            one, other = _pairs(len(self.held_out), self.settings.seed)
            cosines = [
                _cosines(vectors, one, other)
                for vectors in (self._vectors(session, self.held_out), student.encode([t for (t,) in self.held_out]))
            ]
            agreement = float(spearmanr(*cosines).statistic)
            scores = {"validation": Evaluation({AGREEMENT: agreement})}
        else:
            texts = self._made_up()
        with session.run.timed("bench_s"):
            plain = Task(text=(("text",),), label="", kind="regression")
            teacher = Predictor(self.features, self.tokenizer, plain, self.length)
            facts = {
                TEACHER: cost.measure(_Encoding(teacher), texts),
                STUDENT: cost.measure(_Encoding(student), texts),
            }
        put_on_record(session, TEACHER, scores={}, facts=facts[TEACHER])
        put_on_record(session, STUDENT, scores=scores, facts=facts[STUDENT])

    def _made_up(self) -> list[str]:
        """Texts of twenty tokens, to measure speed with."""
        rng = np.random.default_rng(0)
        tokens = [str(self.backend.id_to_token(number)) for number in rng.choice(self.ids, 64 * 20)]
        return [" ".join(tokens[start : start + 20]) for start in range(0, len(tokens), 20)]


def _counting(session: Session, what: str, total: int) -> Callable[[int], None]:
    """Begin a bar; what is returned moves it by so many, and ends the run where that was asked for."""
    session.display.start(what, total)
    done = 0

    def on_batch(count: int) -> None:
        nonlocal done
        done += count
        session.display.update(done)
        session.stop_if_asked()

    return on_batch


class _Encoding:
    """Whatever encodes, as :func:`understudy.evaluation.cost.measure` takes it."""

    def __init__(self, encoder: EmbeddingModel | Predictor) -> None:
        self.encoder = encoder

    def logits(self, texts: Sequence[tuple[str, ...]]) -> np.ndarray:
        """The vectors, which are all that there is."""
        return self.encoder.encode([text[0] for text in texts])

    def summary(self) -> dict[str, int]:
        """Parameters and bytes."""
        return self.encoder.summary()


def _pairs(texts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of different texts."""
    rng = np.random.default_rng([seed, 6])
    one = rng.integers(texts, size=_PAIRS)
    return one, (one + rng.integers(1, texts, size=_PAIRS)) % texts


def _cosines(vectors: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(np.float32).tiny)
    found: np.ndarray = (vectors[one] * vectors[other]).sum(1) / (lengths[one] * lengths[other])
    return found

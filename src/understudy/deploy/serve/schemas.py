"""What is asked and answered in JSON: it is checked here, and shown by OpenAPI."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from understudy.data.tasks import Task, Text
from understudy.deploy.serve.bodies import Refused
from understudy.deploy.serve.limits import Limits
from understudy.inference.answers import Prediction

Pair = tuple[str, str]
_MOST_FAULTS = 5
Asked = TypeVar("Asked", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Question(_Strict):
    """Texts for a model: `text` for one, `texts` for several."""

    text: Annotated[str | Pair, Field(default=None, description="One text; of a model for pairs, a list of two.")]
    texts: Annotated[
        list[str | Pair],
        Field(default=None, description="Several texts; of a model for pairs, lists of two."),
    ]
    model: Annotated[str | None, Field(default=None, description="The model's name; by default the first one's.")]
    probabilities: Annotated[bool, Field(default=True, description="Whether probabilities are answered.")]
    top_k: Annotated[
        int | None,
        Field(default=None, ge=1, description="Only the probabilities of so many labels, the likeliest first."),
    ]


class AttributionQuestion(_Strict):
    """One text, whose answer is to be attributed to its tokens."""

    text: Annotated[str | Pair, Field(description="One text; of a model for pairs, a list of two.")]
    model: Annotated[str | None, Field(default=None, description="The model's name; by default the first one's.")]
    label: Annotated[str | None, Field(default=None, description="The label to explain; by default the likeliest.")]


class Answer(BaseModel):
    """What a model says of one text."""

    label: str | list[str] | float = Field(
        description="A label; of a multi-label model a list; of a regression a number."
    )
    probabilities: dict[str, float] | None = Field(default=None, description="By label; absent where there are none.")


class Answered(BaseModel):
    """Answers in the order of the texts."""

    model: str
    predictions: list[Answer]
    waited_ms: float = Field(description="Milliseconds before the first text was computed.")
    computed_ms: float = Field(description="Milliseconds of the batches that the texts were in.")


class Token(BaseModel):
    """One token of a text, with its share of the answer."""

    token: str
    score: float = Field(description="Above zero it speaks for the label, below zero against it.")
    start: int | None = Field(default=None, description="Where it begins in the text, in characters, if that is known.")
    end: int | None = None
    text: int = Field(default=0, description="Which text of a pair it is in.")


class Attributed(BaseModel):
    """An answer, attributed to the tokens of its text."""

    model: str
    label: str
    method: str
    tokens: list[Token]
    computed_ms: float


class ModelFacts(BaseModel):
    """What is told of a model."""

    model_config = ConfigDict(protected_namespaces=())

    name: str
    kind: str
    labels: list[str]
    texts_a_row: int
    attributions: str | None
    fingerprint: str
    loaded: str
    parameters: int | None
    size_bytes: int | None


class Models(BaseModel):
    """All models, the default first; and why changed folders do not answer."""

    models: list[ModelFacts]
    problems: dict[str, str]


class Health(BaseModel):
    """Whether the server answers."""

    status: str = Field(description="ok; degraded: a folder changed and cannot be loaded, the old model answers.")
    models: list[str]
    problems: dict[str, str]
    waiting: int
    version: str


class Fault(BaseModel):
    """Why a request was not answered, in sentences."""

    detail: list[str]


def parsed(kind: type[Asked], body: bytes) -> Asked:
    """A request's body.

    Raises:
        Refused: with a sentence for each fault.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True, include_input=False)
    sentences = list(dict.fromkeys(map(_sentence, found)))
    more = len(sentences) - _MOST_FAULTS
    raise Refused(422, *sentences[:_MOST_FAULTS], *([f"There are {more:,} more faults."] if more > 0 else []))


def _sentence(fault: Any) -> str:
    place = list(fault["loc"])
    if fault["type"] == "json_invalid":
        return f"the body is not JSON: {fault['ctx']['error']}. Correct it."
    if not place:
        return f"the body must be a JSON object: {fault['msg']}."
    if fault["type"] == "extra_forbidden":
        return f"'{place[0]!s:.80}' is not known here. Leave it out."
    if fault["type"] == "missing" and len(place) == 1:
        return f"{place[0]} is missing. Give it."
    if place[0] in ("text", "texts"):
        deeper = len(place) > 1 and isinstance(place[1], int) and place[0] == "texts"
        if place[0] == "texts" and not deeper:
            return "texts must be a list. For a single text there is `text`."
        return f"{f'texts[{place[1]}]' if deeper else 'text'} must be a string, or a list of two strings for a pair."
    return f"{place[0]}: {fault['msg']}."


def texts_of(asked: Question, task: Task, limits: Limits) -> list[Text]:
    """The texts of a question, checked against what the model reads and against the limits.

    Raises:
        Refused: with a sentence for each fault.
    """
    given = asked.model_fields_set & {"text", "texts"}
    if len(given) != 1:
        raise Refused(422, f"give text or texts, but {'both were' if given else 'none was'} given.")
    one = "text" in given
    texts: Sequence[str | Pair] = [asked.text] if one else asked.texts
    if len(texts) > limits.max_texts:
        raise Refused(
            422, f"texts holds {len(texts):,} texts, but may hold {limits.max_texts:,}. Send them in several calls."
        )
    named = (("text" if one else f"texts[{place}]", text_fault(text, task, limits)) for place, text in enumerate(texts))
    if faults := list(itertools.islice((f"{name} {fault}" for name, fault in named if fault), _MOST_FAULTS)):
        raise Refused(422, *faults)
    if task.kind == "regression" and asked.top_k is not None:
        raise Refused(
            422, "top_k is given, but this model answers with a number, not with probabilities. Leave it out."
        )
    if asked.top_k is not None and not asked.probabilities:
        raise Refused(422, "top_k is given, but probabilities is false. Leave one of them out.")
    return list(texts)


def text_fault(text: str | Pair, task: Task, limits: Limits) -> str:
    """What is wrong with a text, as the end of a sentence; nothing if it is fine."""
    parts = (text,) if isinstance(text, str) else text
    if len(parts) != len(task.text):
        return (
            "must be a list of two strings: this model reads pairs."
            if task.is_pair
            else "must be a string: this model reads single texts."
        )
    longest = max(map(len, parts))
    if longest > limits.max_chars:
        return f"has {longest:,} characters, but may have {limits.max_chars:,}. Cut it."
    return ""


def rendering(asked: Question) -> Callable[[Prediction], bytes]:
    """What makes JSON of an answer."""

    def render(answer: Prediction) -> bytes:
        told: dict[str, Any] = {"label": answer.label}
        if asked.probabilities and (shares := answer.probabilities):
            if asked.top_k is not None:
                likeliest = sorted(shares, key=shares.__getitem__, reverse=True)[: asked.top_k]
                shares = {label: shares[label] for label in likeliest}
            told["probabilities"] = shares
        return json.dumps(told).encode()

    return render


def question_schema(kind: type[BaseModel], limits: Limits) -> dict[str, Any]:
    """The JSON schema of a body, with the limits of this server, as a part of an operation of OpenAPI."""
    schema = kind.model_json_schema()
    fields = schema["properties"]
    for field in fields.values():
        if field.get("default", 0) is None:
            field.pop("default")
    for name in ("text", "texts"):
        field = fields.get(name, {})
        for part in (field, field.get("items", {})):
            for option in part.get("anyOf", ()):
                for string in (option, *option.get("prefixItems", ())):
                    if string.get("type") == "string":
                        string["maxLength"] = limits.max_chars
    if "texts" in fields:
        fields["texts"]["maxItems"] = limits.max_texts
        schema["oneOf"] = [{"required": ["text"]}, {"required": ["texts"]}]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}

"""The models of a server by name, and their folders, which are read again when they change.

A model is whatever has ``predict`` and ``task``. A new folder is loaded beside the old model, tried, and takes its place in
one step; what a call was begun with answers it to its end. A folder that cannot be loaded changes nothing but the notes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from understudy.data.tasks import Task, Text
from understudy.deploy.serve.batcher import Lane
from understudy.errors import ConfigError, ModelError, UnderstudyError, nearest
from understudy.inference.answers import Prediction

_SAMPLE = "A quiet, lovely film."
Explained = tuple[str, Callable[[Text, str | None], Mapping[str, Any]]]
"""The name of a method of attribution, and what attributes a text's answer."""
Explainer = Callable[[Any], Explained | None]
"""How the answers of a model are attributed; None where they cannot be."""
Say = Callable[[object], None]


class Model(Protocol):
    """What is served."""

    task: Task

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """Answers for texts, in their order."""
        ...


class ServedModel:
    """One model as it is served, with its lanes in the batcher."""

    def __init__(self, name: str, model: Model, *, explainer: Explainer = lambda model: None) -> None:
        self.name, self.task = name, model.task
        self.loaded = time.time()
        fingerprint = getattr(model, "fingerprint", None)
        self.fingerprint: str = fingerprint() if callable(fingerprint) else ""
        summary = getattr(model, "summary", None)
        self.summary: dict[str, int] = summary() if callable(summary) else {}
        self.answers = Lane(model.predict, name=name)
        sample = (_SAMPLE, _SAMPLE) if self.task.is_pair else _SAMPLE
        model.predict([sample])  # what cannot answer is not served
        found = _tried(explainer(model), sample)
        self.method = found and found[0]
        """How answers are attributed to tokens; None if they cannot be."""
        self.attributions = found and Lane(_each(found[1]), name=f"{name} attributions", most=1)

    def facts(self) -> dict[str, Any]:
        """What is told of it."""
        return {
            "name": self.name,
            "kind": self.task.kind,
            "labels": list(self.task.labels),
            "texts_a_row": len(self.task.text),
            "attributions": self.method,
            "fingerprint": self.fingerprint,
            "loaded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.loaded)),
            "parameters": self.summary.get("parameters"),
            "size_bytes": self.summary.get("size_bytes"),
        }


def _tried(found: Explained | None, sample: Text) -> Explained | None:
    """How answers are attributed, if it works for this model: some read their tokens in an order of their own."""
    try:
        if found is not None:
            found[1](sample, None)
    except UnderstudyError:
        return None
    return found


def _each(explain: Callable[[Text, str | None], Mapping[str, Any]]) -> Callable[[Sequence[Any]], list[Any]]:
    return lambda items: [explain(*item) for item in items]


@dataclass
class ServedFolder:
    """A folder, and how it is read."""

    name: str
    folder: Path
    """The one that is watched."""
    load: Callable[[], Any]
    """A model, or several by name."""
    names: frozenset[str] = frozenset()
    """What is served of it."""
    seen: object = None
    """What the folder looked like when it was last read."""
    changing: object = None
    """What it looked like at the last look, if that is something new."""
    problem: str | None = None
    """Why the folder as it is now does not answer."""


@dataclass
class ServedModels(Mapping[str, ServedModel]):
    """All models by name. The first one answers where no name is given.

    Args:
        sources: the folders; their names must differ.
        explainer: what attributes answers to tokens.
        say: told what was loaded again, and what was not.
        on_reload: told of the name of a source and whether it was loaded, at every attempt.
    """

    sources: Sequence[ServedFolder]
    explainer: Explainer = lambda model: None
    say: Say = lambda line: None
    on_reload: Callable[[str, bool], None] = lambda name, done: None
    _models: dict[str, ServedModel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Load everything.

        Raises:
            UnderstudyError: if a folder cannot be loaded; all that cannot be are named.
        """
        faults = []
        for source in self.sources:
            try:
                source.seen = source.changing = look(source.folder)
                found = self._load(source)
                if twice := sorted(found.keys() & self._models.keys()):
                    faults.append(f"two models are called '{twice[0]}'. Give one another name: NAME=FOLDER.")
                source.names = frozenset(found)
                self._models |= found
            except UnderstudyError as error:
                faults += error.faults
        if faults:
            raise ConfigError(*faults)

    def __getitem__(self, name: str) -> ServedModel:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._models))

    def __len__(self) -> int:
        return len(self._models)

    def named(self, name: str | None) -> ServedModel:
        """The model of a name, the first one for None.

        Raises:
            KeyError: with a sentence, if there is none.
        """
        models = self._models
        found = next(iter(models.values())) if name is None else models.get(name)
        if found is None:
            raise KeyError(
                f"model is {name!r:.80}, but served are {', '.join(map(repr, models))}.{nearest(str(name), models)}"
            )
        return found

    def problems(self) -> dict[str, str]:
        """By source, why its folder as it is now does not answer."""
        return {source.name: source.problem for source in self.sources if source.problem is not None}

    def refresh(self) -> None:
        """Read the folders again that changed and have then been at rest from one call to the next."""
        for source in self.sources:
            now = look(source.folder)
            if now == source.seen:
                source.changing = now
            elif now != source.changing:
                source.changing = now  # perhaps it is being written still
            else:
                self._reload(source, now)

    def _reload(self, source: ServedFolder, now: object) -> None:
        if now is None:
            self._refuse(source, now, f"{source.folder}: is not there any more")
            return
        try:
            found = self._load(source)
        except UnderstudyError as error:
            self._refuse(source, now, " ".join(error.faults))
            return
        if look(source.folder) != now:
            return  # it changed while it was read: look again next time
        models = {name: model for name, model in self._models.items() if name not in source.names}
        if twice := sorted(found.keys() & models.keys()):
            self._refuse(source, now, f"{source.folder}: another model is called '{twice[0]}'")
            return
        order = dict.fromkeys([*(name for name in self._models if name in models or name in found), *found])
        self._models = {name: found.get(name) or models[name] for name in order}
        source.seen, source.problem, source.names = now, None, frozenset(found)
        self.say(f"{source.name}: {source.folder} was loaded again.")
        self.on_reload(source.name, True)

    def _refuse(self, source: ServedFolder, now: object, reason: str) -> None:
        source.seen, source.problem = now, reason
        self.say(f"{source.name}: the folder changed, but the model loaded before answers still. {reason}")
        self.on_reload(source.name, False)

    def _load(self, source: ServedFolder) -> dict[str, ServedModel]:
        try:
            found = source.load()
            named = (
                {f"{source.name}/{task}": model for task, model in found.items()}
                if isinstance(found, Mapping)
                else {source.name: found}
            )
            return {name: ServedModel(name, model, explainer=self.explainer) for name, model in named.items()}
        except UnderstudyError:
            raise
        except Exception as error:  # a half-written folder can fail anywhere in a library
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ModelError(f"{source.folder}: cannot be loaded ({said}). Copy the folder again.") from error


def look(folder: Path) -> object:
    """What a folder looks like: names, sizes, times and places on the disk of its files; None if it is not there.

    Nothing is read, so that it can be called every second. A folder that is replaced has other files, whatever they hold.
    """
    try:
        found = sorted((path.name, path.stat()) for path in folder.iterdir())
    except OSError:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found)

"""Folders that change: loaded beside the old model, tried, and swapped; what is broken changes nothing but the notes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_stubs import NUMBER, SINGLE, Stub, asked, client, shares_of

from understudy.deploy.serve.served import ServedFolder, ServedModels, look
from understudy.errors import ConfigError, ModelError
from understudy.inference.answers import Prediction


class Written:
    """A model that answers with what its folder says."""

    def __init__(self, folder: Path) -> None:
        try:
            self.word = (folder / "word").read_text(encoding="utf-8")
        except OSError as error:
            raise ModelError(f"{folder}: cannot be read ({error.strerror}).") from None
        if self.word == "broken":
            raise ModelError(f"{folder}: is damaged. Copy it again.")
        if self.word == "bug":
            raise RuntimeError("somewhere in a library")
        self.task = SINGLE

    def predict(self, texts: Any) -> list[Prediction]:
        """The word."""
        if self.word == "mute":
            raise ModelError("its answers are not finite numbers.")
        return [Prediction(self.word, {}) for _ in texts]


def write(folder: Path, word: str) -> None:
    """Replace a folder in one step, as every command does."""
    aside = folder.with_name(f"{folder.name}.new")
    aside.mkdir(parents=True)
    (aside / "word").write_text(word, encoding="utf-8")
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.old"))
    aside.rename(folder)
    shutil.rmtree(folder.with_name(f"{folder.name}.old"), ignore_errors=True)


def served(folder: Path, said: list[object], told: list[tuple[str, bool]]) -> ServedModels:
    """A folder, and a model that never changes."""
    return ServedModels(
        [
            ServedFolder("written", folder, lambda: Written(folder)),
            ServedFolder("fixed", folder / "no", lambda: Stub()),
        ],
        say=said.append,
        on_reload=lambda name, done: told.append((name, done)),
    )


def word_of(models: ServedModels) -> Any:
    """What the model of the folder answers."""
    return models["written"].answers.work(["x"])[0].label


def test_a_new_folder_takes_over_when_it_is_at_rest(tmp_path: Path) -> None:
    said: list[object] = []
    told: list[tuple[str, bool]] = []
    folder = tmp_path / "model"
    write(folder, "one")
    models = served(folder, said, told)
    models.refresh()
    assert word_of(models) == "one"
    write(folder, "two")
    models.refresh()
    assert word_of(models) == "one", "perhaps it is being written still"
    models.refresh()
    assert word_of(models) == "two"
    models.refresh()
    assert said == [f"written: {folder} was loaded again."]
    assert told == [("written", True)]
    assert list(models) == ["written", "fixed"]
    assert models.named(None).name == "written"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("broken", "is damaged. Copy it again."),
        ("mute", "its answers are not finite numbers."),
        ("bug", "RuntimeError: somewhere in a library"),
    ],
)
def test_a_broken_folder_keeps_the_old_model_until_it_is_mended(word: str, reason: str, tmp_path: Path) -> None:
    said: list[object] = []
    told: list[tuple[str, bool]] = []
    folder = tmp_path / "model"
    write(folder, "one")
    models = served(folder, said, told)
    write(folder, word)
    for _ in range(4):
        models.refresh()
    assert word_of(models) == "one"
    assert reason in models.problems()["written"]
    assert len(said) == 1, "it is said once"
    assert reason in str(said[0])
    write(folder, "three")
    models.refresh()
    models.refresh()
    assert word_of(models) == "three"
    assert models.problems() == {}
    assert told == [("written", False), ("written", True)]


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    said: list[object] = []
    folder = tmp_path / "model"
    write(folder, "one")
    models = served(folder, said, [])
    shutil.rmtree(folder)
    models.refresh()
    models.refresh()
    assert "is not there any more" in models.problems()["written"]
    assert word_of(models) == "one"


def test_a_folder_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder, "one")

    def load() -> Written:
        found = Written(folder)
        if found.word == "two":
            write(folder, "three")
        return found

    models = ServedModels([ServedFolder("written", folder, load)])
    write(folder, "two")
    for words in ("one", "one", "one", "three"):
        models.refresh()
        assert word_of(models) == words


def test_tasks_of_one_folder_are_swapped_together(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder, "a b")

    def load() -> dict[str, Any]:
        return {name: Stub(NUMBER) for name in (folder / "word").read_text(encoding="utf-8").split()}

    models = ServedModels([ServedFolder("joint", folder, load), ServedFolder("x", folder / "no", lambda: Stub())])
    assert list(models) == ["joint/a", "joint/b", "x"]
    write(folder, "b c")
    models.refresh()
    models.refresh()
    assert set(models) == {"joint/b", "joint/c", "x"}


def test_a_model_whose_name_begins_like_another_s_stays(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder, "one")
    sources = [ServedFolder("a", folder, lambda: Written(folder)), ServedFolder("a/b", folder / "no", lambda: Stub())]
    models = ServedModels(sources)
    write(folder, "two")
    models.refresh()
    models.refresh()
    assert list(models) == ["a", "a/b"]
    assert models["a"].answers.work(["x"])[0].label == "two"


def test_faults_of_all_folders_are_told_together(tmp_path: Path) -> None:
    for name, word in {"one": "broken", "two": "bug"}.items():
        write(tmp_path / name, word)
    folders = [tmp_path / "one", tmp_path / "two"]
    with pytest.raises(ConfigError) as error:
        ServedModels([ServedFolder(folder.name, folder, lambda folder=folder: Written(folder)) for folder in folders])
    assert [str(folder) in fault for folder, fault in zip(folders, error.value.faults)] == [True, True]
    assert look(tmp_path / "three") is None


def test_the_server_reloads_and_says_what_it_could_not(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write(folder, "one")
    models = served(folder, [], [])

    async def until(found: httpx.AsyncClient, label: str, status: str) -> None:
        async with asyncio.timeout(30):
            while True:
                answer = await found.post("/predict", json={"text": "x"})
                health = (await found.get("/health")).json()
                if (answer.json()["predictions"][0]["label"], health["status"]) == (label, status):
                    return
                await asyncio.sleep(0.01)

    async def run() -> None:
        async with client({}, served=models, reload_seconds=0.02, token="t") as bare:
            bare.headers["Authorization"] = "Bearer t"
            await until(bare, "one", "ok")
            write(folder, "two")
            await until(bare, "two", "ok")
            write(folder, "broken")
            await until(bare, "two", "degraded")
            health = await bare.get("/health", headers={"Authorization": ""})
            assert health.status_code == 200
            assert "could not be loaded; the model loaded before answers" in health.json()["problems"]["written"]
            assert str(tmp_path) not in health.text, "it needs no token, so it names no folder"
            assert f"{folder}: is damaged" in (await bare.get("/models")).json()["problems"]["written"]
            metrics = (await bare.get("/metrics")).text
            assert 'understudy_reloads_total{model="written",result="loaded"} 1.0' in metrics
            assert 'understudy_reloads_total{model="written",result="refused"} 1.0' in metrics
            write(folder, "three")
            await until(bare, "three", "ok")

    asyncio.run(run())


def test_what_was_begun_is_ended_by_the_model_that_began_it(tmp_path: Path) -> None:
    old, new = Stub(), Stub(NUMBER)
    current = [old]
    folder = tmp_path / "model"
    write(folder, "one")
    models = ServedModels([ServedFolder("stub", folder, lambda: current[0])])

    async def talk(found: httpx.AsyncClient) -> None:
        old.gate.clear()
        call = asyncio.create_task(found.post("/predict", json={"texts": ["a"] * 100}))
        await asyncio.sleep(0.05)
        current[0] = new
        write(folder, "two")
        models.refresh()
        models.refresh()
        old.gate.set()
        answers = (await call).json()["predictions"]
        assert all(answer["probabilities"] == shares_of("a") for answer in answers)
        after = await found.post("/predict", json={"text": "a"})
        assert after.json()["predictions"][0] == {"label": shares_of("a")["bad"]}

    asked(talk, served=models)

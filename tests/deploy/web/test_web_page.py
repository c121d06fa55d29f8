"""Exported pages in a real browser: the same answers as Python's, nothing fetched from elsewhere, usable by keyboard."""

from __future__ import annotations

import base64
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

sys.path += [str(Path(__file__).parents[1] / "onnx"), str(Path(__file__).parents[2])]
from export_toys import TASKS, network, predictor, texts_for, words

from chromium import Tab, chromium, served, tab
from understudy.deploy import web
from understudy.deploy.onnx.export import TOLERANCE, export_onnx
from understudy.deploy.onnx.int8 import int8_graph, parts_of
from understudy.deploy.web.agreement import agreement, check_agreement
from understudy.deploy.web.folder import write_web
from understudy.deploy.web.packages import ONNXRUNTIME, TOKENIZERS, package_files
from understudy.errors import ModelError
from understudy.inference.exported.facts import GRAPH, QuantizedFacts
from understudy.inference.exported.predictor import ExportedPredictor
from understudy.models.files.stored_task import set_task

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")
ODD = [
    "",
    " ",
    "the film was good",
    "The FILM was Good!",
    "naïve café ÉCOLE ﬁn ΟΔΟΣ İstanbul ß ẞ",
    "e\u0301 a\u0308\u0301 \u0301alone",
    "你好，世界。こんにちは 안녕하세요 ภาษาไทย हिन्दी العربية",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇬🇭 👍🏽",
    "\t tabs\nand\r\nlines\u00a0\u2028\u3000\u200b\ufeff \x00 \ufffd",
    "<b>\"the\" & 'a'</b> [CLS] [SEP] [PAD] [UNK] play",
    "it's $5,000.00 -- (x_y) #tag @you a/b\\c `d` ~^|{}=+*",
    "𠀀𠀁 𝒳 𐍈",
    "song " * 400,
    "x" * 3000,
    *(
        f"the {word} was {other}"
        for word in ("film", "play", "song", "book")
        for other in ("good", "bad", "dull", "fine", "")
    ),
]


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The packages of npm, from the user's own cache or the network; without them nothing here can be tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_CACHE", str(Path.home() / ".cache" / "understudy"))
        try:
            found = {one: package_files(one) for one in (TOKENIZERS, ONNXRUNTIME)}
        except ModelError as error:
            pytest.skip(f"the packages of npm cannot be had: {error}")
    place = tmp_path_factory.mktemp("npm")
    for one, files in found.items():
        for inside, name, _ in one.files:
            (place / one.name / inside).parent.mkdir(parents=True, exist_ok=True)
            (place / one.name / inside).write_bytes(files[name])
        (place / one.name / "package.json").write_text("{}")
    NPM.append(str(place))


NPM: list[str] = []


def bert(task: Any) -> Any:
    """A tiny BERT with random weights."""
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            num_labels=task.outputs,
            max_position_embeddings=64,
        )
    ).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    set_task(model.config, task)
    return model


def folder_of_page() -> Path:
    """Where the page's own code lies."""
    return Path(web.__file__).parent / "page"


def page(folder: Path, kind: str, name: str, *, int8: bool = False, tokenizer: Any = None) -> ExportedPredictor:
    """A page of a toy model, and the exported model that it was made of."""
    task = TASKS[name]
    model = bert(task) if kind == "bert" else network(kind, task)
    exported = folder / "exported"
    export_onnx(exported, predictor(model, task, tokenizer, temperature=1.7), texts_for(task))
    if int8:
        onnx = pytest.importorskip("onnx")
        graph = onnx.load(str(exported / GRAPH))
        made = int8_graph(graph, [node for nodes in parts_of(graph).values() for node in nodes])
        onnx.save_model(made, str(exported / GRAPH))
        (exported / "checksums.json").unlink()
    source = ExportedPredictor(exported, threads=1)
    write_web(folder / "page", source, texts_for(task), title="A toy", tolerance=TOLERANCE, npm_folder=NPM[-1])
    return source


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    """One tab for all tests."""
    if chromium() is None:
        pytest.skip("Chromium is not installed")
    with tab() as found:
        yield found


def opened(browser: Tab, address: str) -> None:
    """The page, ready to answer."""
    browser.events.clear()
    browser.open(f"{address}/index.html")
    browser.until("document.getElementById('state')?.textContent.startsWith('Ready')")


def asked(browser: Tab, texts: list[Any]) -> list[dict[str, Any]]:
    """What the page's model answers, from a worker of its own."""
    found: list[dict[str, Any]] = browser.value(
        f"""new Promise((resolve, reject) => {{
            const worker = new Worker("worker.js", {{type: "module"}}), answers = [];
            worker.onmessage = ({{data}}) => {{
                if (data.type === "ready") worker.postMessage({{type: "texts", job: 1, texts: {json.dumps(texts)}}});
                if (data.type === "answer") answers.push(data);
                if (data.type === "error") reject(new Error(data.message));
                if (data.type === "done") resolve(answers);
            }};
            worker.postMessage({{type: "load"}});
        }})"""
    )
    return found


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("static", "single_label"),
        ("static", "multi_label"),
        ("static", "regression"),
        ("static", "pair"),
        ("static, wide head", "single_label"),
        ("bilstm", "multi_label"),
        ("bilstm", "pair"),
        ("bert", "single_label"),
        ("bert", "pair"),
        ("bert", "regression"),
    ],
)
def test_the_browser_answers_as_python_does(browser: Tab, tmp_path: Path, kind: str, name: str) -> None:
    source = page(tmp_path, kind, name)
    texts: list[Any] = list(zip(ODD, reversed(ODD))) if source.task.is_pair else list(ODD)
    with served(tmp_path / "page") as address:
        opened(browser, address)
        answers = asked(browser, texts)
        expected = [source.predict([text])[0] for text in texts]
        if name == "regression":
            np.testing.assert_allclose([one["label"] for one in answers], [one.label for one in expected], atol=1e-4)
        else:
            assert [one["label"] for one in answers] == [one.label for one in expected]
            shares = [list(one.probabilities.values()) for one in expected]
            np.testing.assert_allclose([one["probabilities"] for one in answers], shares, atol=1e-4)
        assert {one.rpartition("/")[0] for one in browser.requests()} == {address}  # nothing from elsewhere
        assert not browser.complaints()  # nothing that the page's own policy forbids, either
        assert any(one["cut"] for one in answers)
        assert not answers[2]["cut"]


def test_int8_weights_answer_alike_in_the_browser(browser: Tab, tmp_path: Path) -> None:
    source = page(tmp_path, "bilstm", "single_label", int8=True)
    with served(tmp_path / "page") as address:
        opened(browser, address)
        answers = asked(browser, ODD)
    shares = [list(source.predict([text])[0].probabilities.values()) for text in ODD]
    np.testing.assert_allclose([one["probabilities"] for one in answers], shares, atol=2e-3)


def typed(browser: Tab, name: str, text: str) -> None:
    """Type a text into a field as a keyboard does."""
    browser.value(f"document.getElementById('{name}').focus()")
    browser.call("Input.insertText", text=text)


def key(browser: Tab, name: str, code: int, **options: Any) -> None:
    """Press a key."""
    for kind in ("rawKeyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **options)


def test_texts_are_typed_pasted_dropped_and_saved(browser: Tab, tmp_path: Path) -> None:
    source = page(tmp_path, "static", "single_label")
    with served(tmp_path / "page") as address:
        opened(browser, address)
        assert browser.value("document.activeElement.id") == "first"  # one can type at once
        typed(browser, "first", "the film was good")
        browser.until("document.getElementById('answer').textContent")
        assert (
            browser.value("document.getElementById('answer').textContent")
            == source.predict(["the film was good"])[0].label
        )
        assert " ms " in browser.value("document.getElementById('latency').textContent")
        shares = browser.value("[...document.querySelectorAll('.bars .share')].map((one) => one.textContent)")
        expected = sorted(source.predict(["the film was good"])[0].probabilities.values(), reverse=True)
        assert [float(share.removesuffix(" %")) for share in shares] == pytest.approx(
            [100 * one for one in expected], abs=0.06
        )

        typed(browser, "lines", "a dull book\n\n<b>song</b>\nthe film was bad")
        key(browser, "Enter", 13, modifiers=2)  # with Control
        browser.until("!document.getElementById('save').hidden")
        told = browser.value("[...document.querySelectorAll('tbody td.label')].map((one) => one.textContent)")
        assert told == [source.predict([text])[0].label for text in ("a dull book", "<b>song</b>", "the film was bad")]
        assert browser.value("document.querySelectorAll('tbody b').length") == 0

        rows = 'id,"text",note\r\n1,"a ""dull"", long\nbook",x\r\n2,the play,y\r\n'
        browser.value(
            f"""(() => {{
                const moved = new DataTransfer();
                moved.items.add(new File([{json.dumps(rows)}], "rows.csv", {{type: "text/csv"}}));
                dispatchEvent(new DragEvent("drop", {{dataTransfer: moved, bubbles: true, cancelable: true}}));
            }})()"""
        )
        browser.until("document.getElementById('run').textContent === 'Label 2 texts'")
        browser.value("document.getElementById('run').click()")
        browser.until("document.getElementById('many-state').textContent.startsWith('2 of 2')")
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
        browser.value("document.getElementById('save').click()")
        browser.until("true")
        _wait_for(browser, tmp_path / "A toy.csv")
        with open(tmp_path / "A toy.csv", newline="", encoding="utf-8") as file:
            saved = list(csv.reader(file))
        assert saved[0] == ["text", "label", "p(bad)", "p(fair)", "p(good)"]
        texts = ['a "dull", long\nbook', "the play"]
        assert [row[0] for row in saved[1:]] == texts
        assert [row[1] for row in saved[1:]] == [source.predict([text])[0].label for text in texts]
        assert not browser.complaints()


def _wait_for(browser: Tab, path: Path) -> None:
    """Wait until a file that the browser writes is whole."""
    for _ in range(1000):
        if path.is_file() and path.stat().st_size:
            return
        browser.value("new Promise((resume) => setTimeout(resume, 10))")
    raise TimeoutError(f"{path} does not appear")


def test_a_missing_file_is_said_on_the_page(browser: Tab, tmp_path: Path) -> None:
    page(tmp_path, "static", "single_label")
    (tmp_path / "page" / "bag.npz").unlink()
    with served(tmp_path / "page") as address:
        browser.open(f"{address}/index.html")
        browser.until("document.getElementById('state')?.textContent.includes('bag.npz cannot be fetched (404)')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen(browser: Tab, tmp_path: Path, scheme: str, width: int) -> None:
    page(tmp_path, "static", "pair")
    with served(tmp_path / "page") as address:
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        opened(browser, address)
        typed(browser, "first", "x" * 200)
        browser.until("!document.getElementById('result').hidden")
        browser.value("document.querySelector('details').open = true")
        assert browser.value("document.documentElement.scrollWidth") <= width
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) > 384) == (scheme == "light")
        shot = browser.call("Page.captureScreenshot", format="png")
        assert len(base64.b64decode(shot["data"])) > 1000
        browser.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_a_page_whose_tokenizer_differs_is_refused(tmp_path: Path) -> None:
    source = page(tmp_path, "static", "single_label")
    texts = texts_for(source.task)
    found = agreement(tmp_path / "page", source, texts)
    assert found is not None
    assert (found.other_ids, found.other_labels) == (0, 0)
    assert found.difference < 1e-6
    content = json.loads((tmp_path / "page" / "tokenizer.json").read_text())
    content["model"]["vocab"] = {word: (number + 1) % 20 for word, number in content["model"]["vocab"].items()}
    (tmp_path / "page" / "tokenizer.json").write_text(json.dumps(content))
    changed = agreement(tmp_path / "page", source, texts)
    assert changed is not None
    assert changed.other_ids > 0


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["single_label", "pair"])
def test_long_texts_are_cut_as_in_python(tmp_path: Path, name: str, side: str) -> None:
    tokenizer = words()
    tokenizer.truncation_side = side
    source = page(tmp_path, "static", name, tokenizer=tokenizer)
    some = [("film " * count).strip() for count in (0, 1, 2, 9, 10, 11, 20, 21, 22, 40)]
    texts: list[Any] = [(a, b) for a in some for b in some] if name == "pair" else some
    found = agreement(tmp_path / "page", source, texts)
    assert found is not None
    assert found.other_ids == 0
    assert found.difference < 1e-6


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_names_of_special_tokens_are_read_as_the_model_reads_them(tmp_path: Path) -> None:
    plain = Tokenizer.from_str(words().backend_tokenizer.to_str())
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", split_special_tokens=True
    )
    source = page(tmp_path, "static", "single_label", tokenizer=tokenizer)
    assert source.facts.spell_special
    found = agreement(tmp_path / "page", source, ["the [SEP] film", "[CLS][PAD] was", "[UNK]"])
    assert found is not None
    assert found.other_ids == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_numbers_of_small_weights_are_compared_too(tmp_path: Path) -> None:
    source = page(tmp_path, "static", "regression")
    scores = {"metric": "pearson", "rows": 9, "before": 0.9, "after": 0.9, "low": 0.0, "high": 0.0, "level": 0.95}
    sizes = {"parts": 1, "bytes_before": 8, "bytes_after": 2}
    made: dict[str, Any] = {"to": "int8", "left": (), "origin": "rows", "max_drop": 1.0, **sizes, **scores}
    source.facts = replace(source.facts, quantized=QuantizedFacts(**made))
    texts = texts_for(source.task)
    found = agreement(tmp_path / "page", source, texts)
    assert found is not None
    check_agreement(tmp_path / "page", found, source, texts, tolerance=TOLERANCE)
    with pytest.raises(ModelError, match="answers otherwise than the model"):
        check_agreement(tmp_path, replace(found, difference=0.5), source, texts, tolerance=TOLERANCE)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_files_that_somebody_drops_are_read_as_they_are() -> None:
    program = """
        import { readFile, rowsOf } from "./tables.js";
        const told = (make) => { try { return make(); } catch (error) { return error.message; } };
        console.log(JSON.stringify([
            readFile("pairs.txt", "one\\ttwo\\n\\nthree\\n", [], true),
            rowsOf("a\\tb", false),
            readFile("x.csv", "3,Wall St.,Short sellers\\n", ["text"], false),
            readFile("x.tsv", "text\\nGood, but long\\n", ["text"], false),
            readFile("x.csv", "id,text\\n1,a film\\n", ["text"], false),
            told(() => readFile("x.csv", 'text\\n"open\\nnever\\n', ["text"], false)),
        ]));
    """
    words = ["node", "--input-type=module", "--eval", program.replace("\\\\", "\\")]
    done = subprocess.run(words, cwd=folder_of_page(), capture_output=True, text=True, check=True)
    pairs, line, guessed, column, named, fault = json.loads(done.stdout)
    assert column["rows"] == [["Good, but long"]]
    assert pairs == {"names": None, "rows": [["one", "two"], ["three"]], "guessed": False}
    assert line == [["a\tb"]]
    assert (guessed["names"], guessed["guessed"]) == (["3", "Wall St.", "Short sellers"], True)
    assert (named["rows"], named["guessed"]) == ([["1", "a film"]], False)
    assert fault == "a quotation mark is opened and never closed. Save the file again."


def test_two_pages_have_two_fingerprints(tmp_path: Path) -> None:
    """A teacher's answers are kept by it: the table is what the answers of a page come from."""
    page(tmp_path, "static", "single_label")
    shutil.copytree(tmp_path / "page", tmp_path / "other")
    (tmp_path / "other" / "checksums.json").unlink()
    with np.load(tmp_path / "page" / "bag.npz") as arrays:
        np.savez(tmp_path / "other" / "bag.npz", **{name: 2 * arrays[name] for name in arrays})
    one, other = (ExportedPredictor(tmp_path / name) for name in ("page", "other"))
    assert one.fingerprint() != other.fingerprint()


def test_a_page_is_an_exported_model_too(tmp_path: Path) -> None:
    for kind in ("static", "bilstm"):
        source = page(tmp_path / kind, kind, "single_label")
        again = ExportedPredictor(tmp_path / kind / "page")
        texts = texts_for(source.task)
        np.testing.assert_allclose(again.logits(texts), source.logits(texts), atol=1e-6)
        assert (tmp_path / kind / "page" / GRAPH).is_file() == (kind == "bilstm")
        assert (tmp_path / kind / "page" / "ort-wasm.wasm").is_file() == (kind == "bilstm")
        assert "Apache License" in (tmp_path / kind / "page" / "LICENSE-tokenizers.txt").read_text()

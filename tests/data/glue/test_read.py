"""Every quirk of GLUE's files, on files made by hand, and each thing that can be wrong with them."""

from __future__ import annotations

import csv
import gzip
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from understudy.data.glue.read import TaskData, glue_there, read_task
from understudy.data.glue.roots import places_read
from understudy.data.glue.tasks import GLUE, HUB, NINE
from understudy.errors import ConfigError, DataError, UnderstudyError

OFFICIAL: dict[str, dict[str, str]] = {
    "CoLA": {  # no header but in the test file; the quote mark opens nothing
        "train.tsv": "gj04\t1\t\tOur friends won't buy \"this.\ngj04\t0\t*\tThey drank the pub.\n",
        "dev.tsv": "gj04\t1\t\tThe sailors rode the breeze.\n",
        "test.tsv": "index\tsentence\n0\tBill whistled.\n1\tBill's.\n",
    },
    "SST-2": {
        "train.tsv": 'sentence\tlabel\nhide new secretions \t0\n" quoted at one end \t1\n',
        "dev.tsv": "sentence\tlabel\nit 's charming\t1\n",
        "test.tsv": "index\tsentence\n0\tuneasy mishmash\n",
    },
    "MRPC": {  # a byte-order mark, names with signs and spaces, lone quote marks
        "train.tsv": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t702876\t702977\t"Amrozi said .\tHe said .\n0\t1\t2\tA\tB "\n',
        "dev.tsv": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t3\t4\tC\tD\r\n",
        "test.tsv": 'index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t5\t6\t"E\tF\n',
    },
    "STS-B": {
        "train.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n0\tg\tf\t2012\t1\tn\tn\tA plane.\tAn air plane.\t5.000\n1\tg\tf\t2012\t2\tn\tn\tA man.\tA dog.\t0.6\n",
        "dev.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n0\tg\tf\t2012\t1\tn\tn\tX.\tY.\t0.000\n",
        "test.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n0\tg\tf\t2012\t1\tn\tn\tX.\tY.\n",
    },
    "QQP": {  # rows with too few fields, and with an empty question
        "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tHow?\tWhy?\t0\n4\t5\t6\tbroken\n7\t8\t9\tWho?\tWhich one?\t1\n10\t11\t12\t\tWhich two?\t1\n",
        "dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tIs it?\tWas it?\t0\n",
        "test.tsv": "id\tquestion1\tquestion2\n0\tWould it?\tCould it?\n",
    },
    "MNLI": {  # the development files have more columns than the training file
        "train.tsv": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
        + "".join(
            f"{i}\t1\t1n\tfiction\t( a\t( b\t(R\t(R\tA {i}\tB {i}\t{label}\t{label}\n"
            for i, label in enumerate(["neutral", "entailment", "contradiction"])
        ),
        **{
            f"dev_{kind}.tsv": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
            f"0\t1\t1n\t{kind}\t( a\t( b\t(R\t(R\tdev {kind}\tB\tneutral\tneutral\tneutral\tneutral\tneutral\tcontradiction\n"
            for kind in ("matched", "mismatched")
        },
        **{
            f"test_{kind}.tsv": f"index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\n0\t1\t1n\t{kind}\t( a\t( b\t(R\t(R\ttest {kind}\tB\n"
            for kind in ("matched", "mismatched")
        },
    },
    "QNLI": {
        "train.tsv": "index\tquestion\tsentence\tlabel\n0\tWhen?\tThen.\tentailment\n1\tWho?\tThen.\tnot_entailment\n",
        "dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWhere?\tThere.\tentailment\n",
        "test.tsv": "index\tquestion\tsentence\n0\tHow?\tSo.\n",
    },
    "RTE": {
        "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n1\tC\tD\tentailment\n",
        "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tE\tF\tentailment\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\tG\tH\n",
    },
    "WNLI": {
        "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n1\tC\tD\t0\n",
        "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tE\tF\t0\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\tG\tH\n",
    },
    "diagnostic": {"diagnostic.tsv": "index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not sit.\n"},
}


def lay_out(root: Path, files: dict[str, dict[str, str]]) -> Path:
    """Write files below folders of tasks."""
    for folder, parts in files.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, text in parts.items():
            (root / folder / name).write_text(text, encoding="utf-8", newline="")
    return root


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "GLUE", OFFICIAL)


def read(root: Path, name: str) -> TaskData:
    return read_task(str(root), name, tests=True)


def faults(root: Path, name: str) -> list[str]:
    with pytest.raises(UnderstudyError) as error:
        read(root, name)
    return list(error.value.faults)


def test_the_official_files_of_every_task(official: Path) -> None:
    expected = {
        "cola": ([1, 0], [("Our friends won't buy \"this.",), ("They drank the pub.",)]),
        "sst2": ([0, 1], [("hide new secretions ",), ('" quoted at one end ',)]),
        "mrpc": ([1, 0], [('"Amrozi said .', "He said ."), ("A", 'B "')]),
        "stsb": ([5.0, 0.6], [("A plane.", "An air plane."), ("A man.", "A dog.")]),
        "qqp": ([0, 1], [("How?", "Why?"), ("Who?", "Which one?")]),
        "mnli": ([1, 0, 2], [("A 0", "B 0"), ("A 1", "B 1"), ("A 2", "B 2")]),
        "qnli": ([0, 1], [("When?", "Then."), ("Who?", "Then.")]),
        "rte": ([1, 0], [("A", "B"), ("C", "D")]),
        "wnli": ([1, 0], [("A", "B"), ("C", "D")]),
    }
    assert set(expected) == set(NINE)
    for name, (labels, texts) in expected.items():
        found = read(official, name)
        np.testing.assert_allclose(found.splits.train.labels, np.array(labels, np.float32), rtol=1e-6)
        assert list(found.splits.train.texts) == texts
        assert len(found.splits.validation) == 1
        assert found.splits.test is None
        task = found.splits.task
        assert (task.kind, task.labels, task.metrics) == (GLUE[name].kind, GLUE[name].labels, GLUE[name].metrics)
    assert glue_there(str(official)) == (list(NINE), [])
    assert read(official, "stsb").splits.train.labels.dtype == np.float32


def test_mnli_is_evaluated_twice_and_answers_for_the_diagnostic_set(official: Path) -> None:
    found = read(official, "MNLI")
    assert list(found.splits.validation.texts) == [("dev matched", "B")]
    assert list(found.others["validation_mismatched"].texts) == [("dev mismatched", "B")]
    assert found.others["validation_mismatched"].labels.tolist() == [2]
    assert {file: list(texts) for file, texts in found.tests.items()} == {
        "MNLI-m": [("test matched", "B")],
        "MNLI-mm": [("test mismatched", "B")],
        "AX": [("The cat sat.", "The cat did not sit.")],
    }


def test_broken_rows_of_qqp_are_counted_and_left_out(official: Path) -> None:
    (note,) = [note for note in read(official, "qqp").splits.notes if "left out" in note]
    assert "2 broken rows left out" in note
    assert "train.tsv, line 3" in note


@pytest.mark.parametrize("name", ["train", "dev"])
def test_a_split_of_qqp_with_nothing_but_broken_rows_is_refused(official: Path, name: str) -> None:
    path = official / "QQP" / f"{name}.tsv"
    head = path.read_text(encoding="utf-8").splitlines()[0]
    path.write_text(f"{head}\n1\t2\tbroken\n3\t4\t5\t\tWhy?\t1\n", encoding="utf-8")
    (said,) = faults(official, "qqp")
    assert f"{name}.tsv: all 2 rows are broken (first: " in said
    assert "so none is left" in said
    assert "Get the file again. It is on the hub" in said


def test_mnli_with_one_development_set_says_so(official: Path) -> None:
    assert not any("no validation_mismatched" in note for note in read(official, "mnli").splits.notes)
    (official / "MNLI" / "dev_mismatched.tsv").unlink()
    found = read(official, "mnli")
    assert not found.others
    (note,) = [note for note in found.splits.notes if "no validation_mismatched" in note]
    assert "MNLI: no validation_mismatched split of MNLI. Looked for dev_mismatched or validation_mismatched as" in note
    assert note.endswith("It is scored on the matched rows alone.")


@pytest.mark.parametrize("submit", [True, False])
def test_a_diagnostic_set_with_labels_is_scored(official: Path, submit: bool) -> None:
    rows = "".join(f"a\t\t\t\tNews\tA {label}\tB\t{label}\n" for label in ("contradiction", "neutral", "entailment"))
    head = "Lexical Semantics\tPredicate-Argument Structure\tLogic\tKnowledge\tDomain\tPremise\tHypothesis\tLabel\n"
    (official / "diagnostic" / "diagnostic-full.tsv").write_text(head + rows, encoding="utf-8")
    found = read_task(str(official), "mnli", tests=submit)
    assert found.others["diagnostic"].labels.tolist() == [2, 1, 0]
    assert found.others["diagnostic"].texts[0] == ("A contradiction", "B")
    assert [list(texts) for file, texts in found.tests.items() if file == "AX"] == (
        [[("The cat sat.", "The cat did not sit.")]] * submit
    )
    (official / "diagnostic" / "diagnostic.tsv").unlink()
    found = read_task(str(official), "mnli", tests=submit)
    assert len(found.others["diagnostic"]) == 3
    assert [len(texts) for file, texts in found.tests.items() if file == "AX"] == [3] * submit


def test_a_test_file_that_the_leaderboard_would_refuse_is_said(official: Path) -> None:
    path = official / "SST-2" / "test.tsv"
    path.write_text("index\tsentence\n0\tgood\n\t\n2\tfine\n3\tbad\n\n", encoding="utf-8")
    found = read(official, "sst2")
    assert list(found.tests["SST-2"]) == [("good",), ("",), ("fine",), ("bad",)]  # an empty row keeps its place
    notes = [note for note in found.splits.notes if str(path) in note]
    assert notes[0] == f"{path}: 1 empty line skipped."
    assert f"{path}: has 4 rows, but the leaderboard's test set has 1,821, so it would refuse SST-2.tsv." in notes[1]
    path.write_text("index\tsentence\n0\tgood\n2\tfine\n1\tbad\n3\tpoor\n", encoding="utf-8")
    said = faults(official, "sst2")
    assert len(said) == 2
    assert f"{path}, line 3: 'index' is '2', but this is row 1, counted from 0" in said[0]
    assert len(read_task(str(official), "sst2").splits.train) == 2  # nothing is answered for it


@pytest.mark.parametrize("task", ["SST-2", "CoLA"])
def test_quote_marks_are_quoting_where_pandas_wrote_the_file(official: Path, task: str) -> None:
    text = 'sentence\tlabel\n"He said ""great"" film"\t1\nplain\t0\n'
    (official / task / "train.tsv").write_text(text, encoding="utf-8")
    assert list(read(official, task).splits.train.texts) == [('He said "great" film',), ("plain",)]
    (official / task / "train.tsv").write_text('sentence\tlabel\n"He said "" film\t1\n""\t0\n', encoding="utf-8")
    assert list(read(official, task).splits.train.texts) == [('"He said "" film',), ('""',)]


@pytest.mark.parametrize("task", ["MRPC", "STS-B", "MNLI", "QNLI", "RTE", "WNLI"])
def test_files_of_pairs_that_pandas_wrote_are_read_as_quoted(official: Path, task: str) -> None:
    path, text = official / task / "train.tsv", 'He said " hello 0 " .'
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    head, *rows = (line.split("\t") for line in lines)
    one = next(head.index(pair[0]) for pair in GLUE[read(official, task).name].text if pair[0] in head)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows([head, *([*row[:one], text, *row[one + 1 :]] for row in rows)])
    assert {first for first, _ in read(official, task).splits.train.texts} == {text}
    path.write_text("\n".join([lines[0], *("\t".join([*row[:one], text, *row[one + 1 :]]) for row in rows)]), "utf-8")
    assert {first for first, _ in read(official, task).splits.train.texts} == {text}


def test_quote_marks_of_qqp_are_text_though_its_source_quoted_them(official: Path) -> None:
    head = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    rows = '1\t2\t3\t"What is ""it""?"\tWhy?\t0\n4\t5\t6\t"How?\n"\tWho?\t1\n7\t8\t9\tA?\tB?\t1\n'
    (official / "QQP" / "train.tsv").write_text(head + rows, encoding="utf-8")
    found = read(official, "qqp").splits
    assert list(found.train.texts) == [('"What is ""it""?"', "Why?"), ("A?", "B?")]
    assert any("2 broken rows left out" in note for note in found.notes)


def test_a_limit_is_answered_as_for_tasks_of_ones_own(official: Path) -> None:
    with pytest.raises(DataError, match="mnli: --limit_train 2 is fewer rows than there are classes"):
        read_task(str(official), "mnli", limit_train=2)
    notes = read_task(str(official), "rte", limit_train=7).splits.notes
    assert "train: all 2 labelled rows are used, --limit_train asks for 7." in notes


@pytest.mark.parametrize("name", ["AX.tsv", "diagnostic.tsv"])
def test_the_diagnostic_set_may_lie_in_the_root_as_its_source_gives_it(official: Path, name: str) -> None:
    text = OFFICIAL["diagnostic"]["diagnostic.tsv"]
    shutil.rmtree(official / "diagnostic")
    (note,) = [note for note in read(official, "mnli").splits.notes if "AX.tsv" in note]
    assert "no test file for AX.tsv of the submission." in note
    assert "Looked for diagnostic.tsv or AX.tsv, here or in a folder diagnostic/ or ax/." in note
    (official / name).write_text(text, encoding="utf-8")
    assert list(read(official, "mnli").tests["AX"]) == [("The cat sat.", "The cat did not sit.")]


@pytest.mark.parametrize("submit", [True, False])
def test_the_diagnostic_set_with_labels_may_lie_in_the_root_alone(official: Path, submit: bool) -> None:
    shutil.rmtree(official / "diagnostic")
    (official / "notes.tsv").write_text("a\tb\n1\t2\n", encoding="utf-8")
    text = "Domain\tPremise\tHypothesis\tLabel\nNews\tA\tB\tneutral\n"
    (official / "diagnostic-full.tsv").write_text(text, encoding="utf-8")
    found = read_task(str(official), "mnli", tests=submit)
    assert list(found.others["diagnostic"].texts) == [("A", "B")]
    assert ("AX" in found.tests) is submit


@pytest.mark.parametrize("folder", [".", "diagnostic"])
def test_two_files_of_the_diagnostic_set_are_refused_and_an_empty_folder_is_not(official: Path, folder: str) -> None:
    text = (official / "diagnostic" / "diagnostic.tsv").read_text(encoding="utf-8")
    shutil.rmtree(official / "diagnostic")
    (official / "diagnostic").mkdir()
    assert "AX" not in read(official, "mnli").tests
    if folder == ".":
        (official / "diagnostic").rmdir()
    for name in ("AX.tsv", "diagnostic.tsv"):
        (official / folder / name).write_text(text, encoding="utf-8")
    (said,) = faults(official, "mnli")
    assert "AX.tsv and diagnostic.tsv are all the test split of diagnostic. Keep one of them." in said


def test_the_diagnostic_set_is_among_what_is_read_for_mnli(official: Path) -> None:
    folder = str(official / "MNLI")
    assert places_read(str(official), "rte") == [str(official / "RTE")]
    assert places_read(str(official), "mnli") == [folder, str(official / "diagnostic")]
    shutil.rmtree(official / "diagnostic")
    assert places_read(str(official), "mnli") == [folder]
    for name in ("diagnostic-full.tsv", "AX.tsv.gz"):
        (official / name).touch()
    assert places_read(str(official), "mnli") == [
        folder,
        str(official / "AX.tsv.gz"),
        str(official / "diagnostic-full.tsv"),
    ]
    assert places_read(str(official), "mine") == [str(official)]


def test_mrpcs_source_comes_with_what_to_make_of_it(official: Path) -> None:
    """Its two files have other names than those that are read, and no development rows."""
    folder = official / "MRPC"
    for name in ("train", "test"):
        (folder / f"{name}.tsv").rename(folder / f"msr_paraphrase_{name}.txt")
    (folder / "dev.tsv").unlink()
    (said,) = faults(official, "mrpc")
    assert "save the second as test.tsv" in said
    assert "in GLUE's dev_ids.tsv (https://dl.fbaipublicfiles.com/glue/data/mrpc_dev_ids.tsv) as dev.tsv" in said
    shutil.copy(folder / "msr_paraphrase_train.txt", folder / "train.tsv")
    (folder / "dev_ids.tsv").write_text("1\t2\n3\t4\n", encoding="utf-8")
    (said,) = faults(official, "mrpc")
    assert "MRPC: no validation split of MRPC." in said
    assert "and the others as train.tsv" in said


def test_two_folders_of_one_task_are_refused(official: Path) -> None:
    shutil.copytree(official / "RTE", official / "rte")
    (said,) = faults(official, "rte")
    assert "RTE/ and rte/ are all folders of RTE. Keep one of them" in said
    with pytest.raises(DataError) as error:  # --task all says the same
        glue_there(str(official))
    assert error.value.faults == (said,)
    shutil.rmtree(official / "rte")
    (official / "rte").symlink_to(official / "RTE")
    assert len(read(official, "rte").splits.train) == 2


def test_test_files_give_their_texts_in_order(official: Path) -> None:
    assert list(read(official, "CoLA").tests["CoLA"]) == [("Bill whistled.",), ("Bill's.",)]
    assert list(read(official, "mrpc").tests["MRPC"]) == [('"E', "F")]
    assert not read_task(str(official), "mrpc").tests


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet"])
def test_other_formats_with_the_usual_names(tmp_path: Path, ending: str) -> None:
    """A folder as a mirror has it: lower case, names of the hub, labels by name or number."""
    rows = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": ["equivalent", "0"]}
    folder = tmp_path / "mrpc"
    folder.mkdir()
    for split in ("train", "validation"):
        path = folder / f"{split}.{ending}"
        if ending == "parquet":
            pyarrow.parquet.write_table(pa.table(rows), path)
        elif ending == "jsonl":
            path.write_text(
                "".join(
                    f'{{"sentence1": "{a}", "sentence2": "{b}", "label": "{c}"}}\n' for a, b, c in zip(*rows.values())
                ),
                encoding="utf-8",
            )
        else:
            text = "sentence1,sentence2,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in zip(*rows.values()))
            path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    found = read(tmp_path, "MRPC")
    assert found.splits.train.labels.tolist() == [1, 0]
    assert found.splits.task.text == (("sentence1",), ("sentence2",))


def test_a_labelled_test_file_is_scored_too_and_a_hidden_one_is_not(tmp_path: Path) -> None:
    head, row = "text,label\n", "good film,{}\nbad film,{}\n"
    files = {"train.csv": head + row.format(1, 0), "dev.csv": head + row.format(1, 0)}
    lay_out(tmp_path / "one", {"sst2": {**files, "test.csv": head + row.format(0, 1)}})
    found = read(tmp_path / "one", "sst2")
    assert found.others["test"].labels.tolist() == [0, 1]
    assert any("2 training rows also in the test split" in note for note in found.splits.notes)
    assert len(found.tests["SST-2"]) == 2
    lay_out(tmp_path / "two", {"sst2": {**files, "test.csv": head + row.format(-1, -1)}})
    assert not read(tmp_path / "two", "sst2").others


@pytest.mark.parametrize("column", ["Label", "gold_label", "target"])
def test_a_test_file_is_scored_by_the_label_column_of_the_training_rows(tmp_path: Path, column: str) -> None:
    head, row = f"premise,hypothesis,{column}\n", "A {0},B,{1}\nC {0},D,{2}\n"
    known = {f"{split}.csv": head + row.format(split, *GLUE["rte"].labels) for split in ("train", "dev", "test")}
    assert read(lay_out(tmp_path / "one", {"RTE": known}), "rte").others["test"].labels.tolist() == [0, 1]
    hidden = {**known, "test.csv": head + row.format("test", -1, -1)}
    assert not read(lay_out(tmp_path / "two", {"RTE": hidden}), "rte").others


def test_the_hub_by_a_local_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    names = datasets.ClassLabel(names=["entailment", "neutral", "contradiction"])
    features = datasets.Features(
        {"premise": datasets.Value("string"), "hypothesis": datasets.Value("string"), "label": names}
    )
    splits = {
        split: datasets.Dataset.from_dict(
            {
                "premise": ["a", f"{split} b"],
                "hypothesis": ["c", "d"],
                "label": [0, 2] if "test" not in split else [-1, -1],
            },
            features=features,
        )
        for split in ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched")
    }
    ax = {"test": datasets.Dataset.from_dict({"premise": ["e"], "hypothesis": ["f"], "label": [-1]}, features=features)}
    asked = []

    def load(name: str, config: str) -> datasets.DatasetDict:
        asked.append((name, config))
        return datasets.DatasetDict(ax if config == "ax" else splits)

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = read_task(HUB, "mnli", tests=True)
    assert asked == [(HUB, "mnli"), (HUB, "ax")]
    assert found.splits.train.labels.tolist() == [0, 2]
    assert found.splits.task.text == (("premise",), ("hypothesis",))
    assert list(found.others) == ["validation_mismatched"]
    assert {file: len(texts) for file, texts in found.tests.items()} == {"MNLI-m": 2, "MNLI-mm": 2, "AX": 1}

    def offline(name: str, config: str) -> None:
        raise ConnectionError("Couldn't reach the hub.\nmore")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    (said,) = faults(Path(HUB), "rte")
    assert "the hub gives no 'rte' of it (Couldn't reach the hub)" in said


def test_rows_are_drawn_by_the_seed_and_balanced(tmp_path: Path) -> None:
    rows = "".join(f"text {i},{int(i % 5 == 0)}\n" for i in range(100))
    lay_out(tmp_path, {"cola": {"train.csv": f"sentence,label\n{rows}", "dev.csv": f"sentence,label\n{rows}"}})
    one, again, other = (read_task(str(tmp_path), "cola", limit_train=20, seed=seed) for seed in (0, 0, 1))
    assert one.splits.train.labels.sum() == 10
    assert "train: 20 of 100 labelled rows were drawn balanced over 2 classes (seed 0)." in one.splits.notes
    assert list(one.splits.train.texts) == list(again.splits.train.texts) != list(other.splits.train.texts)


def test_a_folder_that_is_none_of_glues_is_a_task_of_its_own(tmp_path: Path, reviews: Path) -> None:
    (tmp_path / "mine").symlink_to(reviews)
    found = read(tmp_path, "mine")
    assert (found.glue, len(found.others["test"]), found.splits.test) == (None, 60, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sst3", "unknown task 'sst3'. Did you mean 'sst2'?"),
        ("ax", "'ax' is the diagnostic set"),
        ("rte2", "unknown task 'rte2'. Did you mean 'rte'?"),
    ],
)
def test_unknown_tasks_are_answered_with_the_nearest(official: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read(official, name)


def test_what_is_missing_is_said_with_where_it_is_to_be_had(tmp_path: Path) -> None:
    lay_out(tmp_path, {"RTE": {"dev.tsv": OFFICIAL["RTE"]["dev.tsv"]}, "other": {}})
    (said,) = faults(tmp_path, "rte")
    assert f"{tmp_path}/RTE: no train split of RTE. Looked for train as .tsv" in said
    assert "--data nyu-mll/glue" in said
    assert "https://dl.fbaipublicfiles.com/glue/data/RTE.zip" in said
    (said,) = faults(tmp_path, "qqp")
    assert "Looked for QQP/ or qqp/" in said
    assert "found RTE/, other/" in said
    (said,) = faults(tmp_path / "nowhere" / "at all", "qqp")
    assert "there is no such folder" in said
    with pytest.raises(DataError, match="holds none of GLUE's tasks") as error:
        glue_there(str(tmp_path))
    assert f"{tmp_path}/RTE: no train split of RTE." in error.value.faults[1]


def test_all_leaves_out_what_lacks_files_and_refuses_what_has_too_many(official: Path) -> None:
    (official / "RTE" / "dev.tsv").unlink()
    there, lacking = glue_there(str(official))
    assert there == [name for name in NINE if name != "rte"]
    assert len(lacking) == 1
    assert f"{official}/RTE: no validation split of RTE." in lacking[0]
    shutil.copy(official / "WNLI" / "dev.tsv", official / "WNLI" / "validation.tsv")
    with pytest.raises(DataError, match="are all the validation split of WNLI"):
        glue_there(str(official))


@pytest.mark.parametrize(
    ("folder", "old", "new", "said"),
    [
        (
            "RTE",
            "C\tD\tentailment",
            "C\tD\tentailed",
            "train.tsv, line 3: label 'entailed' in column 'label' is not one of 'entailment', 'not_entailment', the labels of RTE. Did you mean 'entailment'?",
        ),
        (
            "RTE",
            "A\tB",
            "A\t ",
            "train.tsv, line 2: one side of the pair (sentence1 and sentence2) is empty. Fill it in",
        ),
        ("RTE", "C\tD\tentailment", "C\tD\t", "train.tsv, line 3: no label in column 'label'"),
        ("RTE", "C\tD\tentailment", "C\tD", "train.tsv, line 3: 3 fields between tabs, but the file has 4 columns"),
        (
            "WNLI",
            "C\tD\t0",
            "C\tD\t2",
            "train.tsv, line 3: label '2' in column 'label' is not one of '0', '1', the labels of WNLI",
        ),
        (
            "STS-B",
            "5.000",
            "5.1",
            "train.tsv, line 2: the score '5.1' in column 'score' is not between 0 and 5, as STS-B's are",
        ),
        ("STS-B", "5.000", "-0.5", "is not between 0 and 5"),
        (
            "CoLA",
            "gj04\t1",
            "gj04\t2",
            "train.tsv, line 1: label '2' in column 'label' is not one of '0', '1', the labels of CoLA",
        ),
        ("STS-B", "5.000", "five", "the score 'five'"),
        ("SST-2", "hide new secretions ", " ", "train.tsv, line 2: the text (sentence) is empty"),
    ],
)
def test_bad_rows_are_named_by_file_and_line(official: Path, folder: str, old: str, new: str, said: str) -> None:
    path = official / folder / "train.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    found = faults(official, folder)
    assert any(said in fault for fault in found), found
    assert len(found) == 1, found


def test_faults_of_several_files_are_said_together(official: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        path = official / "WNLI" / name
        path.write_text(path.read_text(encoding="utf-8").replace("\t0\n", "\tno\n"), encoding="utf-8")
    assert len(faults(official, "wnli")) == 2


def test_two_files_of_one_split_are_refused(official: Path) -> None:
    (official / "RTE" / "train.csv").write_text("sentence1,sentence2,label\na,b,entailment\n", encoding="utf-8")
    assert any("are all the train split of RTE" in fault for fault in faults(official, "rte"))


def test_damaged_files_are_refused_in_a_sentence(official: Path) -> None:
    (official / "RTE" / "train.tsv").write_bytes(b"index\tsentence1\tsentence2\tlabel\n0\t\xff\tB\tentailment\n")
    with pytest.raises(DataError, match=r"train\.tsv, line 2: not UTF-8"):
        read(official, "rte")


def test_cola_may_name_its_columns(tmp_path: Path) -> None:
    for head in ("source\tlabel\tstar\tsentence", "idx\tsentence\tlabel\tsplit", "id\ttext\tlabel\tstar"):
        names = head.split("\t")
        row = "\t".join({"label": "1", "sentence": "Bill sat.", "text": "Bill sat."}.get(name, "0") for name in names)
        lay_out(tmp_path / names[0], {"CoLA": dict.fromkeys(("train.tsv", "dev.tsv"), f"{head}\n{row}\n")})
        found = read(tmp_path / names[0], "cola").splits.train
        assert (list(found.texts), found.labels.tolist()) == ([("Bill sat.",)], [1])

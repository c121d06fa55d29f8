"""What a refusal tells to do, done to the letter, works: the refusal does not come back, and no other takes its place."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from cases import MISTAKES
from gather import Workshop, run

from understudy.commands import COMMANDS, settings_class
from understudy.parsing import _flags_of
from understudy.settings.foreign_names import _FIRST_OF, _INSTEAD, _SAME, elsewhere

ROOT = Path(__file__).parents[2]
REFUSALS = json.loads((Path(__file__).parent / "mistakes.json").read_text(encoding="utf-8"))

FOLLOWED: list[tuple[str, str, str, str]] = [
    # the command line
    ("unknown command", "Did you mean 'distill'?", "distil", "distill --help"),
    ("unknown second word", "Did you mean 'import fastai'?", "import fastia", "import fastai --help"),
    ("unknown flags", "Did you mean '--epochs'?", "--epocs", "--epochs"),
    ("unknown flags", "Did you mean '--teacher'?", "--techer x/y", ""),
    ("unknown flag of a group", "Did you mean '--bilstm.hidden'?", "--bilstm.hiden", "--bilstm.hidden"),
    ("config of another command", "understudy pretrain --config", "finetune", "pretrain --model bert"),
    ("run without a file", "understudy run recipes/ulmfit.yaml", "run --resume", f"run {ROOT}/recipes/ulmfit.yaml"),
    # settings of training
    ("nothing given, finetune", "with --data", "", " --data rows --model tfidf"),
    ("nothing given, finetune", "or a file with --train", "", " --train rows/train.csv --model tfidf"),
    ("nothing given, finetune", "or tfidf with --model", "", " --data rows --model tfidf"),
    ("nothing given, distill", "with --teacher", "", " --data rows --teacher answers.jsonl --student static"),
    ("nothing given, pretrain", "name awd_lstm", "", " --data texts --model awd_lstm --batch_size 4"),
    ("nothing given, distill-lm", "with --teacher", "", " --data texts --teacher runs/pretrained-masked"),
    ("nothing given, lr-find", "a model folder or a hub id with --model", "", " --data rows --model bert"),
    ("budget that is no duration", "such as 90s, 30m or 1.5h", "soon", "90s"),
    ("overwrite and resume", "give one of them", "--overwrite ", ""),
    ("overwrite and resume", "give one of them", "--resume", ""),
    ("metric of no task", "Did you mean 'accuracy'?", "acuracy", "accuracy"),
    ("max_length beyond the model", "Give --max_length 32 or less", "100", "32"),
    ("precision without a device", "--precision auto", "fp16", "auto"),
    ("rate upside down", "Did you mean 1e-5:1e-3?", "1e-3:1e-5", "1e-5:1e-3"),
    ("rate that is none", "such as 5e-5", "fast", "5e-5"),
    ("rate that is none", "or auto", "fast", "auto"),
    ("two ways to say rates", "Give one of them", "--discriminative 2.6", ""),
    ("two ways to say rates", "Give one of them", "1e-5:1e-3", "1e-3"),
    ("warmup without use", "Leave one of them out", "--warmup 0.3", ""),
    ("warmup without use", "--schedule linear and cosine", "constant", "cosine"),
    ("momentum without its schedule", "--schedule one_cycle", "--beta1 0.8", "--schedule one_cycle"),
    ("averaging", "Leave it out", "--beta2 0.9", ""),
    ("averaging", "Give --schedule constant", "", " --schedule constant"),
    ("averaging", "give --learning_rate auto", "", " --learning_rate auto"),
    ("averaging", "30 for the AWD-LSTM of the paper, with --clip 0.25", "", " --learning_rate 30 --clip 0.25"),
    ("averaging", "Give 10 or more", "--patience 2", "--patience 10"),
    ("unfreeze that is no word", "Did you mean 'gradual'?", "gradualy", "gradual"),
    ("unfreeze of too many", "Give numbers up to 5, then 'all'", "9", "5"),
    ("epochs of too many stages", "must be one number", "1 1 1", "1"),
    ("freeze of what is not there", "Did you mean 'embeddings'?", "embedings 0-9", "embeddings 0-2"),
    ("layers of tfidf", "leave --features out", "--features frozen", ""),
    (
        "layers of tfidf",
        "trains none. Leave it out",
        "--freeze head --beta2 0.9 --features frozen --drop_mult 0.5",
        "",
    ),
    ("pooling of a frozen encoder", "Leave one of them out", "--pooling head", ""),
    ("drop_mult of a transformer", "Leave --drop_mult out", "--drop_mult 0.5", ""),
    ("sweep of tfidf", "Name an encoder", "tfidf", "bert"),
    # data
    ("no such file", "Did you mean 'train.csv'?", "trian", "train"),
    ("rows without text", "Name what to read with --text", "", " --text txt --validation faulty/no-text.csv"),
    ("rows without label", "Name the right one with --label", "", " --label stars --validation faulty/no-label.csv"),
    (
        "file of texts alone",
        "or give it to distill as --unlabeled",
        "finetune --output out --model tfidf --train",
        "distill --data rows --teacher answers.jsonl --student static --output out --unlabeled",
    ),
    ("column that is not there", "Name the text columns with --text", "title", "text"),
    ("column that is not there", "Name the label column with --label", "stars", "label"),
    ("pool that is not there", "Did you mean 'pool.txt'?", "pol.txt", "pool.txt"),
    # models
    ("model that is no name", "Give a run folder", "bilstmm", "runs/bert"),
    ("model that is no name", "a model folder", "bilstmm", "bert"),
    ("model to be built", "then name that run", "awd_lstm", "runs/pretrained-awd_lstm"),
    ("model that is a file", "Give its folder", "rows/train.csv", "bert"),
    ("teacher that is untrained", "Fine-tune it first (", "distill --data rows --output out --teacher bert", "{(}"),
    ("teacher that is tfidf, to be cut", "Choose bilstm", "layers:2", "bilstm"),
    ("teacher that is tfidf, to be cut", "static", "layers:2", "static"),
    ("teacher of another kind", "Fine-tune a teacher on this data", "faulty/other-kind", "runs/bert"),
    ("teacher of another kind", "or give --kind multi_label", "", " --kind multi_label"),
    ("teacher of pairs", "a teacher that was trained on this data", "faulty/pairs", "runs/bert"),
    ("teacher file to be cut", "Choose bilstm, static", "layers:2", "bilstm"),
    (
        "teacher named twice",
        "Name it once, and give --teacher_weights",
        "runs/bert runs/bert",
        "runs/bert --teacher_weights 1",
    ),
    # students
    ("student that is none", "Did you mean 'static'?", "statik", "static"),
    ("student without a number", "as in layers:3", "layers:none", "layers:3"),
    ("student without a number", "or --layers.keep 0 2 4", "layers:none", "layers --layers.keep 0 2"),
    ("student of layers not there", "For example: 0", "1 7", "0"),
    ("student with idle options", "--bilstm.hidden. Leave it out", "--bilstm.hidden 9", ""),
    ("student with an idle table", "Leave it out", "--tokenizer words:50 --embeddings random", ""),
    ("student told twice", "Give --student layers with --layers.keep", "layers:2", "layers"),
    ("student of an odd width", "For example: 8", "15", "8"),
    ("student that starts in vain", "Give --layers.hidden too", "", " --layers.hidden 8"),
    ("student that starts in vain", "or leave it out", "--layers.start svd", ""),
    ("tokenizer that is none", "Did you mean 'words:50'?", "word:50", "words:50"),
    ("embeddings that are not there", "Did you mean 'random'?", "radnom", "random"),
    ("temperature without its distance", "--distance kl", "", " --distance kl"),
    ("temperature without its distance", "Leave one of them out", "--temperature 2", ""),
    ("augmentation of nothing", "give --augment 20, for example", "", " --augment 20"),
    ("rest of no limit", "give --limit_train too", "", " --limit_train 8"),
    # language models
    ("new model that is none", "Did you mean 'awd_lstm'?", "awd_lstn", "awd_lstm --batch_size 4"),
    ("new model, masks", "Leave it out", "--whole_words --blocks pack --mask_probability 0.3", "--batch_size 4"),
    ("new model, a vocabulary", "Give --tokenizer bpe:N", "--vocabulary new:100", "--tokenizer bpe:100 --batch_size 4"),
    ("new model, a vocabulary", "or words:N instead", "--vocabulary new:100", "--tokenizer words:100 --batch_size 4"),
    ("new model, a tokenizer that is none", "Did you mean 'bpe:8000'?", "bp:8000", "bpe:8000 --batch_size 4"),
    ("new model, a tokenizer too small", "For example: bpe:8000", "bpe:3", "bpe:8000 --batch_size 4"),
    ("new model, streams too short", "Give a smaller --batch_size", "5000", "4"),
    ("trained model, new sizes", "Leave it out", "--awd_lstm.hidden 99 --backward --cased", "--batch_size 4"),
    ("masked model, windows", "Leave it out", "--bptt 70", ""),
    ("masked model, windows", "or give --max_length instead", "--bptt 70", "--max_length 20"),
    ("masked model, states", "Leave it out", "--awd_lstm.alpha 1", ""),
    ("masked model, a vocabulary that is none", "for example new:16000", "old", "new:16000"),
    ("causal model, too long", "Give --max_length 24 or less", "100", "24"),
    ("language student that is none", "Did you mean 'albert'?", "alberta", "albert --albert.embedding 16"),
    ("language student, a share that is none", "Did you mean 'mean'?", "men", "mean --albert.embedding 16"),
    ("language student, nothing fits", "--albert.embedding 16", "64", "16"),
    ("language student, no loss", "Raise one: --ce_weight", "--ce_weight 0", "--ce_weight 1"),
    ("language student, no loss", "or --relation_weight", "", " --relation_weight 1"),
    ("language student, idle flags", "leave --temperature out", "--temperature 4", ""),
    (
        "language student, idle flags",
        "--relation_weight, which is 0. Raise that",
        "",
        " --relation_weight 1 --relation_heads 2",
    ),
    ("language student, words for states", "Give 0 there", "", " --cosine_weight 0"),
    ("language student, words for states", "Leave --ce_positions all out", "--ce_positions all", ""),
    ("language student, relations", "For example: 2", "--relation_heads 5", "--relation_heads 2"),
    # folders that are taken
    ("output that is a file", "Name another --output", "faulty/a-file", "other"),
    ("output of other things", "Name another --output", "faulty/mine", "other"),
    ("output of a finished run", "or give --overwrite", "", " --overwrite"),
    ("output of an unfinished run", "give --resume", "", " --resume"),
    ("output of an unfinished run", "or --overwrite", "", " --overwrite"),
    ("resumed with other settings", "Use the same value", "--seed 3 --metric f1 ", ""),
    ("resumed with other settings", "--overwrite instead of --resume", "--resume", "--overwrite"),
    ("resumed as another command", "Name another --output", "faulty/unfinished", "other"),
    # models in use
    ("nothing given, predict", "with --model", "", " --model runs/bert --input rows/test.csv"),
    ("predict over a file", "Name another --output", "faulty/out.csv", "fresh.csv"),
    ("predict over a file", "or give --overwrite", "", " --overwrite"),
    ("predict into another format", "Name a .csv or .jsonl file with --output", "out.xlsx", "out-1.jsonl"),
    ("predict into another format", "or give --format", "", " --format csv"),
    ("predict into a folder", "Name a file with --output", "faulty --overwrite", "out-2.csv"),
    ("predict of other columns", "Name what to read with --text", "", " --text txt"),
    ("predict of pairs", "Name what to read with --text", "", " --text text label"),
    ("nothing given, bench", "with --models", "", " --models runs/bert --texts rows/pool.txt --json"),
    ("nothing given, params", "as in: understudy params", "", " runs/bert"),
    ("nothing given, report", "as in: understudy report", "", " runs/bert"),
    ("report of one run twice", "Leave one out", " runs/../runs/bert runs/bert", " --output page-3.html"),
    ("report over a file", "Name another --output", "faulty/out.csv", "page.html"),
    ("report over a file", "or give --overwrite", "", " --overwrite"),
    ("report into a folder", "Name a file with --output", "--output faulty", "--output faulty/report.html"),
    ("report over a run's own file", "Name another --output", "runs/bert/record.json", "page-1.html"),
    ("report below a file", "Name another --output", "faulty/a-file/page.html", "page-2.html"),
    ("nothing given, generate", "as in: understudy generate", "", ' runs/pretrained-awd_lstm "Once upon a time"'),
    ("generate with a masked model", "an AWD-LSTM", "runs/pretrained-masked", "runs/pretrained-awd_lstm"),
    ("nothing given, fill-mask", "as in: understudy fill-mask", "", ' runs/pretrained-masked "The film was [MASK]."'),
    ("fill-mask without a gap", "Write [MASK]", "'a good film' 'a <mask> film'", "'a [MASK] film'"),
    ("fill-mask without a head", "Train it first (", "fill-mask bert 'a [MASK] film'", "{(}"),
    (
        "fill-mask without a head",
        "or name a masked language model",
        "fill-mask bert",
        "fill-mask runs/pretrained-masked",
    ),
    ("run without a model", "Finish it first: ", "finetune --data rows --output out --model faulty/no-model", "{:}"),
]
"""Mistake, what its refusal says to do, and the command line changed so: the first words replaced by the second.

``{(}`` stands for the command that the refusal has in parentheses, ``{:}`` for the one behind its last colon.
"""
TRAINING = {"finetune", "pretrain", "distill", "distill-lm", "lr-find", "run"}


def followed(name: str, said: str, old: str, new: str) -> tuple[str, list[str]]:
    """The changed command line, and the sentences that must not come back."""
    sentences = [line for line in REFUSALS[name]["error"] if said in line]
    assert sentences, f"no refusal of '{name}' says {said!r}: {REFUSALS[name]['error']}"
    if new in ("{(}", "{:}"):
        pattern = r"\((understudy [^)]*)\)" if new == "{(}" else r": (understudy .*)$"
        (command,) = re.findall(pattern, sentences[0])
        new = command.removeprefix("understudy ").replace(" ROWS", " rows").replace(" TEXTS", " texts")
    line = MISTAKES[name]
    assert old in line
    line = line.replace(old, new) if old else line + new
    words = {word.lstrip("-") for word in re.findall(r"--[\w.]*\w", said)}
    assert not words - set(re.findall(r"[\w.]+", f"{line} {MISTAKES[name]}")), "the remedy was not followed"
    return (f"validate {line}" if line.split()[0] in TRAINING else line), sentences


@pytest.mark.parametrize(("name", "said", "old", "new"), FOLLOWED, ids=[f"{f[0]}: {f[1]}" for f in FOLLOWED])
def test_a_remedy_followed_to_the_letter_works(name: str, said: str, old: str, new: str, workshop: Workshop) -> None:
    line, refused = followed(name, said, old, new)
    ended = run(workshop.with_faults(f"{line} {MISTAKES[name]}"), line, cache="caches/remedies")
    found = [text for text in ended.err.splitlines() if text.startswith("understudy: ")]
    assert not set(found) & set(refused), f"`understudy {line}` is refused as before"
    if ended.code:
        assert ended.code == 2
        assert not set(found) - set(REFUSALS[name]["error"]), f"`understudy {line}` is refused for another reason"


def test_names_from_elsewhere_lead_to_flags_that_the_command_has() -> None:
    for command in (row for row in COMMANDS if row.settings):
        flags = set(_flags_of(settings_class(command.name)))
        for name in {*_SAME, *_FIRST_OF, *_INSTEAD}:
            said = elsewhere(name, flags)
            named = set(re.findall(r"--(\w+)", said)) | set(re.findall(r"Here it is '(.*)'", said))
            assert named <= flags, f"understudy {command.name} --{name}:{said}"


def test_extras_that_an_error_names_exist() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r'extra="(\w+)"', sources)) | set(re.findall(r"understudy\[(\w+)\]", sources))
    of_pydantic = {"forbid"}  # its word for fields that a model does not have
    assert named - of_pydantic <= set(known)

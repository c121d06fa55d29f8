"""What is run for the goldens, as data. Paths are relative: everything runs inside one folder that `toys.build` filled."""

from __future__ import annotations

COMMANDS = [
    "demo",
    "finetune",
    "pretrain",
    "distill",
    "distill-lm",
    "bench",
    "lr-find finetune",
    "lr-find pretrain",
    "search",
    "params",
    "report",
    "predict",
    "generate",
    "fill-mask",
    "prune",
    "export",
    "quantize",
    "serve",
    "push",
    "import fastai",
]

_TEACHER = "--data a.csv --teacher x/y"
CONFIGURATIONS: dict[str, str] = {
    **{command: command for command in COMMANDS},
    "distill, bilstm": f"distill {_TEACHER} --no_baseline --bilstm.hidden 99",
    "distill, layers": f"distill {_TEACHER} z/w --teacher_weights 2 1 --student layers --layers.keep 0 2 --layers.hidden 8",
    "distill, augmented": f"distill {_TEACHER} --augment 20 --augmentation.mask 0.2 --distance kl --temperature 3",
    "finetune, ulmfit": "finetune --data a.csv --model x/y --unfreeze 1 2 all --unfreeze_epochs 1 --discriminative 2.6",
    "finetune, rates": "finetune --data a.csv --model x/y --learning_rate 1e-5:1e-3 --freeze embeddings 0-5",
    "finetune, a number": "finetune --data a.csv --model x/y --learning_rate 5e-5 --time_budget 30m --text t+d e",
    "pretrain, new": "pretrain --data a.txt --model awd_lstm --awd_lstm.hidden 99 --awd_lstm.no_tied --backward",
    "pretrain, masked": "pretrain --data a.txt --model x/y --blocks pack --whole_words --vocabulary new:16000",
    "distill-lm, albert": "distill-lm --data a.txt --teacher x/y --student albert --albert.share 2 --baseline",
    "lr-find finetune, steps": "lr-find finetune --data a.csv --model x/y --steps 50 --lowest 1e-5",
    "params, bare words": "params one two --json",
    "report, bare words": "report one two --rows 5",
    "generate, bare words": "generate model one two --top_k 0",
    "serve, names": "serve teacher=x/y z/w --port 0 --max_wait_ms 5 --max_texts 10",
    "import fastai, bare words": "import fastai w.pth itos.pkl --output x --backward",
}
"""Name -> the words of a command line, to which ``--print_config`` is added."""

_ROWS = "--data rows --epochs 1 --batch_size 8 --learning_rate 3e-3"
_AT_RANDOM = "--start head --pooling head"
_TEXTS = "--data texts --epochs 1 --batch_size 8"
RUNS: dict[str, str] = {
    "bert": f"finetune {_ROWS} --model bert {_AT_RANDOM}",
    "probe": "finetune --data rows --model bert --no_baseline --contrastive never",
    "pairs of few rows": "finetune --data rows --model bert --no_baseline --contrastive always",
    "tfidf": "finetune --data rows --model tfidf",
    "pruned": f"prune runs/bert {_ROWS} --heads 0.5 --neurons 0.25",
    "frozen": "finetune --data rows --model bert --features frozen --no_baseline",
    "awd_lstm": f"finetune {_ROWS} --model runs/pretrained-awd_lstm --unfreeze 1 all --no_baseline {_AT_RANDOM}",
    "pretrained-awd_lstm": (
        "pretrain --data texts --epochs 1 --batch_size 4 --learning_rate 0.02 --model awd_lstm --tokenizer words:40 "
        "--awd_lstm.embedding 12 --awd_lstm.hidden 16 --bptt 12"
    ),
    "pretrained-masked": f"pretrain {_TEXTS} --learning_rate 3e-3 --model bert",
    "pretrained-causal": f"pretrain {_TEXTS} --learning_rate 3e-3 --model gpt2 --max_length 20",
    "bilstm": (
        f"distill {_ROWS} --teacher runs/bert --unlabeled rows/pool.txt --augment 1 --alpha 0.3 "
        "--embeddings teacher --bilstm.embedding 8 --bilstm.lstm 8 --bilstm.hidden 8"
    ),
    "distilled by default": (
        "distill --data rows --teacher runs/bert --unlabeled rows/pool.txt --student static --static.embedding 8 "
        "--static.hidden 8"
    ),
    "static": (
        f"distill {_ROWS} --teacher answers.jsonl --student static --tokenizer words:60 --distance kl --temperature 2 "
        "--static.embedding 8 --static.hidden 8 --no_baseline"
    ),
    "layers": f"distill {_ROWS} --teacher runs/bert --student layers:2",
    "language-student": (
        f"distill-lm {_TEXTS} --learning_rate 3e-3 --teacher runs/pretrained-masked --student layers:2 --baseline "
        "--hidden_weight 1 --relation_weight 1"
    ),
    "rate": (
        "lr-find finetune --data rows --model bert --batch_size 24 --steps 100 --lowest 1e-5 --no_baseline --epochs 3 "
        f"{_AT_RANDOM}"
    ),
    "imported": "import fastai weights.pth itos.pkl",
}
"""Name -> a command line, to which ``--output runs/NAME`` is added. Where one names ``runs/OTHER``, that is run first."""

ANSWERS: dict[str, str] = {
    "predict, csv": "predict --model runs/bert --input rows/test.csv",
    "predict, jsonl": "predict --model runs/layers --input rows/pool.txt --format jsonl",
    "generate": "generate runs/pretrained-awd_lstm good --max_tokens 12",
    "fill-mask": "fill-mask runs/pretrained-masked --text 'the [MASK] is [MASK]' --top 3 --json",
    "params": "params runs/bert runs/layers --json",
    "validate": "validate distill --data rows --teacher runs/bert --student layers:2",
}
"""Name -> a command line whose standard output is kept."""

_FINETUNE = "finetune --data rows --output out --model bert"
_TFIDF = "finetune --output out --model tfidf --train"
_DISTILL = "distill --data rows --output out --teacher runs/bert"
_DISTILL_LM = "distill-lm --data texts --output out --teacher runs/pretrained-masked"
_PRETRAIN = "pretrain --data texts --output out --model"
_FIND = "lr-find finetune --data rows --output out --model"

MISTAKES: dict[str, str] = {
    # the command line
    "unknown command": "distil",
    "unknown second word": "import fastia",
    "unknown flags": f"{_DISTILL} --epocs 3 --techer x/y",
    "unknown flag of a group": f"{_DISTILL} --bilstm.hiden 3",
    "not a number": "finetune --epochs many",
    "not a choice": "finetune --features melted",
    "no value": "finetune --model",
    "config without a value": "distill --config",
    "config that is not there": "distill --config none.yaml",
    "config of unknown keys": "distill --config faulty/keys.yaml",
    "config of another command": "finetune --config faulty/other.yaml",
    "config that is a list": "finetune --config faulty/list.yaml",
    "config that is torn": "finetune --config faulty/torn.yaml",
    "config of several steps": "finetune --config faulty/steps.yaml",
    "run without a file": "run --resume",
    "run with an unknown flag": "run faulty/steps.yaml --resum",
    "run of faulty steps": "run faulty/steps.yaml",
    "validate of what has no settings": "validate run",
    "validate finds all": "validate finetune --data rows --test faulty/misspelt.csv --model bilstmm --epochs 0",
    # settings of training
    "nothing given, finetune": "finetune",
    "nothing given, distill": "distill",
    "nothing given, pretrain": "pretrain",
    "nothing given, distill-lm": "distill-lm",
    "nothing given, lr-find": "lr-find finetune",
    "numbers out of range": f"{_FINETUNE} --epochs 0 --batch_size -1 --warmup 2 --beta1 1 --seed -1",
    "budget that is no duration": f"{_FINETUNE} --time_budget soon",
    "overwrite and resume": f"{_FINETUNE} --overwrite --resume",
    "metric of no task": f"{_FINETUNE} --metric acuracy",
    "max_length beyond the model": f"{_FINETUNE} --max_length 100",
    "precision without a device": f"{_FINETUNE} --precision fp16",
    "tracker that is not installed": f"{_FINETUNE} --track wandb",
    "rate upside down": f"{_FINETUNE} --learning_rate 1e-3:1e-5",
    "rate that is none": f"{_FINETUNE} --learning_rate fast",
    "two ways to say rates": f"{_FINETUNE} --learning_rate 1e-5:1e-3 --discriminative 2.6",
    "warmup without use": f"{_FINETUNE} --schedule constant --warmup 0.3",
    "momentum without its schedule": f"{_FINETUNE} --cycle_momentum --beta1 0.8",
    "averaging": f"{_FINETUNE} --optimizer nt_asgd --beta2 0.9 --patience 2",
    "unfreeze that is no word": f"{_FINETUNE} --unfreeze gradualy",
    "unfreeze of too many": f"{_FINETUNE} --unfreeze 9 all",
    "epochs of too many stages": f"{_FINETUNE} --unfreeze 1 all --unfreeze_epochs 1 1 1",
    "freeze of what is not there": f"{_FINETUNE} --freeze embedings 0-9",
    "freeze of everything": f"{_FINETUNE} --freeze all-but-head head",
    "layers of tfidf": f"{_TFIDF} rows/train.csv --freeze head --beta2 0.9 --features frozen --drop_mult 0.5",
    "pooling of a frozen encoder": f"{_FINETUNE} --features frozen --pooling head",
    "drop_mult of a transformer": f"{_FINETUNE} --drop_mult 0.5",
    "sweep upside down": f"{_FIND} bert --lowest 1 --highest 0.1",
    "sweep of tfidf": f"{_FIND} tfidf",
    # data
    "no such file": "finetune --data rows/trian.csv --model tfidf --output out",
    "no such folder": "finetune --data rows/none/train.csv --model tfidf --output out",
    "rows without text": f"{_TFIDF} faulty/no-text.csv",
    "rows without label": f"{_TFIDF} faulty/no-label.csv",
    "rows with few fields": f"{_TFIDF} faulty/few-fields.csv",
    "rows not in UTF-8": f"{_TFIDF} faulty/latin.csv",
    "rows with a NUL": f"{_TFIDF} faulty/nul.csv",
    "JSON lines with a NUL": f"{_TFIDF} faulty/nul.jsonl",
    "rows with a blank text": f"{_TFIDF} faulty/blank.csv",
    "file that is empty": f"{_TFIDF} faulty/empty.csv",
    "file of a header": f"{_TFIDF} faulty/header.csv",
    "rows of one class": f"{_TFIDF} faulty/one-class.csv",
    "rows with a NaN": f"{_TFIDF} faulty/nan.csv",
    "rows without some labels": f"{_TFIDF} faulty/unlabelled.csv",
    "rows with several faults": f"{_TFIDF} faulty/several.csv",
    "file of another format": f"{_TFIDF} faulty/sheet.doc",
    "file of texts alone": f"{_TFIDF} faulty/plain.txt",
    "column that is not there": f"{_TFIDF} rows/train.csv --text title --label stars",
    "label that training lacks": f"{_TFIDF} rows/train.csv --test faulty/misspelt.csv",
    "pool that is not there": f"{_DISTILL} --unlabeled rows/pol.txt",
    "single text to pretrain on": "pretrain --data faulty/plain.txt --model awd_lstm --output out",
    "texts of unknown words": "pretrain --data faulty/foreign.txt --model bert --output out",
    # models
    "model that is no name": "finetune --data rows --output out --model bilstmm",
    "model to be built": "finetune --data rows --output out --model awd_lstm",
    "model without weights": "finetune --data rows --output out --model faulty/bare",
    "model that is pickled": "finetune --data rows --output out --model faulty/pickled",
    "model that is a pickle": "finetune --data rows --output out --model faulty/model.pkl",
    "model that is a file": "finetune --data rows --output out --model rows/train.csv",
    "run without a model": "finetune --data rows --output out --model faulty/no-model",
    "teacher that is untrained": "distill --data rows --output out --teacher bert",
    "teacher that is tfidf, to be cut": "distill --data rows --output out --teacher runs/tfidf --student layers:2",
    "teacher of other labels": "distill --data rows --output out --teacher faulty/other-labels",
    "teacher of another kind": "distill --data rows --output out --teacher faulty/other-kind",
    "teacher of pairs": "distill --data rows --output out --teacher faulty/pairs",
    "teacher that knows no text": "distill --data rows --output out --student static --teacher faulty/strange-answers.csv",
    "teacher file that is not there": "distill --data rows --output out --student static --teacher rows/answers.csv",
    "teacher file to be cut": "distill --data rows --output out --student layers:2 --teacher answers.jsonl",
    "teacher named twice": f"{_DISTILL} runs/bert",
    "teachers without their weights": f"{_DISTILL} answers.jsonl --teacher_weights 1 0 2",
    # students
    "student that is none": f"{_DISTILL} --student statik",
    "student without a number": f"{_DISTILL} --student layers:none",
    "student of too many layers": f"{_DISTILL} --student layers:9",
    "student of layers not there": f"{_DISTILL} --student layers --layers.keep 1 7",
    "student with idle options": f"{_DISTILL} --student static --layers.keep 1 --bilstm.hidden 9 --static.hidden 8",
    "student with an idle table": f"{_DISTILL} --student layers:2 --tokenizer words:50 --embeddings random",
    "student told twice": f"{_DISTILL} --student layers:2 --layers.keep 0 1",
    "student of an odd width": f"{_DISTILL} --student layers:2 --layers.hidden 15",
    "student that starts in vain": f"{_DISTILL} --student layers:2 --layers.start svd",
    "tokenizer that is none": f"{_DISTILL} --tokenizer word:50",
    "embeddings that are not there": f"{_DISTILL} --embeddings radnom",
    "embeddings of two widths": f"{_DISTILL} --student static --embeddings faulty/vectors.txt",
    "temperature without its distance": f"{_DISTILL} --temperature 2",
    "augmentation of nothing": f"{_DISTILL} --augmentation.mask 0.3 --augmentation.seed 2",
    "augmentation of more than all": f"{_DISTILL} --augment 1 --augmentation.mask 0.6 --augmentation.swap 0.6",
    "rest of no limit": f"{_DISTILL} --pool_rest",
    # language models
    "new model that is none": f"{_PRETRAIN} awd_lstn",
    "new model, windows too short": f"{_PRETRAIN} awd_lstm --bptt 4",
    "new model, masks": f"{_PRETRAIN} awd_lstm --whole_words --blocks pack --mask_probability 0.3",
    "new model, a vocabulary": f"{_PRETRAIN} awd_lstm --vocabulary new:100",
    "new model, a tokenizer that is none": f"{_PRETRAIN} awd_lstm --tokenizer bp:8000",
    "new model, a tokenizer too small": f"{_PRETRAIN} awd_lstm --tokenizer bpe:3",
    "new model, streams too short": f"{_PRETRAIN} awd_lstm --batch_size 5000",
    "trained model, new sizes": f"{_PRETRAIN} runs/pretrained-awd_lstm --awd_lstm.hidden 99 --backward --cased",
    "masked model, windows": f"{_PRETRAIN} bert --bptt 70",
    "masked model, states": f"{_PRETRAIN} bert --awd_lstm.alpha 1",
    "masked model, a vocabulary that is none": f"{_PRETRAIN} bert --vocabulary old",
    "causal model, too long": f"{_PRETRAIN} gpt2 --max_length 100",
    "language student that is none": f"{_DISTILL_LM} --student alberta",
    "language student, a share that is none": f"{_DISTILL_LM} --student albert --albert.share men",
    "language student, nothing fits": f"{_DISTILL_LM} --student albert --albert.embedding 64 --albert.share 9 --albert.hidden 15",
    "language student, no loss": f"{_DISTILL_LM} --ce_weight 0 --mlm_weight 0 --cosine_weight 0",
    "language student, idle flags": f"{_DISTILL_LM} --ce_weight 0 --temperature 4 --relation_heads 4",
    "language student, words for states": f"{_DISTILL_LM} --teacher_words 8 --ce_positions all",
    "language student, relations": f"{_DISTILL_LM} --relation_weight 1 --relation_heads 5 --relation_layer 4 --metric f1",
    "language teacher that is causal": "distill-lm --data texts --output out --teacher gpt2",
    # folders that are taken
    "output that is a file": "finetune --data rows --model tfidf --output faulty/a-file",
    "output below a file": "finetune --data rows --model tfidf --output faulty/a-file/run",
    "output of other things": "finetune --data rows --model tfidf --output faulty/mine --overwrite",
    "output of a broken record": "finetune --data rows --model tfidf --output faulty/broken --overwrite",
    "output of a finished run": "finetune --data rows --model tfidf --output faulty/finished",
    "output of an unfinished run": "finetune --data rows --model tfidf --output faulty/unfinished",
    "resumed with other settings": "finetune --data rows --model tfidf --seed 3 --metric f1 --output faulty/unfinished --resume",
    "resumed as another command": f"{_DISTILL} --output faulty/unfinished --resume",
    "demo where a run is": "demo --output faulty/unfinished",
    # models in use
    "nothing given, predict": "predict",
    "predict without a file": "predict --model runs/bert --input none.csv",
    "predict over a file": "predict --model runs/bert --input rows/test.csv --output faulty/out.csv",
    "predict into another format": "predict --model runs/bert --input rows/test.csv --output out.xlsx",
    "predict into a folder": "predict --model runs/bert --input rows/test.csv --output faulty --overwrite",
    "predict with an encoder": "predict --model bert --input rows/test.csv",
    "predict of other columns": "predict --model runs/bert --input faulty/no-text.csv",
    "predict of pairs": "predict --model faulty/pairs --input rows/test.csv",
    "predict of two that differ": "predict --model runs/bert faulty/other-labels --input rows/test.csv",
    "nothing given, search": "search",
    "search without a budget": "search --data rows --output out --teacher runs/bert",
    "search of odd students": "search --data rows --output out --teacher runs/bert --max_size_mb 1 --students statik:8 layers tfidf:3",
    "ranges that are none": "compare --data rows --output out --models static tfidf --search 3 --ranges epoch=1..3 warmup=0..2",
    "nothing given, bench": "bench",
    "bench of pairs": "bench --models faulty/pairs --texts rows/test.csv",
    "nothing given, params": "params",
    "params of nothing": "params runs/bert faulty/mine ./nowhere bilstmm",
    "nothing given, report": "report",
    "report of no runs": "report rows faulty/a-file ./nowhere runs/bert/model",
    "report of a record that is none": "report faulty/broken",
    "report of one run twice": "report runs/bert runs/../runs/bert runs/bert",
    "report over a file": "report runs/bert --output faulty/out.csv",
    "report into a folder": "report runs/bert --output faulty --overwrite",
    "report over a run's own file": "report runs/bert --output runs/bert/record.json --overwrite",
    "report below a file": "report runs/bert --output faulty/a-file/page.html",
    "nothing given, generate": "generate",
    "generate with a masked model": "generate runs/pretrained-masked good",
    "nothing given, fill-mask": "fill-mask",
    "fill-mask without a gap": "fill-mask runs/pretrained-masked 'a good film' 'a <mask> film'",
    "fill-mask without a head": "fill-mask bert 'a [MASK] film'",
    "fill-mask with a causal model": "fill-mask gpt2 'a [MASK] film'",
    "nothing given, import": "import fastai",
    "import of no files": "import fastai w.pth i.pkl --output out",
    "import of other words": "import fastai weights.pth faulty/short.json --output out",
    "import over other things": "import fastai weights.pth itos.pkl --output faulty/mine --overwrite",
    "import of a pickle that is none": "import fastai faulty/a-file itos.pkl --output out",
}
"""Name -> a command line that must be refused."""

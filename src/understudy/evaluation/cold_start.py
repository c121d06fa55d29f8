"""How long a model takes from the start of a process to its first answer, and how much memory it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping

import numpy as np

from understudy.errors import ModelError

PYTORCH = "from understudy.loading import load; model = load(sys.argv[1])"
EXPORTED = "from understudy.inference.exported.predictor import ExportedPredictor as load; model = load(sys.argv[1], threads=int(sys.argv[3]))"
"""How a format is loaded: an exported model without torch, as in the small runtime; ONNX Runtime asks no variable for its threads."""
_ANSWER = """import json, sys
text = json.loads(sys.argv[2])
{load}
model.predict([text if isinstance(text, str) else tuple(text)])
print('answered', flush=True)
model.logits([text if isinstance(text, str) else tuple(text)] * 256)
try:
    print(next(1024 * int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')))
except OSError:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024))
"""
"""Linux's getrusage counts what the process was before it became this program; the file in /proc does not."""


def cold_start(
    folder: str,
    text: str | tuple[str, ...],
    *,
    load: str,
    threads: int,
    times: int = 3,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, float]:
    """Start a process, load a model, answer one text; then 256 together for the peak of memory.

    Args:
        load: :data:`PYTORCH` or :data:`EXPORTED`.
        threads: of the processor.
        times: processes, one after another.

    Returns:
        ``cold_start_s``, the median of the seconds from the start of the process to the first answer, imports
        included; ``peak_bytes``, the highest resident memory.

    Raises:
        ModelError: if the process fails.
    """
    seconds, peaks = [], []
    command = [sys.executable, "-c", _ANSWER.format(load=load), folder, json.dumps(text), str(threads)]
    fixed = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false" if threads == 1 else "true"}
    for _ in range(times):
        begin = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environment, **fixed}
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            first = process.stdout.readline()
            seconds.append(time.perf_counter() - begin)
            rest, said = process.stdout.read(), process.stderr.read()
        if first.strip() != "answered" or process.returncode:
            raise ModelError(f"{folder}: does not answer in a process of its own: {said.strip()[-300:]}")
        peaks.append(int(rest))
    return {"cold_start_s": float(np.median(seconds)), "peak_bytes": float(max(peaks))}

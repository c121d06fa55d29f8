"""transformers and the hub client without their log messages and progress bars, and their errors in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging

from understudy.errors import ModelError, UnderstudyError


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, there are no progress bars and no reports of newly initialised heads: our own loading checks those."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_verbosity = hub_logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)  # it logs every retry
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn whatever loading raises into a ModelError of one sentence."""
    try:
        yield
    except UnderstudyError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of a library in Rust
            raise
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        if Path(path).exists():
            raise ModelError(f"{path}: transformers {transformers.__version__} cannot load it: {reason}.") from error
        raise ModelError(
            f"{path}: is not a folder here, and it could not be loaded from the hub: {reason}. Check the name and the network, or give a model folder."
        ) from error

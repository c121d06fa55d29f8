"""``understudy serve``: models behind HTTP, with a page to try them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from understudy.deploy.serve.limits import known_token
from understudy.errors import require
from understudy.inference.attribution import explainer
from understudy.loading import load
from understudy.models.files.names import resolve
from understudy.runs.devices import on_threads
from understudy.settings.configuration import check
from understudy.settings.ship.serve import ServeSettings
from understudy.terminal.lines import say


class Serve(ServeSettings):
    """Answer over HTTP with trained or exported models, with a page to try them; texts that arrive together are batched."""

    def run(self) -> None:
        """Load, listen, answer until SIGTERM or Ctrl-C.

        Raises:
            UnderstudyError: if a model cannot be loaded, or the address cannot be had.
        """
        check(self)
        for module in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
            require(module, extra="serve")
        # below are optional packages, which must not be needed to import this command
        from understudy.deploy.serve.running import serve
        from understudy.deploy.serve.served import ServedFolder

        with on_threads(self.threads or torch.get_num_threads()):
            serve(
                [
                    ServedFolder(name, Path(resolve(folder, adapters=True)), partial(load, folder, task=self.task))
                    for name, folder in self.named()
                ],
                host=self.host,
                port=self.port,
                token=known_token(self.token),
                limits=self.limits(),
                reload_seconds=self.reload_seconds,
                explainer=explainer,
                say=say,
            )

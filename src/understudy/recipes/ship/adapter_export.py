"""``understudy adapter export``: an adapter as other libraries load it."""

from __future__ import annotations

from pathlib import Path

from understudy.adapters.facts import AdapterFacts
from understudy.adapters.files import load_adapted, load_adapted_encoder
from understudy.adapters.heads import first_token_head
from understudy.adapters.hub.writing import check_for_hub, write_hub_adapter
from understudy.adapters.peft.files import write_peft
from understudy.errors import ModelError
from understudy.models.files.names import adapter_folder
from understudy.settings.configuration import check
from understudy.settings.ship.adapter_export import AdapterExportSettings
from understudy.terminal.lines import show


class AdapterExport(AdapterExportSettings):
    """Write an adapter as the libraries AdapterHub or PEFT load it."""

    def run(self) -> Path:
        """Load it with its base, write it; the folder.

        Raises:
            UnderstudyError: if it cannot be loaded, or the other library has no such adapter.
        """
        check(self)
        folder = adapter_folder(self.adapter)
        if folder is not None and AdapterFacts.read(folder).head is None:  # such as one for a language
            model, facts = load_adapted_encoder(self.adapter, force=self.force)
        else:
            trained = load_adapted(self.adapter, force=self.force)
            model, facts = trained.model, trained.adapter
        output = Path(self.output).expanduser()
        if facts.base.kept is not None:
            raise ModelError(
                f"{self.adapter}: belongs to a model that was cut from {facts.base.name}, which other libraries do not have. Use it as it is."
            )
        if facts.method == "fusion" or facts.below is not None:
            what = "a fusion" if facts.method == "fusion" else "one on top of another"
            raise ModelError(f"{self.adapter}: {what} is not exported. Export the adapters that it is made of.")
        chosen = self.format or ("adapterhub" if facts.method == "bottleneck" else "peft")
        if chosen == "peft":
            write_peft(output, model, facts)
            show(f"{output}: PeftModel.from_pretrained(base, {str(output)!r}) loads it.")
        else:
            check_for_hub(facts, origin=self.adapter)  # before a head is asked for that would not help
            head = None if facts.head is None else first_token_head(model)
            write_hub_adapter(output, model, facts, head, name=self.name)
            show(f"{output}: model.load_adapter({str(output)!r}, use_safetensors=True) of AdapterHub loads it.")
        return output

"""The table of commands, a row a command: the command line, the public names, the README and the docs come from it."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from understudy.errors import ConfigError, nearest


class Command(NamedTuple):
    """A command of the command line.

    ``settings`` and ``recipe`` are ``module:class`` below ``understudy.settings`` and ``understudy.recipes``; they are
    imported when the command is used. The recipe inherits the settings and adds ``run()``.
    """

    name: str
    heading: str
    """Where ``--help`` lists it; the folders of settings and recipes have the same names."""
    settings: str
    recipe: str
    help: str
    """One line."""
    page: str
    """Of the docs."""

    @property
    def public(self) -> str:
        """The recipe's name in ``understudy``."""
        return self.recipe.rpartition(":")[2]


COMMANDS = (
    Command(
        *("demo", "Train", "train.demo:DemoSettings", "train.demo:Demo"),
        "The whole job, on the documentation of installed packages",
        "quickstart.md",
    ),
    Command(
        *("finetune", "Train", "train.finetune:FinetuneSettings", "train.finetune.recipe:Finetune"),
        "Train a transformer, or a baseline, on labelled rows",
        "finetune.md",
    ),
    Command(
        *("pretrain", "Train", "train.pretrain:PretrainSettings", "train.pretrain.recipe:Pretrain"),
        "Train a language model on raw text, or adapt one",
        "pretrain.md",
    ),
    Command(
        *("distill", "Train", "train.distill:DistillSettings", "train.distill.recipe:Distill"),
        "Train a small student to answer as a teacher does",
        "distill.md",
    ),
    Command(
        *("distill-lm", "Train", "train.distill_lm:DistillLMSettings", "train.distill_lm.recipe:DistillLM"),
        "Make one small pretrained model of a larger one",
        "distill-lm.md",
    ),
    Command(
        *("glue", "Train", "train.glue:GlueSettings", "train.glue.recipe:Glue"),
        "Train and score on GLUE: one task, all at once, or in sequence",
        "glue.md",
    ),
    Command(
        *("run", "Train", "train.pipeline:PipelineSettings", "train.pipeline:Pipeline"),
        "Run the commands of a YAML file one after the other",
        "configuration.md",
    ),
    Command(
        *("compare", "Choose", "choose.compare:CompareSettings", "choose.compare.recipe:Compare"),
        "Train several models under equal conditions, say which to ship",
        "compare.md",
    ),
    Command(
        *("report", "Choose", "choose.report:ReportSettings", "choose.report:Report"),
        "Write one page of HTML about any runs: verdict, charts, rows",
        "report.md",
    ),
    Command(
        *("search", "Choose", "choose.search:SearchSettings", "choose.search.recipe:Search"),
        "Find the best small student for a budget of latency and size",
        "search.md",
    ),
    Command(
        *("bench", "Choose", "choose.bench:BenchSettings", "choose.bench:Bench"),
        "Parameters, size, latency and throughput of any model",
        "predict-and-bench.md",
    ),
    Command(
        *("lr-find finetune", "Choose", "choose.lr_find:FindForFinetuneSettings", "choose.lr_find:FindForFinetune"),
        "Find the learning rate of a finetune by experiment",
        "learning-rate.md",
    ),
    Command(
        *("lr-find pretrain", "Choose", "choose.lr_find:FindForPretrainSettings", "choose.lr_find:FindForPretrain"),
        "Find the learning rate of a pretrain by experiment",
        "learning-rate.md",
    ),
    Command(
        *("params", "Choose", "choose.params:ParamsSettings", "choose.params:Params"),
        "Parameters by component and bytes, of one model or several",
        "shrink.md",
    ),
    Command(
        *("validate", "Choose", "", ""),
        "Check a command's settings and data without training",
        "configuration.md",
    ),
    Command(
        *("predict", "Use", "use.predict:PredictSettings", "use.predict:Predict"),
        "Label the texts of files or of standard input",
        "predict-and-bench.md",
    ),
    Command(
        *("generate", "Use", "use.generate:GenerateSettings", "use.generate:Generate"),
        "Continue a text with a language model",
        "pretrain.md",
    ),
    Command(
        *("fill-mask", "Use", "use.fill_mask:FillMaskSettings", "use.fill_mask:FillMask"),
        "The likeliest words for the gaps of a text",
        "masked-lm.md",
    ),
    Command(
        *("prune", "Ship", "ship.prune:PruneSettings", "ship.prune.recipe:Prune"),
        "Remove heads, neurons and words of a model, train the rest",
        "prune.md",
    ),
    Command(
        *("export", "Ship", "ship.export:ExportSettings", "ship.export:Export"),
        "Write a model as ONNX, checked: it answers without torch",
        "ship.md",
    ),
    Command(
        *("quantize", "Ship", "ship.quantize:QuantizeSettings", "ship.quantize:Quantize"),
        "Write a model with smaller weights, if its score survives",
        "ship.md",
    ),
    Command(
        *("serve", "Ship", "ship.serve:ServeSettings", "ship.serve:Serve"),
        "Answer over HTTP, in batches, with a page to try the models",
        "serve.md",
    ),
    Command(
        *("push", "Ship", "ship.push:PushSettings", "ship.push:Push"),
        "Put a model on the Hugging Face hub, with its card",
        "ship.md",
    ),
    Command(
        *("import fastai", "Ship", "ship.import_fastai:ImportFastaiSettings", "ship.import_fastai:ImportFastai"),
        "Turn a published fast.ai language model into a model folder",
        "import-fastai.md",
    ),
    Command(
        *("import adapter", "Ship", "ship.import_adapter:ImportAdapterSettings", "ship.import_adapter:ImportAdapter"),
        "Turn an adapter of AdapterHub or PEFT into one of ours",
        "adapters.md",
    ),
    Command(
        *("adapter export", "Ship", "ship.adapter_export:AdapterExportSettings", "ship.adapter_export:AdapterExport"),
        "Write an adapter as AdapterHub or PEFT loads it",
        "adapters.md",
    ),
    Command(
        *("adapter list", "Ship", "ship.adapter_folders:AdapterListSettings", "ship.adapter_folders:AdapterList"),
        "List the adapters in a folder and below",
        "adapters.md",
    ),
    Command(
        *("adapter info", "Ship", "ship.adapter_folders:AdapterInfoSettings", "ship.adapter_folders:AdapterInfo"),
        "What an adapter is: kind, size, task, scores, base",
        "adapters.md",
    ),
    Command(
        *("adapter merge", "Ship", "ship.adapter_folders:AdapterMergeSettings", "ship.adapter_folders:AdapterMerge"),
        "Fold a lora, ia3 or parallel adapter into its base",
        "adapters.md",
    ),
    Command(
        *(
            "adapter average",
            "Ship",
            "ship.adapter_folders:AdapterAverageSettings",
            "ship.adapter_folders:AdapterAverage",
        ),
        "Make one adapter of several of one task",
        "adapters.md",
    ),
)

BY_NAME = {command.name: command for command in COMMANDS}


def settings_class(name: str) -> type[Any]:
    """The settings of a command. No torch is loaded.

    Raises:
        ConfigError: if there is no such command, or it has no settings of its own.
    """
    return _imported("settings", _named(name).settings)


def recipe_class(name: str) -> type[Any]:
    """The recipe of a command, with everything that it needs.

    Raises:
        ConfigError: if there is no such command, or it has no recipe.
    """
    return _imported("recipes", _named(name).recipe)


def _named(name: str) -> Command:
    if name.startswith("-"):
        raise ConfigError(f"{name}: the command comes before its flags. The commands are {', '.join(BY_NAME)}.")
    if name not in BY_NAME:
        raise ConfigError(f"unknown command '{name}'.{nearest(name, BY_NAME)} The commands are {', '.join(BY_NAME)}.")
    if not BY_NAME[name].settings:
        raise ConfigError(f"'{name}' has no settings of its own, so it can be neither a step nor validated.")
    return BY_NAME[name]


def _imported(room: str, place: str) -> type[Any]:
    module, name = place.split(":")
    found: type[Any] = getattr(importlib.import_module(f"understudy.{room}.{module}"), name)
    return found

"""Settings of ``understudy glue``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt

from understudy.data.glue.roots import places_read, tasks_there
from understudy.data.glue.tasks import ALL, BESIDE, HUB, NINE, glue_task
from understudy.errors import gathered, nearest
from understudy.functional.metrics import AVERAGE
from understudy.settings.adapters import AdapterSettings
from understudy.settings.flags import Shown
from understudy.settings.models import model_faults
from understudy.settings.run import RunSettings, SeedsSettings
from understudy.settings.student_options import is_table
from understudy.settings.train.task_file import OwnTask, alike_in_case, read_task_file
from understudy.settings.train.taught_tasks import TaughtTasksSettings
from understudy.settings.training import TrainSettings


@dataclass(kw_only=True)
class GlueSettings(TaughtTasksSettings, AdapterSettings, TrainSettings, SeedsSettings, RunSettings):
    """Train on GLUE: one task, each of several, all at once, or one after another; score as GLUE does."""

    group: ClassVar[str] = "Method"
    command: ClassVar[str] = "glue"
    data: Annotated[str | None, Shown("ROOT", group="Data", required=True)] = None
    """A folder with a folder a task (SST-2/ or sst2/), as official TSV files or csv, jsonl, parquet; or nyu-mll/glue, on the hub."""
    task: Annotated[str | None, Shown("TASK", group="Data")] = None
    """One task (cola sst2 mrpc stsb qqp mnli qnli rte wnli, or another folder of --data); all for every one of GLUE's that is there."""
    tasks: Annotated[list[str], Shown("TASK", group="Data")] = field(default_factory=list)
    """Several tasks, instead of --task."""
    tasks_file: Annotated[str | None, Shown("YAML", group="Data", rare=True)] = None
    """Own tasks, beside GLUE's or instead of them: for each name its data, text, label, kind, labels and metrics."""
    limit_train: Annotated[int, Gt(0), Shown(group="Data")] | None = None
    """Use only N training rows of each task, drawn by the seed, balanced over the classes."""
    model: Annotated[str, Shown("MODEL", group="Model", required=True)] = ""
    """A model folder, a run, or a hub id of any BERT-family encoder."""
    encoder_from: Annotated[str | None, Shown("MODEL", group="Model")] = None
    """Instead of --model: start from the encoder of this run or model, with a new head, whatever it was trained for."""
    pooling: Annotated[Literal["auto", "head", "mean", "apart"], Shown(group="Model")] = "head"
    """head: the architecture's own. mean: of the states. apart: each text of a pair by itself. auto (with --start probe): what probes better."""
    start: Annotated[Literal["head", "probe"], Shown(group="Model", rare=True)] = "head"
    """A new head begins at random, as in the papers, or as a linear probe of the encoder: with few steps that spares the encoder."""
    mode: Literal["single", "joint", "sequential", "transfer"] = "single"
    """Several tasks: single trains each by itself; joint all at once, on one encoder; sequential each on the encoder of the one before; transfer every ordered pair, to see which task helps which."""
    then: Literal["finetune"] | None = None
    """With joint: then train each task by itself, from the shared encoder and its head."""
    sampling: Annotated[Literal["proportional", "sqrt", "temperature", "annealed"], Shown(rare=True)] = "proportional"
    """With joint: a task's share of the steps: by its rows, their square root, a power of 1/T, or from the rows in the first epoch to nearly alike in the last."""
    sampling_temperature: Annotated[float, Ge(1), Shown("T", rare=True)] = 5.0
    """With --sampling temperature: the larger, the more alike the shares."""
    loss_scale: Annotated[Literal["chance", "none"], Shown(rare=True)] = "chance"
    """With joint: chance divides each task's loss by that of the best constant answer."""
    task_weights: Annotated[list[float], Shown("X", rare=True)] = field(default_factory=list)
    """With joint: weights of the tasks' losses, in the order of --tasks (by --loss_scale)."""
    sharing: Annotated[Literal["hard", "soft"], Shown(rare=True)] = "hard"
    """With joint: hard has one encoder for all; soft one a task, held together by a penalty on their distance."""
    soft_weight: Annotated[float, Ge(0), Shown("X", rare=True)] = 0.01
    """With --sharing soft: weight of half the squared distance from the mean of the encoders."""
    submit: Annotated[bool, Shown(group="Run")] = False
    """Also answer for the test files, in the leaderboard's format (submission/, and a zip if all eleven files are there)."""
    submission: Annotated[str | None, Shown("ZIP", group="Run", rare=True)] = None
    """For `understudy validate glue`: check this zip for what the leaderboard would refuse."""
    baseline: Annotated[bool, Shown(off="Do not fit TF-IDF and the probe beside it.")] = True
    """Singly, also fit TF-IDF and the probe (a linear model on the frozen encoder), for table and verdict; with --teachers TF-IDF and the same student without teachers."""
    learning_rate: Annotated[float | str | None, Shown("RATE", group="Training")] = None
    """Peak rate (2e-5, as is usual for GLUE; of an AWD-LSTM 3e-3). Small encoders want more; auto for a sweep (not with joint)."""
    max_length: Annotated[int, Gt(2), Shown(group="Training")] | None = 128
    """Tokens read of a row."""

    def names(self) -> list[str]:
        """The tasks that are asked for, GLUE's by their own names; ``all`` as it stands."""
        own = self.own_tasks()
        asked = self.tasks or (list(own) if self.task is None else [self.task])
        return [task.name if name not in own and (task := glue_task(name)) else name for name in asked]

    def own_tasks(self) -> dict[str, OwnTask]:
        """The tasks of ``tasks_file``, by name.

        Raises:
            ConfigError: with what is wrong with the file.
        """
        return {} if self.tasks_file is None else read_task_file(self.tasks_file)

    def data_read(self) -> Sequence[str]:
        """The names of the data that the command reads."""
        own, names = self.own_tasks(), self.names()
        read = [part for name in names if name in own for part in own[name].data_read()]
        if self.data is not None:
            there = [name for name in tasks_there(self.data) if name in NINE] if ALL in names else names
            found = [place for name in there if name not in own for place in places_read(self.data, name)]
            read += found or ([self.data] if not read else [])
        return list(dict.fromkeys(read))

    def data_faults(self) -> list[str]:
        """What is wrong with the names of data and tasks."""
        faults: list[str] = []
        if self.data is not None and Path(self.data).expanduser().is_file():
            return [
                f"{self.data}: is a file, but --data names a folder that holds a folder a task. For one file there is understudy finetune."
            ]
        mine: dict[str, OwnTask] = {}
        with gathered(faults):
            mine = self.own_tasks()
        if faults:
            return faults
        if self.data is None and not (self.names() and set(self.names()) <= set(mine)):
            faults.append(f"no data: name the folder that holds a folder a task, or {HUB}, with --data.")
        if self.task is not None and self.tasks:
            faults.append("--task and --tasks both name tasks. Leave one of them out.")
        names = self.names()
        if not names:
            faults.append(
                f"no task: name one with --task ({', '.join(NINE)}, or {ALL}), or several with --tasks. The average leaves out {' and '.join(BESIDE)}."
            )
        if ALL in names and len(names) > 1:
            faults.append(f"--tasks names {ALL} and others. Leave one or the other out.")
        if mine and names == [ALL]:
            faults.append(
                f"--task {ALL} trains GLUE's tasks, and none of {self.tasks_file}. Name the tasks with --tasks, or leave --tasks_file out."
            )
        faults += [
            f"--tasks names {name} more than once. Leave one of them out."
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        faults += [
            f"the tasks {' and '.join(alike)} differ only in case, and each has a folder of its name. Rename one of them."
            for alike in alike_in_case(names)
        ]
        there = [] if self.data is None else tasks_there(self.data)
        own = [other for other in there if glue_task(other) is None]
        faults += [
            f"{self.tasks_file}, task '{name}': {self.data} has a folder of GLUE's task of that name. Rename the task, or leave --data out."
            for name in names
            if name in mine and (task := glue_task(name)) is not None and task.name in there
        ]
        for name in (name for name in names if name not in mine):
            if name == "ax":
                faults.append("'ax' is the diagnostic set, which nothing is trained on. A run of mnli answers for it.")
            elif name in own and name.lower() == AVERAGE:
                faults.append(
                    f"{self.data}: '{name}' is the name of the average over all tasks, so no task can be called that. Rename {name}/."
                )
            elif name != ALL and glue_task(name) is None and name not in own:
                also = f", and {self.data} has {', '.join(own[:10])}" if own else ""
                also += f", and {self.tasks_file} has {', '.join(mine)}" if mine else ""
                faults.append(
                    f"unknown task '{name}'.{nearest(name, [*NINE, *own, *mine, ALL])} GLUE has {', '.join(NINE)}{also}."
                )
        return faults

    def models_read(self) -> Sequence[str]:
        """The names of what else decides the result: the model."""
        names = [name for name in (self.model, self.encoder_from, self.tasks_file) if name]
        tasks = self._known_tasks()
        taught = dict.fromkeys(self.teacher_of(task, tasks) for task in tasks if self.teachers)
        return [*names, *taught, *self.adapters_read()]

    def _known_tasks(self) -> list[str]:
        """The tasks by name; for ``all`` those of GLUE that have a folder."""
        if self.names() != [ALL]:
            return self.names()
        return [name for name in tasks_there(self.data) if name in NINE] if self.data is not None else []

    def faults(self) -> list[str]:
        """What is wrong with these settings, as far as it shows without reading data or weights."""
        if self.submission is not None:
            return []
        if faults := self.data_faults():  # what else there is depends on the names of the tasks
            return faults + self.seeds_faults() + self.train_faults()
        faults = self.run_faults() + self.seeds_faults() + self.train_faults()
        if self.encoder_from is not None:
            faults += model_faults(self.encoder_from)
            if self.model:
                faults.append("--model and --encoder_from both say where to start. Leave one of them out.")
        elif not self.model:
            faults.append("no model: name a model folder or a hub id with --model.")
        else:
            faults += model_faults(self.model)
        return faults + self._mode_faults()

    def _mode_faults(self) -> list[str]:
        faults, several = [], len(self.names()) > 1 or self.names() == [ALL]
        if self.pooling == "auto" and self.start != "probe":
            faults.append(
                "--pooling auto compares probes of the encoder. Give --start probe too, or say --pooling head, mean or apart."
            )
        if (
            self.mode != "single"
            and len(self.names()) < 2
            and (self.mode, self.names()) not in (("joint", [ALL]), ("transfer", [ALL]))
        ):
            faults.append(f"--mode {self.mode} needs several tasks. Name them with --tasks, the first one first.")
        if several and self.metric is not None:
            faults.append("--metric is of one task, and there are several: each is selected by its own. Leave it out.")
        faults += self._joint_faults() + self._adapter_faults(several)
        if self.submit and self.mode != "single":
            faults.append(
                f"--submit answers for tasks that are trained singly, but --mode is {self.mode}. Leave it out."
            )
        if self.submit:
            faults += [
                f"--submit is for GLUE's tasks, and '{name}' is none of them. Leave it out."
                for name in self.names()
                if name != ALL and (glue_task(name) is None or name in self.own_tasks())
            ]
        return faults

    def _adapter_faults(self, several: bool) -> list[str]:
        faults = self.adapter_faults(trains=None)
        if self.adapts and self.mode != "single":
            faults.append(
                f"an adapter is of one task, but --mode is {self.mode}. Give --mode single: each task then has an adapter of its own, on one encoder."
            )
        if self.adapts and self.encoder_from is not None:
            faults.append(
                "an adapter is saved without its encoder and refers to a model by its name. Name it with --model, not with --encoder_from."
            )
        if several and self.load_adapter is not None:
            faults.append("--load_adapter is of one task, and there are several. Train them one by one.")
        return faults

    def _joint_faults(self) -> list[str]:
        plain = {f.name: f for f in dataclasses.fields(GlueSettings)}
        given = [flag.removeprefix("--") for flag in self.taught_flags()] if self.mode != "joint" else []
        given += [
            name for name in ("then", "sampling", "loss_scale", "sharing") if getattr(self, name) != plain[name].default
        ] + ["task_weights"] * bool(self.task_weights)
        if self.mode != "joint":
            given += [n for n in ("sampling_temperature", "soft_weight") if getattr(self, n) != plain[n].default]
            return [
                f"--{name} belongs to --mode joint, but the mode is {self.mode}. Leave one of them out."
                for name in given
            ]
        faults = [
            f"{flag}: this is for the layers of one task's model, and --mode joint trains several heads. Leave it out."
            for flag in self.layer_flags()
            if not flag.startswith("--learning_rate")
        ]
        if isinstance(self.learning_rate, str):
            faults.append(
                f"--learning_rate {self.learning_rate}: --mode joint trains several tasks at once, and no sweep tries rates for them. Give a number, or leave it out."
            )
        if self.start == "probe" and self.student is not None and is_table(self.student):
            faults.append(
                f"--start probe is for an encoder of transformers, but --student is {self.student}. Leave one of them out."
            )
        elif self.start == "probe" and self.pooling == "head":
            faults.append(
                "--start probe with --mode joint: a head of the architecture may have a layer in the encoder, which all tasks share. Give --pooling auto, mean or apart too."
            )
        faults += self.taught_faults(None if self.names() == [ALL] else self.names())
        if self.student is not None and is_table(self.student) and self.pooling != "head":
            faults.append(
                f"--pooling is for an encoder of transformers, but --student is {self.student}. Leave one of them out."
            )
        if self.sampling != "temperature" and self.sampling_temperature != plain["sampling_temperature"].default:
            faults.append(
                f"--sampling_temperature belongs to --sampling temperature, but it is {self.sampling}. Leave one of them out."
            )
        if self.sharing != "soft" and self.soft_weight != plain["soft_weight"].default:
            faults.append("--soft_weight belongs to --sharing soft, but the sharing is hard. Leave one of them out.")
        if self.task_weights and self.names() != [ALL] and len(self.task_weights) != len(self.names()):
            faults.append(
                f"task_weights must be one for each task: {len(self.names())} tasks, but {len(self.task_weights)} weights."
            )
        if self.task_weights and self.names() == [ALL]:
            faults.append(
                f"--task_weights needs the tasks by name, in the same order. Name them with --tasks, not {ALL}."
            )
        if any(weight <= 0 for weight in self.task_weights):
            faults.append(f"task_weights must be positive, but are {' '.join(map(str, self.task_weights))}.")
        if self.task_weights and self.loss_scale != "chance":
            faults.append("--task_weights and --loss_scale both say how losses are weighed. Leave one of them out.")
        return faults

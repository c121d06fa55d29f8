"""Names of settings that people know from other libraries, and ours for them."""

from __future__ import annotations

import re
from collections.abc import Collection

_SAME = {
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "per_gpu_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "teacher_name_or_path": "teacher",
    "student_name_or_path": "student",
    "lr": "learning_rate",
    "max_lr": "learning_rate",
    "max_seq_length": "max_length",
    "max_seq_len": "max_length",
    "max_source_length": "max_length",
    "block_size": "max_length",
    "output_dir": "output",
    "save_path": "output",
    "train_file": "train",
    "validation_file": "validation",
    "test_file": "test",
    "dataset_name": "data",
    "dataset": "data",
    "data_dir": "data",
    "max_train_samples": "limit_train",
    "text_column_name": "text",
    "label_column_name": "label",
    "warmup_ratio": "warmup",
    "lr_scheduler_type": "schedule",
    "lr_scheduler": "schedule",
    "max_grad_norm": "clip",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "wd": "weight_decay",
    "metric_for_best_model": "metric",
    "early_stopping_patience": "patience",
    "early_stopping_delta": "min_delta",
    "early_stopping_threshold": "min_delta",
    "resume_from_checkpoint": "resume",
    "overwrite_output_dir": "overwrite",
    "report_to": "track",
    "logging_dir": "track",
    "mlm_probability": "mask_probability",
    "whole_word_mask": "whole_words",
    "tokenizer_name": "tokenizer",
    "hard_label_weight": "alpha",
    "torch_compile": "compile",
}
_FIRST_OF = {
    "model_name_or_path": ("model", "models", "teacher"),
    "model_name": ("model", "models", "teacher"),
    "task_name": ("task",),
}
"""Of these names, the first that the command has."""
_INSTEAD = {
    "gradient_accumulation_steps": "give the full --batch_size, and --max_tokens for what fits into memory at once",
    "eval_batch_size": "leave it out: evaluation chooses its batches by length",
    "fp16": "give --precision fp16",
    "bf16": "give --precision bf16",
    "do_train": "leave it out: training, validation and test happen in every run",
    "do_eval": "leave it out: training, validation and test happen in every run",
    "do_predict": "leave it out: the test split is read once, at the end of every run",
    "evaluation_strategy": "leave it out: every epoch ends with an evaluation, --eval_steps adds more",
    "eval_strategy": "leave it out: every epoch ends with an evaluation, --eval_steps adds more",
    "save_strategy": "leave it out: checkpoints are written often enough to cost 3 % of the time; --save_steps changes this",
    "load_best_model_at_end": "leave it out: a run ends with the weights of its best evaluation, or the last ones where few rows can choose",
    "warmup_steps": "give --warmup, a share of all steps",
    "max_steps": "give --epochs, or --time_budget",
    "per_device_eval_batch_size": "leave it out: evaluation chooses its batches by length",
    "line_by_line": "give --blocks line",
    "use_fast": "leave it out: fast tokenizers are used where there are any",
    "task_name": "give --data, with the rows of the task",
    "tokenizer_name": "leave it out: the model's own tokenizer is used",
    "num_labels": "leave it out: the labels are counted in the rows",
}


def elsewhere(name: str, known: Collection[str]) -> str:
    """What a setting of another library is called here: the tail of a message, or nothing.

    Args:
        name: without hyphens in front.
        known: the settings that the command has.

    Example:
        >>> elsewhere("num_train_epochs", ["epochs"]), elsewhere("do_train", [])[:18], elsewhere("zebra", ["epochs"])
        (" Here it is 'epochs'.", ' Here, leave it ou', '')
    """
    plain = name.replace("-", "_")
    for ours in _FIRST_OF.get(plain, (_SAME.get(plain),)):
        if ours in known:
            return f" Here it is '{ours}'."
    instead = _INSTEAD.get(plain, "")
    return f" Here, {instead}." if instead and set(re.findall(r"--(\w+)", instead)) <= set(known) else ""

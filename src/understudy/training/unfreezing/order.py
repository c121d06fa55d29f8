"""Words that say which layers learn, as settings give them and as people read them. This module does not import torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.errors import ConfigError, nearest

_WORDS = ("gradual", "chain-thaw", "all")


def frozen_layers(freeze: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names of the groups to freeze, input to output.

    Args:
        freeze: names of groups, numbers or ranges of layers (``3``, ``0-5``), or ``all-but-head``.
        names: the names of all groups, input to output.

    Raises:
        ConfigError: for every word that names no group, or if nothing is left to learn.

    Example:
        >>> frozen_layers(["embeddings", "0-1"], ["embeddings", "layer 0", "layer 1", "head"])
        ['embeddings', 'layer 0', 'layer 1']
    """
    meant: set[str] = set()
    faults = []
    for word in freeze:
        span = re.fullmatch(r"(?:layer )?(\d+)(?:-(\d+))?", word)
        if word == "all-but-head" and "head" in names:
            chosen = [name for name in names if name != "head"]
        elif span:
            ends = [f"layer {int(end)}" for end in (span[1], span[2] or span[1])]
            known_ends = all(end in names for end in ends)
            chosen = list(names[names.index(ends[0]) : names.index(ends[1]) + 1]) if known_ends else []
        else:
            chosen = [name for name in names if name == word]
        if chosen:
            meant.update(chosen)
        else:
            known = [*names, *(name.removeprefix("layer ") for name in names), "all-but-head"]
            faults.append(
                f"freeze: there is no {word!r} in this model. It has {in_words(names)}.{nearest(word, known)}"
            )
    if not faults and names and meant == set(names):
        faults.append(f"freeze {' '.join(freeze)} leaves nothing to learn. The model has {in_words(names)}.")
    if faults:
        raise ConfigError(*faults)
    return [name for name in names if name in meant]


def unfreeze_faults(unfreeze: Sequence[str], unfreeze_epochs: Sequence[int]) -> list[str]:
    """What is wrong with ``--unfreeze`` and ``--unfreeze_epochs``, whatever the model."""
    if not unfreeze:
        return (
            ["--unfreeze_epochs belongs to --unfreeze: give that too, or --epochs instead."] if unfreeze_epochs else []
        )
    if list(unfreeze) in (["gradual"], ["chain-thaw"]):
        return []
    numbers = [int(word) for word in unfreeze if word.isdecimal()]
    counted = len(numbers) == len(unfreeze) - (unfreeze[-1] == "all")
    if not counted or not numbers or min(numbers) < 1 or sorted(set(numbers)) != numbers:
        tail = next((hint for word in unfreeze if not word.isdecimal() and (hint := nearest(word, _WORDS))), "")
        return [
            "unfreeze must be gradual, chain-thaw, or numbers of layers from the top that rise, as in 1 2 all, "
            f"but is {' '.join(unfreeze)!r}.{tail}"
        ]
    if len(unfreeze_epochs) > 1 and len(unfreeze_epochs) != len(unfreeze):
        return [_epochs_fault(unfreeze_epochs, len(unfreeze))]
    return []


def thawing(unfreeze: Sequence[str], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The names of the groups that learn in each stage.

    Args:
        unfreeze: ``gradual`` (the last group, then one more in each stage, down to the first), ``chain-thaw`` (the last
            group alone, then each other group alone from the first on, then all), or how many groups learn in each
            stage, counted from the last group; the last of these numbers may be ``all``.
        names: the names of the groups that may learn, input to output.

    Raises:
        ConfigError: if `unfreeze` is none of these, or needs more groups than there are.

    Reference:
        Howard & Ruder 2018, "ULMFiT", arXiv 1801.06146, section 3.3; Felbo et al. 2017, "DeepMoji", arXiv 1708.00524,
        section 3.3 and figure 2 (chain-thaw).

    Example:
        >>> thawing(["1", "all"], ["embeddings", "layer 0", "head"])
        [('head',), ('embeddings', 'layer 0', 'head')]
        >>> thawing(["chain-thaw"], ["embeddings", "head"])
        [('head',), ('embeddings',), ('embeddings', 'head')]
    """
    if faults := unfreeze_faults(unfreeze, ()):
        raise ConfigError(*faults)
    if len(names) < 2:
        raise ConfigError(
            f"unfreeze {' '.join(unfreeze)}: there is only {in_words(names)} to learn, in one stage. Leave --unfreeze out, or freeze fewer layers."
        )
    everything = tuple(names)
    if unfreeze[0] == "chain-thaw":
        return [everything[-1:], *((name,) for name in names[:-1]), everything]
    if unfreeze[0] == "gradual":
        counts = list(range(1, len(names) + 1))
    else:
        counts = [len(names) if word == "all" else int(word) for word in unfreeze]
    if max(counts) > len(names) or len(set(counts)) < len(counts):
        raise ConfigError(
            f"unfreeze {' '.join(unfreeze)}: only {len(names)} groups can learn ({in_words(names)}). Give numbers up to {len(names) - 1}, then 'all'."
        )
    return [everything[-count:] for count in counts]


def epochs_of(given: Sequence[int], stages: int) -> list[int]:
    """The epochs of each of so many stages.

    Args:
        given: one number for all stages, or one for each.
        stages: how many stages there are.

    Raises:
        ConfigError: if `given` has another length.

    Example:
        >>> epochs_of([2], 3)
        [2, 2, 2]
    """
    if len(given) not in (1, stages):
        raise ConfigError(_epochs_fault(given, stages))
    return list(given) * (stages if len(given) == 1 else 1)


def _epochs_fault(given: Sequence[int], stages: int) -> str:
    return (
        f"unfreeze_epochs must be one number, or one for each of the {stages} stages, "
        f"but are {len(given)}: {' '.join(map(str, given))}."
    )


def in_words(chosen: Sequence[str], names: Sequence[str] = ()) -> str:
    """Groups of layers, for a message.

    Args:
        chosen: names of groups, input to output.
        names: the names of all groups.

    Returns:
        ``all`` if they are all groups, ``layer 4 and up`` if they are the last ones, else their names.

    Example:
        >>> in_words(["embeddings", "layer 0", "layer 1", "layer 2"])
        'embeddings, layers 0-2'
    """
    if tuple(chosen) == tuple(names):
        return "all"
    if len(chosen) > 2 and tuple(names[-len(chosen) :]) == tuple(chosen):
        return f"{chosen[0]} and up"
    numbers = [int(name.removeprefix("layer ")) for name in chosen if name.startswith("layer ")]
    if len(numbers) < 3 or numbers != list(range(numbers[0], numbers[-1] + 1)):
        return ", ".join(chosen)
    first = chosen.index(f"layer {numbers[0]}")
    rest = [name for name in chosen if not name.startswith("layer ")]
    return ", ".join([*rest[:first], f"layers {numbers[0]}-{numbers[-1]}", *rest[first:]])

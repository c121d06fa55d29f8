"""Names of layers and stages as words, and that settings can check them without torch."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from understudy.errors import ConfigError
from understudy.training.unfreezing.order import epochs_of, frozen_layers, thawing, unfreeze_faults

NAMES = ["embeddings", *(f"layer {i}" for i in range(6)), "pooler", "head"]


@pytest.mark.parametrize(
    ("freeze", "meant"),
    [
        (["embeddings", "0-2"], NAMES[:4]),
        (["0-5", "embeddings"], NAMES[:7]),
        (["3"], ["layer 3"]),
        (["layer 3", "2-4"], ["layer 2", "layer 3", "layer 4"]),
        (["head"], ["head"]),
        (["all-but-head"], NAMES[:-1]),
        ([], []),
    ],
)
def test_layers_by_name_number_and_range(freeze: list[str], meant: list[str]) -> None:
    assert frozen_layers(freeze, NAMES) == meant


def test_every_unknown_layer_is_named_together_with_what_there_is() -> None:
    with pytest.raises(ConfigError) as raised:
        frozen_layers(["embedings", "0-7", "5-3", "pooler", "0-99999999999"], NAMES)
    first, second, third, _ = raised.value.faults
    assert "there is no 'embedings' in this model" in first
    assert first.endswith("Did you mean 'embeddings'?")
    assert "'0-7'" in second
    assert "embeddings, layers 0-5, pooler, head" in second
    assert "'5-3'" in third
    with pytest.raises(ConfigError, match="all-but-head"):
        frozen_layers(["all-but-head"], NAMES[:-1])


@pytest.mark.parametrize("freeze", [["embeddings", "0-5", "pooler", "head"], ["all-but-head", "head"]])
def test_freezing_everything_is_refused(freeze: list[str]) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        frozen_layers(freeze, NAMES)


def test_gradual_unfreezing_adds_a_layer_a_stage_from_the_top() -> None:
    stages = thawing(["gradual"], NAMES)
    assert stages[0] == ("head",)
    assert stages[-1] == tuple(NAMES)
    assert [len(stage) for stage in stages] == list(range(1, 10))
    assert all(set(lower) < set(upper) for lower, upper in itertools.pairwise(stages))


def test_chain_thaw_is_the_new_layer_then_each_alone_then_all() -> None:
    # Felbo et al., figure 2: (a) the last layer, (b-d) one layer after another from the first on, (e) all
    assert thawing(["chain-thaw"], ["a", "b", "c", "d"]) == [
        ("d",),
        ("a",),
        ("b",),
        ("c",),
        ("a", "b", "c", "d"),
    ]


def test_numbers_count_from_the_top() -> None:
    assert thawing(["1", "2", "all"], NAMES) == [("head",), ("pooler", "head"), tuple(NAMES)]
    assert thawing(["2"], NAMES) == [("pooler", "head")]


@pytest.mark.parametrize(
    ("unfreeze", "names", "said"),
    [
        (["12", "all"], NAMES, r"only 9 groups can learn \(embeddings, layers 0-5, pooler, head\)"),
        (["9", "all"], NAMES, "numbers up to 8, then 'all'"),
        (["2", "1"], NAMES, "numbers of layers from the top that rise"),
        (["0", "all"], NAMES, "that rise"),
        (["all"], NAMES, "that rise"),
        (["all", "1"], NAMES, "that rise"),
        (["1", "1"], NAMES, "that rise"),
        (["gradualy"], NAMES, "Did you mean 'gradual'"),
        (["gradual", "all"], NAMES, "must be gradual, chain-thaw, or"),
        (["gradual"], ["head"], "only head to learn, in one stage"),
    ],
)
def test_unfreezing_that_cannot_be(unfreeze: list[str], names: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        thawing(unfreeze, names)


def test_epochs_of_stages() -> None:
    assert epochs_of([3], 4) == [3, 3, 3, 3]
    assert epochs_of([1, 2], 2) == [1, 2]
    with pytest.raises(ConfigError, match="one for each of the 3 stages, but are 2: 1 2"):
        epochs_of([1, 2], 3)
    assert unfreeze_faults([], [1]) == ["--unfreeze_epochs belongs to --unfreeze: give that too, or --epochs instead."]
    assert unfreeze_faults([], []) == unfreeze_faults(["gradual"], [1, 1, 1]) == []
    (fault,) = unfreeze_faults(["1", "all"], [1, 1, 1])
    assert "each of the 2 stages, but are 3" in fault


def test_what_settings_check_needs_no_torch() -> None:
    modules = ["unfreezing.order", "optimizers.trigger", "progress.trackers"]
    program = "import sys, " + ", ".join(f"understudy.training.{name}" for name in modules)
    found = subprocess.run(
        [sys.executable, "-c", f"{program}; print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert found.stdout == "False\n"

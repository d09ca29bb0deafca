"""Designs as numbers: one length for all, finite, and true to the network that is trained."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import NETWORKS, network

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, load
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.proxy.reduction import reduced
from nasbench.study.fidelity import load_recipe
from nasbench.surrogate.features import FEATURES, SLOTS, features
from nasbench.surrogate.walk import CLASSES, Chain, walk

RECIPE = load_recipe()


def value(arch: Architecture, name: str) -> float:
    return float(features([arch], RECIPE)[0, FEATURES.index(name)])


def test_names_are_distinct() -> None:
    assert len(set(FEATURES)) == len(FEATURES)


def test_every_shipped_network_has_finite_features() -> None:
    x = features(list(fixed_points().values()), RECIPE)
    assert x.shape == (len(fixed_points()), len(FEATURES))
    assert np.isfinite(x).all()


def test_every_block_stem_and_head_has_finite_features() -> None:
    fits = load_recipe().at(1, resolution_scale=1.0, map_scale=1.0)
    assert np.isfinite(features(list(NETWORKS.values()), fits)).all()


@pytest.mark.parametrize("name", ["fastvit_t8", "emo_1m", "mobilevit_xxs", "swin_t", "vit_r50_l32", "mobileone_s0"])
def test_sums_are_those_of_the_cost(name: str) -> None:
    """Part by part with stages remembered, or operator by operator over the whole network: the same."""
    arch, small = load(name), reduced(load(name), RECIPE.at(1))
    for prefix, one, deploy in (("design", arch, True), ("trained", small, False)):
        known = cost(one, CLASSES, deploy)
        assert 2 ** value(arch, f"{prefix} macs") == pytest.approx(known.macs)
        assert 2 ** value(arch, f"{prefix} params") == pytest.approx(known.params)
        assert 2 ** value(arch, f"{prefix} activations") == pytest.approx(known.activations)


def test_the_last_stage_stands_in_the_last_slot() -> None:
    longest = load("mobilenetv2_100")
    assert len(longest.stages) == SLOTS
    for arch in (longest, load("fastvit_t8"), load("deit_ti")):
        assert value(arch, "stage 0 channels") == np.log2(arch.stages[-1].channels)
    assert value(load("deit_ti"), "stage -1 present") == 0


def test_more_stages_than_slots_count_in_the_totals() -> None:
    stage = {"downsample": "none", "stride": 1, "channels": 16, "depth": 1, "block": "mbconv"}
    arch = Architecture.from_dict({"resolution": 64, "stages": [stage] * (SLOTS + 3)})
    assert value(arch, "depth of mbconv") == np.log2(1 + SLOTS + 3)


def test_names_and_settings_without_effect_do_not_count() -> None:
    arch = load("fastvit_t8")
    assert (features([arch.replace(name="another")], RECIPE) == features([arch], RECIPE)).all()
    idle = [stage.model_copy(update={"patch": 8, "heads": 2}) for stage in arch.stages]
    assert (features([arch.replace(stages=tuple(idle))], RECIPE) == features([arch], RECIPE)).all()


def test_another_recipe_trains_another_network() -> None:
    arch, wide = load("emo_1m"), RECIPE.at(1, width=0.5)
    differing = {
        name for name, same in zip(FEATURES, (features([arch], RECIPE) == features([arch], wide))[0]) if not same
    }
    assert "trained macs" in differing
    assert not any(name.startswith("design") for name in differing)


def test_chains_without_a_skip() -> None:
    skip, two, three = Chain(bridged=True), Chain(2, 2, 2), Chain(3, 3, 3)
    assert two.then(three).longest == 5
    assert two.then(skip).then(three) == Chain(2, 3, 3, True)
    assert two.then(three).then(skip).then(two).longest == 5
    plain = network(block="repvgg", branches="none", depth=4, downsample="conv")
    open_ones = network(block="repvgg", branches="repvgg", depth=4, downsample="conv")
    assert walk(plain, False).stages[0].chain.longest == walk(open_ones, False).stages[0].chain.longest + 4


def test_an_unknown_block_is_one_clear_line() -> None:
    arch = load("emo_1m")
    strange = arch.stages[0].model_copy(update={"block": "blur"})
    with pytest.raises(UserError, match=r"emo_1m: stages\[0\]: block 'blur' .* known blocks: mbconv, ") as caught:
        features([arch.model_copy(update={"stages": (strange, *arch.stages[1:])})], RECIPE)
    assert "\n" not in str(caught.value)


def test_an_image_too_small_to_train_on_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="use a larger resolution_scale"):
        features([load("emo_1m")], RECIPE.at(1, map_scale=RECIPE.resolution_scale))

"""Published accuracies: each as its source prints it, and what may be compared with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasbench.arch.library import fixed_points
from nasbench.errors import UserError
from nasbench.published.accuracies import FILE, accuracies, family_of

# As the official tables print them, typed in a second time.
PRINTED = {
    "mobilevit_xxs": 69.0, "mobilevit_s": 78.4, "mobilevitv2_050": 70.18, "mobilevitv2_200": 81.17, "emo_1m": 71.5,
    "emo_6m": 79.0, "fastvit_t8": 76.2, "fastvit_ma36": 83.9, "mobileone_s0": 71.4, "mobileone_s4": 79.4,
    "repvgg_a0": 72.41, "repvgg_b0": 75.14, "acb_resnet18": 70.53, "dbb_resnet18": 70.99, "mobilenetv2_100": 72.0,
    "mobilenetv2_140": 74.7, "deit_ti": 72.2, "deit_b": 81.8, "pvt_tiny": 75.1, "pvt_large": 81.7, "swin_t": 81.2,
    "convnext_t": 82.1, "mobilenetv1_025": 49.8, "mobilenetv1_100": 70.9, "mobilenetv2_035": 60.3,
    "mobilenetv2_130": 74.4,
}  # fmt: skip
DECODERS = {"mae_base", "mae_large", "mae_huge"}  # they paint images


def test_every_network_that_classifies_has_its_accuracy_with_a_source() -> None:
    found = accuracies()
    assert set(found) == set(fixed_points()) - DECODERS
    assert all(each.source and each.resolution for each in found.values())


def test_values_are_as_printed() -> None:
    found = accuracies()
    assert {name: found[name].value for name in PRINTED} == PRINTED
    assert all(found[name].plain for name in PRINTED)


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("deit_ti", "plain"), ("deit_ti_distilled", "distilled"), ("vit_s16", "pretrained"),
        ("swin_b", "plain"), ("swin_l", "pretrained"), ("mae_vit_base", "pretrained"),
    ],
)  # fmt: skip
def test_distilled_and_pretrained_are_told_from_plain(name: str, training: str) -> None:
    assert accuracies()[name].training == training


def test_larger_members_of_a_family_are_better_where_training_is_alike() -> None:
    found = accuracies()
    for family in ("mobilevit_xxs mobilevit_xs mobilevit_s", "emo_1m emo_2m emo_5m emo_6m", "deit_ti deit_s deit_b"):
        values = [found[name].value for name in family.split()]
        assert values == sorted(values)


def test_families() -> None:
    names = ("emo_5m", "mobilevitv2_050", "mobilevit_s", "acb_resnet18", "dbb_resnet18", "mine")
    assert [family_of(name) for name in names] == ["emo", "mobilevitv2", "mobilevit", "resnet", "resnet", "mine"]


def test_a_users_own_values_join_the_shipped_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('mine = 75.1\nemo_1m = 70\n[other]\nvalue = 80.0\ntraining = "distilled"\n')
    found = accuracies(file)
    assert (found["mine"].value, found["emo_1m"].value, found["other"].plain) == (75.1, 70.0, False)
    assert found["mine"].source == str(file)
    assert found["emo_2m"] == accuracies()["emo_2m"]
    file.write_text("[mine]\ntop1 = 75.1\n")
    assert accuracies(file)["mine"].value == 75.1
    assert accuracies(FILE) == accuracies()  # a copy of published.toml, with its networks that classify nothing


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mine = 0.751e3", "mine.*value = 751.0.*less than 100"),
        ("mine = 0.751", "mine.*value = 0.751.*greater than 1"),
        ('[mine]\ntop1 = "good"', "mine = 'good'.*75.1"),
        ('mine = "good"', "mine = 'good'.*75.1"),
        ('[mine]\nvalue = 75.1\ntraining = "pretrained"', "pretraining"),
    ],
)
def test_what_is_no_accuracy_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        accuracies(file)

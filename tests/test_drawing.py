"""Drawings of networks: each stage's facts are those of the network that is built, and differences are marked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from nasbench import cli
from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, load, swaps
from nasbench.costs.analytic import cost, operators
from nasbench.drawing.aligned import aligned
from nasbench.drawing.stages import network_facts
from nasbench.drawing.svg import draw, spoken

SHIPPED = fixed_points() | swaps()


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("arch", SHIPPED.values(), ids=SHIPPED)
def test_every_shipped_network_is_drawn_as_it_is(arch: Architecture) -> None:
    facts = network_facts(arch)
    assert sum(stage.macs for stage in facts.stages) == cost(arch).macs
    assert sum(stage.params for stage in facts.stages) == cost(arch).params
    present = [stage for stage in arch.stages if stage.depth]
    inner = facts.stages[1:-1]
    assert [stage.channels for stage in inner] == [stage.channels for stage in present]
    for drawn, stage in zip(inner, present):
        if stage.block != "slots":
            assert bool(drawn.attends) == stage.attends, drawn.name
            assert any(unit.attends for unit in drawn.units) == stage.attends, drawn.name
    if not present[-1].tokens:
        assert set(inner[-1].extent) == {arch.resolution // arch.total_stride}
    shown = texts(draw([facts]))
    assert {stage.name for stage in facts.stages} <= set(shown)
    assert all(stage.map_label in shown for stage in inner)


@pytest.mark.parametrize("arch", SHIPPED.values(), ids=SHIPPED)
def test_what_folds_is_what_loses_parameters_in_the_deploy_form(arch: Architecture) -> None:
    """Merged branches leave fewer parameters; norms that stay beside their convolution change nothing."""
    forms = [operators(arch, deploy=deploy) for deploy in (False, True)]
    for stage in network_facts(arch).stages:
        train, deploy = (sum(op.params for op in ops if op.stage == stage.name) for ops in forms)
        assert bool(stage.folds) == (train > deploy), stage.name
        assert any(unit.folds for unit in stage.units) == bool(stage.folds), stage.name


def test_facts_of_a_network_that_is_known() -> None:
    facts = {stage.name: stage for stage in network_facts(load("mobilevit_s")).stages}
    assert facts["stage 1"].map_label == "128 × 128"
    third = facts["stage 3"]
    assert (third.block_label, third.channels, third.map_label) == ("mobilevit, 2 layers", 96, "32 × 32")
    assert third.attends == "within 2×2 interleaved grids, 4 heads"
    assert facts["stage 1"].folds == ""
    first = network_facts(load("repvgg_a0")).stages[2]
    assert first.folds == "3×3 + 1×1 + identity → 3×3; 3×3 + 1×1 → 3×3"


def test_stages_of_one_stride_stand_in_one_row() -> None:
    """MobileNetV2 has two stages at strides where FastViT has one."""
    first, second = network_facts(load("mobilenetv2_100")), network_facts(load("fastvit_t8"))
    rows = aligned([first, second])
    for row in rows[1:-1]:
        assert len({stage.stride for stage in row.stages if stage is not None}) == 1
    assert any(None in row.stages and not row.differing for row in rows), "what is missing speaks for itself"
    for place, network in enumerate((first, second)):
        assert [row.stages[place] for row in rows if row.stages[place] is not None] == list(network.stages)


def test_only_what_differs_is_marked() -> None:
    arch = load("emo_2m")
    same, larger = network_facts(arch), network_facts(arch.with_resolution(256))
    assert all(not row.differing for row in aligned([same, same]))
    assert all(row.differing == {"map"} for row in aligned([same, larger])[:-1])
    stages = [stage.model_dump() for stage in arch.stages]
    stages[1]["kernel"] = 5
    other = network_facts(arch.replace(stages=stages))
    differing = {row.stages[0].name: set(row.differing) for row in aligned([same, other]) if row.differing}
    assert differing == {"stage 2": {"settings"}}
    assert texts(draw([same, other])).count("≠") == 3, "a mark in both columns, and in the legend"
    assert "≠" not in texts(draw([same]))


def test_the_drawing_can_be_read_aloud() -> None:
    words = spoken(network_facts(load("emo_1m")))
    assert words.startswith("emo_1m, 224 px. stem: conv_bias")
    assert "attends over strided groups of 7×7" in words


@pytest.mark.parametrize("name", ["x" * 500, "a<b>&\"'", "näme ☃", "\ud800"])
def test_any_name_gives_a_well_formed_file(name: str) -> None:
    svg = draw([network_facts(load("emo_1m").replace(name=name))])
    assert len(texts(svg)[0]) <= 40
    svg.encode("utf-8")


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "both.svg"
    assert cli.main(["draw", "emo_1m", "fastvit_t8", "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: emo_1m beside fastvit_t8\n"
    assert "emo_1m" in texts(path.read_text(encoding="utf-8"))


def test_a_design_of_a_study_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Path(__file__).parents[1] / "results" / "default"
    assert cli.main(["draw", f"{study}#03146b4b", f"{study}#1", "-o", str(tmp_path / "x.svg")]) == 0
    assert "03146b4b beside 92170468" in capsys.readouterr().out
    assert cli.main(["draw", f"{study}#none", "-o", str(tmp_path / "y.svg")]) == 2
    assert "no design of it is called so; give a number, a name or the beginning of an id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emo_1m", "-o", "x.png"], "x.png: a drawing is an SVG file; give it a name that ends in .svg"),
        (["emo_1m", "no_such_net", "-o", "x.svg"], "unknown architecture 'no_such_net'"),
        (["emo_1m"] * 9 + ["-o", "x.svg"], "at most 8 stand side by side"),
        (["emo_1m", "-o", "none/x.svg"], "the folder none does not exist"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_drawn_writes_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

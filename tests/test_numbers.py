"""Every number in every file has a range that is checked: none hangs, fills the memory or ends in a traceback."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_networks import NETWORKS

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.arch.parts import Head, Stage, Stem
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.files import data_dir, parse_toml, read_toml
from nasbench.nn.model import build
from nasbench.space.search_space import SearchSpace
from nasbench.study.fidelity import Recipe, Rung, load_recipe, recipe_files
from nasbench.study.runner import RunnerSpec, load_runner, runner_ladder, shipped_runners

BEYOND = (99999999999, -99999999999, 10**400, 1 << 20000, 1e308, -1e308, math.inf, -math.inf, math.nan)
ODD = (0, -1, 1e-308, 0.01, 65, 257, 1001, 65536)  # may be right for some fields; what is taken must then work
# One of each block, transition, stem and head.
NAMES = [name for name in NETWORKS if name.endswith(("-none-k3", "-s2", "-x2.5", "-learned", "-sine"))]


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where numbers stand in the content of a file."""
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        yield path
    elif isinstance(content, (dict, list, tuple)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from places(value, (*path, key))


def lists(content: Any) -> Any:
    """`content` with lists for tuples, as a file's."""
    if isinstance(content, dict):
        return {key: lists(value) for key, value in content.items()}
    return [lists(value) for value in content] if isinstance(content, (list, tuple)) else content


def changed(content: Any, path: tuple[Any, ...], value: object) -> Any:
    changed = copy.deepcopy(content)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return changed


def assert_refused(read: Any, content: Any, path: tuple[Any, ...], value: object) -> None:
    with pytest.raises(UserError) as caught:
        read(changed(content, path, value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(path[-1]) in str(caught.value) or isinstance(path[-1], int), str(caught.value)


def assert_works_or_is_refused(content: Any) -> None:
    with contextlib.suppress(UserError):
        cost(Architecture.from_dict(content, "file"), 10)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_an_architecture(name: str) -> None:
    content = lists(NETWORKS[name].to_dict())
    for path in places(content):
        for value in BEYOND:
            assert_refused(Architecture.from_dict, content, path, value)
        for value in ODD:
            assert_works_or_is_refused(changed(content, path, value))


@pytest.mark.parametrize("name", ["vit_r50_b16", "convnext_t"])
def test_numbers_of_meta_blocks_that_are_spelled_out(name: str) -> None:
    content = lists(load(name).to_dict())
    spelled = [path for path in places(content) if "slots" in path or "entry" in path]
    assert len(spelled) > 20
    for path in spelled:
        for value in BEYOND[:2] + BEYOND[3:7]:
            assert_refused(Architecture.from_dict, content, path, value)


def test_a_network_that_no_machine_holds_is_not_built() -> None:
    stage = {"channels": 65536, "depth": 1000, "block": "basic", "kernel": 31}
    arch = Architecture.from_dict({"name": "giant", "resolution": 64, "stages": [stage]})
    with pytest.raises(UserError, match=r"giant has .* GB of weights, and this machine .* GB of memory; make"):
        build(arch, 10)


def test_the_problem_named_is_that_of_the_part_that_was_meant() -> None:
    block = {"c_in": 8, "c_out": 8, "mix": [{"channels": 8, "kernel": 99999999999, "stride": 1}]}
    stage = {"channels": 8, "depth": 1, "block": "slots", "slots": [block]}
    with pytest.raises(UserError, match=r"mix\[0\].Pool.kernel = 99999999999: input should be less than"):
        Architecture.from_dict({"resolution": 64, "stages": [stage]}, "file")


@pytest.mark.parametrize("kind", [Stem, Stage, Head, Recipe, Rung, RunnerSpec])
def test_every_number_has_both_ends(kind: Any) -> None:
    whole: dict[type, dict[str, Any]] = {
        Stage: {"channels": 8, "depth": 1},
        Recipe: load_recipe().to_dict(),
        Rung: {"trials": 1, "fidelity": load_recipe().at(100).to_dict()},
    }
    content = whole.get(kind, {})
    for name, field in kind.model_fields.items():
        if {int, float} & {field.annotation, *getattr(field.annotation, "__args__", ())}:
            for value in BEYOND:
                assert_refused(kind.from_dict, {**content, name: 0}, (name,), value)


@pytest.mark.parametrize("name", ["small", "swin", "vit"])
def test_numbers_of_a_space(name: str) -> None:
    content = read_toml(data_dir("search_spaces") / f"{name}.toml")
    for path in places(content):
        for value in (BEYOND[0], BEYOND[3], 1e308, math.inf, math.nan):
            assert_refused(SearchSpace.from_dict, content, path, value)


@pytest.mark.parametrize(
    "text", ["last 99999999999 stages", f"last {'9' * 5000} stages", f"at most {'9' * 400}x channels"]
)
def test_numbers_in_the_words_of_a_constraint(text: str) -> None:
    content = read_toml(data_dir("search_spaces") / "small.toml")
    content["constraints"] = {"attention" if text.startswith("last") else "width": text}
    with pytest.raises(UserError, match="unknown value; write for example"):
        SearchSpace.from_dict(content, "file")


@pytest.mark.parametrize("name", shipped_runners())
def test_numbers_of_a_runner(name: str, tmp_path: Path) -> None:
    content = read_toml(shipped_runners()[name])
    file = tmp_path / "own.toml"
    for path in places(content):
        line = f"{path[-1]} = {{}}\n"
        for value in ("99999999999999", "1e308", "inf", "nan", "-1", "9" * 5000, f"0x{'f' * 5000}"):
            own = (
                line.format(value) if len(path) == 1 else f"[[ladder]]\ntrials = 1\nsamples = 10\n{line.format(value)}"
            )
            if len(path) > 1 and path[-1] in ("trials", "samples"):
                own = f"[[ladder]]\n{'trials' if path[-1] == 'samples' else 'samples'} = 10\n{line.format(value)}"
            file.write_text(own)
            with pytest.raises(UserError) as caught:
                load_runner(file), runner_ladder(file)
            assert "\n" not in str(caught.value)


def test_shares_that_no_machine_can_give() -> None:
    for name in ("gpus_per_trial", "memory_gib_per_trial", "cpus_per_trial"):
        with pytest.raises(UserError, match=name):
            RunnerSpec.from_dict({name: 1e-300})  # no subnormal: a runtime in this process may flush those to 0


@pytest.mark.parametrize("text", ["a = " + "9" * 5000, "a = " + "[" * 100_000])
def test_toml_that_python_cannot_hold(text: str) -> None:
    with pytest.raises(UserError, match="file: not valid TOML"):
        parse_toml(text, "file")


def test_json_that_python_cannot_hold(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_text("[" * 100_000)
    with pytest.raises(UserError, match="not valid JSON"):
        Architecture.from_file(file)


def test_too_many_stages_are_refused() -> None:
    stage = {"channels": 8, "depth": 1}
    for read in (Architecture.from_dict, SearchSpace.from_dict):
        with pytest.raises(UserError, match=r"stages.*at most 64"):
            read({"resolution": 64, "stages": [stage] * 65}, "file")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_byte_order_mark_is_no_part_of_a_file(suffix: str, encoding: str, tmp_path: Path) -> None:
    arch, file = load("emo_1m"), tmp_path / f"own{suffix}"
    text = arch.to_toml() if suffix == ".toml" else arch.model_dump_json(include=set(arch.to_dict()))
    file.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert Architecture.from_file(file).id == arch.id
    file.write_bytes(b"\xff" + text.encode())
    with pytest.raises(UserError, match="not UTF-8 text; save it as UTF-8"):
        Architecture.from_file(file)


@pytest.mark.parametrize("read", [SearchSpace.from_file, load_recipe, load_runner])
def test_every_reader_of_toml_takes_a_byte_order_mark(read: Any, tmp_path: Path) -> None:
    shipped = {SearchSpace.from_file: data_dir("search_spaces") / "small.toml", load_recipe: recipe_files()["proxy"]}
    file = tmp_path / "own.toml"
    file.write_text(shipped.get(read, shipped_runners()["laptop"]).read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read(file)

"""Export and measuring, on two small hand-made networks."""

import functools
import os
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.errors import UserError
from nasbench.latency import reference, standalone
from nasbench.latency.device import Measurement, Settings
from nasbench.latency.export import export_onnx, onnx_difference
from nasbench.latency.measure import Session, flushed_denormals
from nasbench.latency.onnx_session import open_session, runner
from nasbench.latency.reference import ReferenceNet, reference_hash, reference_onnx
from nasbench.latency.runtimes import open_module
from nasbench.latency.standalone import PROCESS, THREAD, WALL, Pass


class Tiny(nn.Module):
    """A convolution, GELU, attention and a linear layer at 32 px: what the exporter must carry over."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.head = nn.Linear(16, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(nn.functional.gelu(self.patch(image)).flatten(2).transpose(1, 2))
        q, k, v = self.qkv(tokens).unsqueeze(1).chunk(3, dim=-1)  # (1, 1, 64, 16)
        return self.head((tokens + nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1)).mean(1))


def test_export_computes_the_same_and_leaves_the_model_as_it_was() -> None:
    model = Tiny()
    content = export_onnx(model, 32)
    assert model.training
    assert onnx_difference(model.eval(), content, 32) < 1e-5


@pytest.mark.exhaustive
def test_without_the_torchscript_exporter_the_other_one_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.onnx.export

    def without_torchscript(*args: Any, dynamo: bool, **settings: Any) -> Any:
        if not dynamo:
            raise TypeError("dynamo=False is gone")
        return whole(*args, dynamo=True, **settings)

    monkeypatch.setattr(torch.onnx, "export", without_torchscript)
    model = Tiny().eval()
    with pytest.warns(UserWarning, match=r"TorchScript exporter failed \(dynamo=False is gone\); using dynamo"):
        content = export_onnx(model, 32)
    assert onnx_difference(model, content, 32) < 1e-5


def test_reference_is_the_same_everywhere_and_draws_no_random_numbers() -> None:
    torch.manual_seed(1)
    first = torch.rand(1)
    torch.manual_seed(1)
    reference_onnx.cache_clear()
    content = reference_onnx()
    assert torch.rand(1) == first
    reference_onnx.cache_clear()
    assert reference_onnx() == content


def test_thread_time_covers_the_network() -> None:
    """One intra-op thread computes in the calling thread: its CPU clock sees what the process's clock sees."""
    run = runner(open_session(reference_onnx()))
    run()
    thread, process = time.thread_time(), time.process_time()
    for _ in range(20):
        run()
    assert (time.thread_time() - thread) / (time.process_time() - process) > 0.9


def a_pass(ratio: float, reference_us: int = 1000, runs: int = 5) -> Pass:
    theirs = (round(ratio * reference_us),) * runs
    return Pass(0.0, (reference_us,) * runs, (reference_us,) * runs, theirs, theirs)


@pytest.mark.exhaustive
def test_bigger_is_slower_by_ratio() -> None:
    """The reference against itself is 1; at twice the side it has four times the work."""
    with Session() as session:
        session.add_module(ReferenceNet(), 128)
        session.add_module(ReferenceNet(), 256)
        session.finish()
        same, larger = session.measurement(0), session.measurement(1)
        assert session.peak_bytes(1) is None or session.peak_bytes(1) > 10e6  # weights of 4 MB, maps of 3 MB each
    assert session.clock == THREAD
    assert same.ratio == pytest.approx(1.0, abs=0.1)
    assert 2.5 < larger.ratio / same.ratio < 7
    assert larger.latency_ms == pytest.approx(larger.ratio * session.reference_ms)
    assert same.wall_min_ms >= 0.9 * same.cpu_min_ms > 0
    assert larger.passes >= standalone.PASSES
    assert larger.repeats >= standalone.PASSES * standalone.MIN_RUNS


@pytest.fixture
def short_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sixth of their time, where figures need not be sharp."""
    monkeypatch.setattr(standalone, "run_pass", functools.partial(standalone.run_pass, seconds=0.03))


def test_passes_of_a_network_lie_apart(short_passes: None) -> None:
    """Between two passes of a network there is one of every other."""
    with Session() as session:
        for _ in range(3):
            session.add_module(ReferenceNet(), 64)
        session.finish()
        began = sorted((p.at, index) for index, passes in enumerate(session.passes) for p in passes[:3])
    assert [index for _, index in began] == [0, 1, 2] * 3


def test_a_profile_fixes_the_scale() -> None:
    quiet = a_pass(2.0).reference_ms(THREAD)
    summary = Measurement.of([a_pass(2.0)] * 3, THREAD, reference_ms=quiet)
    assert summary.latency_ms == pytest.approx(2.0 * quiet)
    assert not summary.noisy


def test_load_slows_a_network_half_as_much_as_the_reference() -> None:
    """21 % on the reference, 10 % on the network: the same network on the same quiet device."""
    quiet = Pass(0.0, (1000,), (1000,), (5000,), (5000,))
    loaded = Pass(1.0, (1210,), (1300,), (5500,), (6000,))
    figures = [Measurement.of([p], THREAD, reference_ms=1.0).latency_ms for p in (quiet, loaded)]
    assert figures == pytest.approx([5.0, 5.0])
    assert [Measurement.of([p], WALL, reference_ms=1.0).latency_ms for p in (quiet, loaded)] == [5.0, 6000 / 1300]


@pytest.mark.parametrize(("ratios", "noisy"), [((2.0, 2.02, 1.99), False), ((2.0, 2.0, 3.0, 2.5), True)])
def test_passes_that_disagree_are_flagged(ratios: tuple[float, ...], noisy: bool) -> None:
    summary = Measurement.of([a_pass(r) for r in ratios], THREAD, reference_ms=1.0)
    assert summary.noisy is noisy
    assert summary.latency_ms == pytest.approx(float(np.median(ratios)))


def test_estimators_by_hand() -> None:
    """Processor time: the median of pairs, so that one preempted run does not count. Wall: least over least."""
    one = Pass(0.0, (100, 100, 200), (110, 100, 300), (200, 500, 400), (900, 260, 400))
    assert one.ratio(THREAD, 0.1) == one.ratio(PROCESS, 0.1) == 2.0
    assert one.ratio(WALL) == 2.6
    other = Pass(1.0, (100,), (50,), (200,), (200,))
    assert standalone.figure([one, other], WALL, 1.0) == 200 / 50
    assert one.reference_ms(THREAD) == 0.1


def test_deviation_is_pooled_and_forgives_one_pass_of_four() -> None:
    steady, shaky = [1.0, 1.02, 0.98], [2.0, 2.2, 1.8]
    expected = ((2 * 0.02**2 + 2 * 0.1**2) / 4) ** 0.5
    assert standalone.deviation([steady, shaky]) == pytest.approx(expected)
    assert standalone.deviation([[1.0, 1.0, 1.0, 5.0]]) == 0.0
    assert standalone.deviation([[1.0], []]) == 0.0


def test_disagreeing_passes_are_repeated() -> None:
    ratios = iter([1.0, 1.5, 1.0, 1.0, 1.0, 1.0])
    (passes,) = standalone.rounds(lambda index: a_pass(next(ratios)), 1, THREAD)
    assert [p.ratio(THREAD) for p in passes] == [1.0, 1.5, 1.0, 1.0]


def test_several_threads_are_timed_by_the_wall() -> None:
    assert standalone.choose_clock(lambda: None, threads=2) == WALL


def test_work_in_another_thread_is_timed_by_the_process() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        work = lambda: pool.submit(lambda: sum(range(200_000))).result()  # noqa: E731
        assert standalone.choose_clock(work, threads=1) == PROCESS


def test_reference_hash_tells_networks_apart_and_not_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    reference_hash.cache_clear()
    same, other = onnx.load_from_string(reference_onnx()), onnx.load_from_string(reference_onnx())
    same.producer_version = "0"
    weights = other.graph.initializer[0]
    weights.raw_data = bytes(len(weights.raw_data))
    before = reference_hash()
    for model, equal in ((same, True), (other, False)):
        content = model.SerializeToString()
        monkeypatch.setattr(reference, "reference_onnx", lambda content=content: content)
        reference_hash.cache_clear()
        assert (reference_hash() == before) is equal
    reference_hash.cache_clear()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"runtime": "tpu"}, "unknown runtime 'tpu'; known: onnxruntime, openvino"),
        ({"runtime": "torch", "dtype": "int8"}, "torch is not measured in int8 here; known for it: fp32, bf16, fp16"),
        ({"accelerator": "cuda"}, "onnxruntime does not run on 'cuda' here"),
        ({"dtype": "int3"}, "unknown number format 'int3'; known: fp32"),
        (
            {"options": {"optimise": "no"}},
            r"onnxruntime has no option optimise='no' here; known for it: optimise \(bool",
        ),
        ({"runtime": "torch", "options": {"fast": True}}, "torch has no option fast=True here; known for it: none"),
    ],
)
def test_settings_that_cannot_be_measured(settings: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        Session(Settings(**settings))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "settings",
    [
        Settings("torch"),
        Settings("torch", dtype="bf16"),
        Settings(dtype="int8"),
        Settings(dtype="fp16"),
        Settings(batch=2),
        Settings(threads=2),
        Settings(options={"optimise": False}),
        Settings("openvino"),
        Settings("ncnn"),
    ],
    ids=str,
)
def test_every_runtime_and_format_measures(settings: Settings, short_passes: None) -> None:
    if settings.runtime in ("openvino", "ncnn"):
        pytest.importorskip(settings.runtime)
    with Session(settings) as session:
        session.add_module(ReferenceNet(), 64)
        session.add_module(ReferenceNet(), 192)
        session.finish(passes=2, most=2)
        small, large = session.measurement(0), session.measurement(1)
    assert large.ratio > 2 * small.ratio > 0


def test_compiled_networks_stay_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight networks of one class are all that torch compiles of one code object; after a reset it compiles again."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    runs = [
        open_module(nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU()), 8, Settings("torch-compile"))
        for width in range(1, 13)
    ]
    shapes = [run().shape for run in runs]  # type: ignore[attr-defined]
    with torch.compiler.set_stance("fail_on_recompile"):
        assert [run().shape for run in runs] == shapes == [(1, width, 6, 6) for width in range(1, 13)]  # type: ignore[attr-defined]
    torch._dynamo.reset()


def test_denormals_are_flushed_while_measuring_and_not_after() -> None:
    torch.set_flush_denormal(False)  # an onnxruntime session that flushes them leaves the thread so
    tiny = np.full(4, 1e-40, dtype=np.float32)
    with flushed_denormals():
        assert not (tiny * np.float32(1)).any()
    assert (tiny * np.float32(1)).all()


def test_measuring_sets_no_thread_count() -> None:
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    Session().__exit__()
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == before

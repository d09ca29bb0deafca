"""Export and measuring, on two small hand-made networks."""

import os
import time

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.latency import measure
from nasbench.latency.export import _export_dynamo, export_onnx, onnx_difference
from nasbench.latency.measure import Meter, Pass, ReferenceNet, open_session, reference_onnx, runner


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


def test_the_fallback_exporter_computes_the_same() -> None:
    model = Tiny().eval()
    assert onnx_difference(model, _export_dynamo(model, torch.zeros(1, 3, 32, 32)), 32) < 1e-5


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


def test_bigger_is_slower_by_ratio() -> None:
    """The reference against itself is 1; at twice the side it has four times the work."""
    meter = Meter()
    same, larger = meter.measure_all(
        [open_session(reference_onnx()), open_session(export_onnx(ReferenceNet(), 256))], seconds=0.1
    )
    assert same.ratio == pytest.approx(1.0, abs=0.1)
    assert 2.5 < larger.ratio / same.ratio < 7
    assert larger.latency_ms == pytest.approx(larger.ratio * meter.reference_ms)
    assert same.wall_min_ms >= 0.9 * same.cpu_min_ms > 0
    assert larger.passes >= measure.PASSES
    assert larger.repeats >= measure.PASSES * measure.MIN_RUNS


def test_a_profile_fixes_the_scale() -> None:
    summary = Meter(reference_ms=10.0).summarise([Pass(2.0, 5, 1.0, 1.0, 1.0)] * 3)
    assert summary.latency_ms == 20.0
    assert not summary.noisy


@pytest.mark.parametrize(("ratios", "noisy"), [((2.0, 2.02, 1.99), False), ((2.0, 2.0, 3.0, 2.5), True)])
def test_passes_that_disagree_are_flagged(ratios: tuple[float, ...], noisy: bool) -> None:
    summary = Meter(reference_ms=1.0).summarise([Pass(r, 5, 1.0, 1.0, 1.0) for r in ratios])
    assert summary.noisy is noisy
    assert summary.latency_ms == pytest.approx(float(np.median(ratios)))


def test_disagreeing_passes_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, ratios = Meter(reference_ms=1.0), iter([1.0, 1.5, 1.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(meter, "run_pass", lambda target, seconds=0.0: Pass(next(ratios), 5, 1.0, 1.0, 1.0))
    (result,) = meter.measure_all([open_session(reference_onnx())])
    assert result.passes == 4
    assert result.ratio == 1.0
    assert not result.noisy


def test_denormals_are_flushed_while_measuring_and_not_after() -> None:
    tiny = np.full(4, 1e-40, dtype=np.float32)
    with measure.flushed_denormals():
        assert not (tiny * np.float32(1)).any()
    assert (tiny * np.float32(1)).all()


def test_measuring_sets_no_thread_count() -> None:
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    Meter()
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == before

"""Our networks against timm's: same weights, same images, forward pass and training step, interleaved.

Needs timm in an environment of its own, since it drags torchvision in:

    python -m venv timm-env && . timm-env/bin/activate
    pip install -c constraints.txt . && pip install --no-deps timm torchvision huggingface_hub
    python benchmarks/timm_speed.py --repeats 15 --out results/speed/timm.json

A figure is the CPU time of timm's network over ours, so above 1 ours is faster: median of the paired ratios and their
quartiles. One thread. `deploy` is the train form's forward time over the deploy form's, where the two differ.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import nasbench
from nasbench.arch.deploy_form import deploy_network
from nasbench.errors import UserError

TIMM = {
    **{f"mobilevit_{size}": f"mobilevit_{size}" for size in ("xxs", "xs", "s")},
    **{f"mobilevitv2_{size}": f"mobilevitv2_{size}" for size in ("050", "075", "100", "125", "150", "175", "200")},
    **{f"fastvit_{size}": f"fastvit_{size}" for size in ("t8", "t12", "s12", "sa12", "sa24", "sa36", "ma36")},
    **{f"mobileone_s{size}": f"mobileone_s{size}" for size in range(5)},
    **{f"repvgg_{size}": f"repvgg_{size}" for size in ("a0", "a1", "a2", "b0")},
    **{f"mobilenetv2_{size}": f"mobilenetv2_{size}" for size in ("035", "050", "075", "100", "140")},
    "mobilenetv1_100": "mobilenetv1_100",
    **{f"swin_{short}": f"swin_{size}_patch4_window7_224" for short, size in
       (("t", "tiny"), ("s", "small"), ("b", "base"), ("l", "large"))},
    **{f"vit_{short}": f"vit_{size}_224" for short, size in
       (("ti16", "tiny_patch16"), ("s16", "small_patch16"), ("s32", "small_patch32"), ("b16", "base_patch16"),
        ("b32", "base_patch32"), ("l16", "large_patch16"), ("l32", "large_patch32"), ("h14", "huge_patch14"),
        ("r50_b16", "base_r50_s16"), ("r50_l32", "large_r50_s32"))},
    **{f"deit_{short}{kind}": f"deit_{size}{kind}_patch16_224" for short, size in
       (("ti", "tiny"), ("s", "small"), ("b", "base")) for kind in ("", "_distilled")},
    "convnext_t": "convnext_tiny",
}  # fmt: skip
# The originals' GELU is the tanh form, timm's default the exact one, which is faster: both get the originals'.
SETTINGS = {"vit_": {"act_layer": "gelu_tanh"}}
CLASSES = 1000
TRAIN_BATCH, BATCH = 8, 8
LARGE_MACS = 6e9


def import_timm() -> Any:
    """timm needs torchvision to be importable; a torchvision without its compiled operators is not, without these."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    timm.stubbed_operators = library  # keep them alive
    return timm


def cpu_seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def paired(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> dict[str, float]:
    """The ratio of CPU times first / second over interleaved repetitions, and both medians in ms."""
    for run in (first, second):
        run()
    times = []
    for repeat in range(repeats):  # in turns, so that neither always follows the other
        if repeat % 2:
            times.append((cpu_seconds(first), cpu_seconds(second)))
        else:
            mine = cpu_seconds(second)
            times.append((cpu_seconds(first), mine))
    ratios = sorted(a / b for a, b in times)
    quartiles = statistics.quantiles(ratios, n=4)
    return {
        "ratio": statistics.median(ratios),
        "low": quartiles[0],
        "high": quartiles[2],
        "first_ms": 1e3 * statistics.median(a for a, _ in times),
        "second_ms": 1e3 * statistics.median(b for _, b in times),
    }


def forward(model: nn.Module, images: torch.Tensor) -> Callable[[], Any]:
    def run() -> None:
        with torch.inference_mode():
            model(images)

    return run


def training_step(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], Any]:
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    return run


def compare(name: str, timm: Any, repeats: int, channels_last: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    arch = nasbench.load(name)
    settings = next((values for prefix, values in SETTINGS.items() if name.startswith(prefix)), {})
    ours, theirs = nasbench.build(arch, CLASSES), timm.create_model(TIMM[name], num_classes=CLASSES, **settings)
    nasbench.load_weights(ours, theirs.state_dict(), "timm")
    images, labels = torch.randn(BATCH, 3, arch.resolution, arch.resolution), torch.randint(CLASSES, (TRAIN_BATCH,))
    if channels_last:
        ours, theirs = ours.to(memory_format=torch.channels_last), theirs.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    ours.eval(), theirs.eval()
    with torch.inference_mode():
        wanted = theirs(images)
        difference = float((ours(images) - wanted).abs().max() / wanted.abs().max())
    record: dict[str, Any] = {"name": name, "timm": TIMM[name], "difference": difference}
    record["forward"] = paired(forward(theirs, images), forward(ours, images), repeats)
    if deploy_network(arch.network) != arch.network:
        merged = nasbench.reparameterise(ours)
        record["deploy"] = paired(forward(ours, images), forward(merged, images), repeats)
        if hasattr(timm.utils.model, "reparameterize_model"):
            other = timm.utils.model.reparameterize_model(theirs).eval()
            record["deploy_against_timm"] = paired(forward(other, images), forward(merged, images), repeats)
    ours.train(), theirs.train()
    for model in (ours, theirs):
        if hasattr(model, "set_distilled_training"):
            model.set_distilled_training(False)
    steps = [training_step(model, images[:TRAIN_BATCH], labels) for model in (theirs, ours)]
    record["train"] = paired(steps[0], steps[1], max(5, repeats // 2))
    return record


def line(record: dict[str, Any]) -> str:
    cells = [f"{record['name']:<18}"]
    for key in ("forward", "train", "deploy", "deploy_against_timm"):
        figures = record.get(key)
        cells.append(f"{figures['ratio']:5.2f} [{figures['low']:.2f}, {figures['high']:.2f}]" if figures else " " * 18)
    return "  ".join(cells) + f"  diff {record['difference']:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="our names (default: all that timm has below 6 GMAC)")
    parser.add_argument("--all", action="store_true", help="the large ones too")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    timm = import_timm()
    names = options.names or [
        name for name in TIMM if options.all or nasbench.cost(nasbench.load(name)).macs <= LARGE_MACS
    ]
    print(f"{'timm / ours':<18}  {'forward':<18}  {'training step':<18}  {'train / deploy':<18}  deploy, timm / ours")
    records = []
    for name in names:
        try:
            records.append(compare(name, timm, options.repeats, options.channels_last))
        except UserError as error:
            print(f"{name:<18}  {error}", flush=True)
            continue
        print(line(records[-1]), flush=True)
        gc.collect()
    if options.out:
        about = {
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "timm": timm.__version__,
            "batch": BATCH,
            "channels_last": options.channels_last,
            "what": "CPU seconds, timm over ours, one thread, interleaved; median and quartiles of paired ratios",
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**about, "networks": records}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""When a block may write its result over a tensor, which saves memory traffic: only where nothing can observe it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

TRUSTED = ("torch.nn.", "nasbench.")  # whose modules keep nothing of what they return
LARGE = 1 << 16  # elements; of smaller tensors less is saved than asking takes
# What torch can run a block under and its public interface does not tell of; the names are those of torch 2.6 to 2.13.
_MODES = ("_len_torch_function_stack", "_len_torch_dispatch_stack", "_are_functorch_transforms_active")
_ACTIVE = tuple(getattr(torch._C, name) for name in _MODES if hasattr(torch._C, name))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_ON_ALL = tuple(getattr(torch_module, f"_global{name}") for name in _HOOKS)


def may_overwrite(fresh: Tensor, *makers: nn.Module) -> bool:
    """Whether `fresh`, which only these modules have handled, may be overwritten, and is large enough to be worth it.

    Not while a compiler, a tracer, a mode of torch or a transform such as `vmap` follows what is computed, and not
    where a hook, or a module put in by a user, may have kept the tensor.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or type(fresh) is not Tensor or fresh.numel() < LARGE:
        return False
    for active in _ACTIVE:
        if active():
            return False
    return not (any(_HOOKS_ON_ALL) or any(map(_is_watched, makers)))


def _is_watched(module: nn.Module) -> bool:
    """Whether this module or one inside it has a hook, a `forward` of a user's, or is of a class of a user's."""
    own = module.__dict__  # not by attributes: this runs often, and beside small operators it shows
    if own["_forward_hooks"] or own["_forward_pre_hooks"] or own["_backward_hooks"] or own["_backward_pre_hooks"]:
        return True
    if "forward" in own or not type(module).__module__.startswith(TRUSTED):
        return True
    inside = own["_modules"]
    return bool(inside) and any(_is_watched(child) for child in inside.values() if child is not None)

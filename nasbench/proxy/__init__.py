"""Proxy training: image data, the fidelity ladder, the training loop, and one trial's evaluation.

Import the submodules; this file stays empty of imports, so that `nasbench.proxy.fidelity` costs no torch.
"""

"""Proxy training: image data, the reduction of a design, the training loop, and one trial's evaluation.

Import the submodules; this file stays empty of imports.
"""

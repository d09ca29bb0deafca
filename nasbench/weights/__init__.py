"""Weights in and out of files: ours, timm's and the official ones."""

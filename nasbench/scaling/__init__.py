"""Scaling: from one design to a family, and what more compute would buy.

`resize` and `target` change a design's size, `laws` and `intervals` fit how its error falls, `published` holds quoted
tables, `study` trains a family, `decide`, `isoflop` and `plan` say what the laws are good for.
"""

"""Training for use: a network at its own size and resolution, by a recipe, to a model that is kept.

Import the submodules; this file stays empty of imports.
"""

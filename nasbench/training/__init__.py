"""Training for use: networks at full size and resolution, by a recipe, to saved models.

Import the submodules; this file imports nothing, so that it loads without torch.
"""

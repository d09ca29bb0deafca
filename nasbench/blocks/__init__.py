"""The meta-block's parts: in each file the module, its cost formula and its fusion rule side by side."""

"""The table of trained designs: one row a training, with the accuracy of a design at a fidelity.

`collect` trains designs, `add` takes the trials of searches in, `load_table` reads a table.
"""

"""The table of trained designs: rows that say how accurate a design became at a fidelity, collected once, used often.

A row is one training. `collect` has designs trained, `add` takes in what searches have trained, `load_table` reads it.
"""

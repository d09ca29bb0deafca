"""The parts of a network, each a pair of files.

`attention.py` is attention as a torch module, with its fusion rule; `attention_cost.py` is its cost formula, without
torch. What both need is in the formula's file; `op.py` holds the result of every formula: operators on a tape.
"""

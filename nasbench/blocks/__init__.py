"""The parts of a network, each a pair of files that stand side by side.

`attention.py` is attention as a torch module, with its fusion rule; `attention_cost.py` is the formula of what it
costs, without torch. Whoever changes one sees the other. What both need stands in the formula's file, and `op.py` holds
what every formula writes: operators on a tape.
"""

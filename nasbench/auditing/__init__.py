"""The audit of a rung: shipped networks trained at it, and how their ranking stands beside what is known of them.

`audit` (the command, and `nasbench.audit`) wires the parts; the figures come from `agreement` and `pairs`, which know
nothing of networks.
"""

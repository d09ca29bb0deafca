"""The verbs of the command line, one module a noun: each parses, calls the library and prints.

A module's `add(verbs)` only describes arguments. Whatever it needs it imports when the verb runs, so that `--help`
stays fast.
"""

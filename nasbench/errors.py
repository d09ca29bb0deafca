"""The one error type whose text is meant for the person who wrote the input."""

from __future__ import annotations


class UserError(ValueError):
    """What a user wrote cannot be used: one line with the value, the rule and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """

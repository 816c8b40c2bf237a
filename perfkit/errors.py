"""Failures a user can cause: each is one sentence that ends in the remedy."""


class PerfkitError(Exception):
    """The user's input was wrong; the message says what to do. The command line exits with 2."""

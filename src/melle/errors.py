"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """Bad input, described in one sentence that says what to do.

    The commands print it without a traceback and exit with status 2; in Python it is an ordinary exception.
    """

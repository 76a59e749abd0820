"""The exceptions that mean "the user can fix this"."""

from melle.entry_points import as_installed


class UserError(Exception):
    """Bad input, described in one sentence that says what to do.

    The commands print it without a traceback and exit with status 2; in Python it is an ordinary exception.
    """

    def __str__(self) -> str:
        return as_installed(super().__str__())


class Unavailable(UserError):
    """A package that is not installed, or a download without a network: whoever can do without it warns and goes on."""


class OutOfMemory(UserError):
    """A batch that a device, or the machine, has no memory for; whoever chose its size says which setting to lower."""


class DataError(UserError):
    """What is wrong with one line of a manifest or with its recording. ``kind`` names it in a word or two.

    Training leaves such an utterance out and counts it by its kind; ``python -m melle check`` lists it.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):  # loader processes send it to the trainer
        return DataError, (self.kind, str(self))


def reason(error: Exception) -> str:
    """What another library's exception says, in one short line with its kind: 200 characters of whole words."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    if len(said) <= 200:
        return said
    words = said[:200].rpartition(" ")[0]
    return f"{words if len(words) > 100 else said[:199]}…"

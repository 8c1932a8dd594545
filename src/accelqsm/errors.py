"""What users are meant to read: a single line, without a traceback."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that names the file or argument, the value found and the value
    expected. The command line prints it and exits with status 65 (EX_DATAERR).
    """


class InputWarning(UserWarning):
    """Input that is used, at a loss.

    The message is one line that names the file and says what is lost. The command line prints it
    on stderr and goes on.
    """

"""The error that the user can fix."""

# Remedies for damaged files, for the end of a message.
AGAIN = "delete the run's folder and give the sweep's command again"  # of a run
FROM_A_COPY = "bring it back from a copy, or name another folder"


class InputError(ValueError):
    """Input that is wrong. The message is one line, names it and says what to do."""


class UncheckedWarning(UserWarning):
    """Files that hold no digests, so that changes of them may go unnoticed."""

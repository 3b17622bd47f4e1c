"""The error that the user can fix."""

AGAIN = "delete the run's folder and give the sweep's command again"  # the remedy for a damaged file of a run


class InputError(ValueError):
    """Input that is wrong. The message is one line, names it and says what to do."""

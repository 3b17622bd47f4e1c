"""The error that is the user's to mend."""

AGAIN = "delete the run's folder and give the sweep's command again"  # what mends a damaged file of a run


class InputError(ValueError):
    """Something the user gave is wrong; the message is one line that names it and says what to do."""

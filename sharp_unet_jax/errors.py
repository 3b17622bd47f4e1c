"""The error that is the user's to mend."""


class InputError(ValueError):
    """Something the user gave is wrong; the message is one line that names it and says what to do."""

"""The errors that the user can fix: the message is one line that names the file and says what to do."""


class DataError(ValueError):
    """A fault in the user's files."""


class MissingError(DataError):
    """The user has not said where the files are, and TFDS's own folder for them holds none."""


class DamagedError(DataError):
    """A built data set that cannot be read; the message names the folder to delete."""

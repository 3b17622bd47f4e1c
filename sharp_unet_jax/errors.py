"""The error that the user can fix, what its message may end with, and how to tell those that mean too little memory."""

import errno

# Remedies for damaged files, for the end of a message.
AGAIN = "delete the run's folder and give the sweep's command again"  # of a run
FROM_A_COPY = "bring it back from a copy, or name another folder"


def install(extra: str) -> str:
    """Return the command that installs an extra of pyproject.toml, for the end of a message."""
    return f"pip install --editable '.[{extra}]' in the project's folder"


class InputError(ValueError):
    """Input that is wrong. The message is one line, names it and says what to do."""


class StaleWarning(UserWarning):
    """A file of earlier runs that is left out."""


class ResolutionWarning(UserWarning):
    """Images that a run is shown at another resolution than those that it was trained on."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether Python, NumPy, Pillow, the system or XLA found too little memory.

    XLA's class and text differ between platforms, and between a computation and the reading of its result.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or str(error).startswith("out of memory")  # Pillow's
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory allocating" in text

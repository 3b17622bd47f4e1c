"""The end of a run: by patience, or capped by `epochs`; a capped run may go on to a larger number."""

TO_THE_END = ("cosine", "poly")  # schedules whose learning rates depend on `epochs`


def by_patience(epochs: int, best_epoch: int, patience: int) -> bool:
    """Say whether a run of so many `epochs`, whose best one is `best_epoch` (from 1), has ended by patience."""
    return epochs >= best_epoch + patience


def capped(epochs: int, best_epoch: int, patience: int, most: int) -> bool:
    """Say whether a run that is over after so many `epochs` has reached the limit `most`, and patience has not."""
    return epochs >= most and not by_patience(epochs, best_epoch, patience)


def may_go_on(schedule: str) -> bool:
    """Say whether a larger `epochs` leaves the epochs before it as they are: capped runs may then go on to it."""
    return schedule not in TO_THE_END

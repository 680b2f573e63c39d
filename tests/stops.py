"""A run that is told to stop in the middle."""

from scaled.training.stopping import StopWatch


class StopAfter(StopWatch):
    """Is told to stop during a certain update."""

    def __init__(self, update: int) -> None:
        super().__init__()
        self.left = update

    def should_stop(self) -> bool:
        self.left -= 1
        self.reason = "SIGTERM" if self.left <= 0 else None
        return self.left <= 0

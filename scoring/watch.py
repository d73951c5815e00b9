"""While a run works: whether somebody else has ended it, and how far it is, for others to see."""

import time
from collections.abc import Callable

from errors import RunEndedError
from scoring.job import Run
from scoring.log_lines import Pace
from scoring.services import Services
from scoring.tally import Tally

LOOK_SECONDS = 5.0
"""Between two looks at whether the run has been cancelled, or given up."""

SIGN_SECONDS = 30.0
"""Between two signs of life, which the sweeper looks for."""


class Watch:
    """Looks after one run from the thread that reads its input; nothing is asked of storage for a short run."""

    def __init__(
        self, run: Run, services: Services, known: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin now; `known` is the ETag of the receipt that the run had before, if it was given up once."""
        size = run.input.size if run.input else 0
        self._run = run
        self._receipts = services.receipts
        self.known = known
        self._looks = Pace(size, LOOK_SECONDS, clock)
        self._signs = Pace(size, SIGN_SECONDS, clock)

    def update(self, read: int, tally: Tally) -> None:
        """Look, and leave a sign of life, if it is time to; called after each block."""
        if self._looks.due():
            self.look()
        if self._signs.due():
            self._receipts.report(self._run.id, self._signs.figures(read, tally))

    def look(self) -> None:
        """Raise RunEndedError if the run has a receipt that it did not have when it began."""
        if self._receipts.look(self._run.id, self.known):
            raise RunEndedError("the run was ended while it was under way", file=str(self._run.job.input))

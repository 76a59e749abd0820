"""What the server takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from melle.errors import UserError
from melle.options import option


@dataclass(frozen=True)
class Limits:
    """What the server takes. Beyond it there is an error that says so. Raises UserError for limits that forbid all."""

    text: int = option(4096, "characters of a text", "--max-text", metavar="N")
    upload: int = 10 * 2**20  # bytes of a request that holds a recording
    body: int = 2**18  # bytes of any other request
    prompt_seconds: float = option(30.0, "of an uploaded recording", "--max-prompt-seconds", metavar="SECONDS")
    voices: int = 1000  # uploaded ones
    rows: int = option(16, "sentences that are decoded at a time", "--rows")
    waiting: int = option(64, "requests that wait; more are refused", "--max-waiting", metavar="N")
    receive_seconds: float = 30.0  # for a request to arrive
    seconds: float = option(120.0, "seconds in which a request must be answered; inf: as long as it takes", "--timeout")

    def __post_init__(self) -> None:
        above = (self.rows, self.text, self.seconds, self.prompt_seconds, self.receive_seconds)
        if not (all(limit > 0 for limit in above) and self.waiting >= 0):  # nan is neither
            raise UserError(
                "--rows, --max-text, --max-prompt-seconds and --timeout must be above 0, --max-waiting 0 or more"
            )
        if math.isinf(self.prompt_seconds):
            raise UserError(f"--max-prompt-seconds {self.prompt_seconds}: give a number of seconds")

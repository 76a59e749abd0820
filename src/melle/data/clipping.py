"""What a recorder cut off above its full scale."""

from __future__ import annotations

import numpy as np

RUN = 3  # samples at the peak in a row; fewer are loud speech
AUDIBLE = 1e-3  # share of a recording's samples in such runs


def clipped_share(samples: np.ndarray, peak: float) -> float:
    """The share of samples (N,) that stand at ``peak`` or beyond it in runs; 0 where that is too small to be heard."""
    loud = np.abs(samples) >= peak
    if np.count_nonzero(loud) <= AUDIBLE * len(samples):
        return 0.0
    edges = np.flatnonzero(np.diff(loud.astype(np.int8), prepend=0, append=0))
    runs = edges[1::2] - edges[::2]
    share = float(runs[runs >= RUN].sum()) / len(samples)
    return share if share > AUDIBLE else 0.0

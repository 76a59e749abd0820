"""What the arguments of a network must be; each error is a ValueError that names the argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def check_arguments(
    reduction_factor: int,
    width: int,
    heads: int,
    layers: int,
    guided_layers: Sequence[int],
    dropouts: Mapping[str, float],
) -> None:
    """Sizes that fit together, blocks that exist, and probabilities ``dropouts``."""
    if reduction_factor < 1:
        raise ValueError(f"reduction_factor={reduction_factor} must be 1 or more")
    if heads < 1 or width % heads or (width // heads) % 2:
        raise ValueError(f"width={width} must be an even multiple of heads={heads}, which must be 1 or more")
    for name, probability in dropouts.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name}={probability} must be at least 0 and below 1")
    if any(layer not in range(layers) for layer in guided_layers):
        raise ValueError(f"guided_layers={list(guided_layers)}: blocks are numbered 0 to {layers - 1}")

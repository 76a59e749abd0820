"""How much arithmetic the model itself asks for: the numerator of model FLOPs utilisation."""

from __future__ import annotations

from torch import Tensor, nn

from melle.model.melle import Melle


def training_flops(network: Melle, text_lengths: Tensor, steps: Tensor) -> Tensor:
    """Floating-point operations of a forward and backward pass over rows of ``text_lengths`` and ``steps``, each (B,).

    Only what the model needs counts: matrix products and convolutions at true positions, and attention between the
    positions that may see each other; not padding, not what gradient checkpointing computes again. A multiply-add is
    two operations, the backward pass twice the forward. The result is a scalar (float32) on the lengths' device, so
    that asking does not make a GPU wait.
    """
    text_lengths, steps = text_lengths.long(), steps.long()
    positions = text_lengths + steps
    pairs = positions * (positions + 1) // 2
    if network.text_attention == "bidirectional":
        pairs = pairs + text_lengths * (text_lengths - 1) // 2
    frames = network.reduction_factor * steps
    width = network.bos.numel()
    multiply_adds = (
        _multiply_adds(network.blocks) * positions.sum()
        + 2 * width * len(network.blocks) * pairs.sum()  # q·k, and weights times v
        + _multiply_adds(network.prenet) * (steps - 1).sum()  # a row's first step reads <BOS>
        + (_multiply_adds(network.stop) + _multiply_adds(network.latent)) * steps.sum()
        + (0 if network.postnet is None else _multiply_adds(network.postnet)) * frames.sum()
    )
    return (3 * 2 * multiply_adds).float()


def _multiply_adds(module: nn.Module) -> int:
    """Of all matrices of a module at one position."""
    total = 0
    for part in module.modules():
        if isinstance(part, nn.Linear):
            total += part.in_features * part.out_features
        elif isinstance(part, nn.Conv1d):
            total += part.in_channels * part.out_channels * part.kernel_size[0]
    return total

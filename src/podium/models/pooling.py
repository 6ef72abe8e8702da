"""Average pooling to a fixed grid, the same on every device.

torch's own operation is missing on Apple's GPUs where the sizes do not divide, and its backward pass on NVIDIA's adds in an
order that changes from run to run. There, each grid cell is a weighted sum of rows and of columns: two products of matrices.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAIN = "cpu", "meta"  # devices on which torch's own operation is there and its backward pass adds in one order


def pool_to(x: Tensor, side: int) -> Tensor:
    """Average maps over the cells of a grid, as torch's `adaptive_avg_pool2d` does.

    Args:
        x: (N, C, H, W).
        side: cells of the grid along each side.

    Returns:
        (N, C, side, side), in the precision of x.
    """
    height, width = x.shape[-2:]
    if side == 1 or x.device.type in PLAIN:
        return F.adaptive_avg_pool2d(x, side)
    if height % side == 0 and width % side == 0:
        cell = height // side, width // side
        return x if cell == (1, 1) else F.avg_pool2d(x, cell)
    return by_matrices(x, side)


def by_matrices(x: Tensor, side: int) -> Tensor:
    """Average maps (N, C, H, W) over the cells of a grid by two products of matrices, in float32 at least."""
    wide = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        columns = x.to(wide) @ averaging(x.shape[-1], side, wide, x.device).T  # (N, C, H, side)
        return (averaging(x.shape[-2], side, wide, x.device) @ columns).to(x.dtype)


@lru_cache(maxsize=64)
def averaging(size: int, cells: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix (cells, size) of the averages of cell i, from pixel floor(i size / cells) to ceil((i + 1) size / cells)."""
    rows = []
    for cell in range(cells):
        first, end = cell * size // cells, -(-(cell + 1) * size // cells)
        rows.append([1 / (end - first) if first <= pixel < end else 0.0 for pixel in range(size)])
    with torch.inference_mode(False):  # the matrix is kept, also for passes that have gradients
        return torch.tensor(rows, dtype=dtype, device=device)


class MeanPool(nn.AdaptiveAvgPool2d):
    """nn.AdaptiveAvgPool2d to a grid of `output_size` cells along each side, by `pool_to`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: D102
        return pool_to(input, self.output_size)  # type: ignore[arg-type]

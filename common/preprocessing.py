"""From the emulator's screen to the network's observation: the only module that resizes or shifts images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from PIL import Image

IMAGE_SIZE = 84
"""Height and width of the observations of the networks."""


def preprocess_uint8(obs: np.ndarray | Image.Image, size: int | Sequence[int] = IMAGE_SIZE) -> np.ndarray:
    """Resize a screen: (H, W, 3) uint8 RGB, or a PIL image of any mode -> (3, size, size) uint8; `size` may be (h, w).

    Only this function resizes, with PIL's bilinear filter: recording, training and play must see the same pixels, and
    other libraries' filters give other pixels.

    Raises ValueError for an array of another shape or dtype.
    """
    if isinstance(obs, Image.Image):
        image = obs.convert("RGB")
    else:
        obs = np.asarray(obs)
        if obs.ndim != 3 or obs.shape[-1] != 3 or obs.dtype != np.uint8:
            raise ValueError(f"a screen is {obs.dtype} {obs.shape}, wanted uint8 (height, width, 3) RGB")
        image = Image.fromarray(obs)
    height, width = (size, size) if isinstance(size, int) else size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def screen_grey(screen: np.ndarray) -> np.ndarray:
    """Return the screen's luma at its own resolution: (H, W, 3) uint8 RGB -> (1, H, W) uint8.

    Grey screens, such as those of the first Game Boy, lose nothing.

    Raises ValueError for an array of another shape or dtype.
    """
    if screen.ndim != 3 or screen.shape[-1] != 3 or screen.dtype != np.uint8:
        raise ValueError(f"a screen is {screen.dtype} {screen.shape}, wanted uint8 (height, width, 3) RGB")
    return cv2.cvtColor(screen, cv2.COLOR_RGB2GRAY)[None]


def preprocess_observation(obs: np.ndarray | Image.Image) -> np.ndarray:
    """Resize a screen of any size, (H, W, 3) uint8 RGB or a PIL image -> (3, 84, 84) float32 in [0, 1].

    The result is that of `preprocess_uint8`, scaled. Raises ValueError for an array of another shape or dtype.
    """
    return preprocess_uint8(obs).astype(np.float32) / np.float32(255)


def random_shift(pictures: torch.Tensor, pad: int, generator: torch.Generator) -> torch.Tensor:
    """Shift each observation by up to `pad` pixels up, down, left or right, and fill the gap with the edge's pixels.

    This is the augmentation of DrQ (Kostrikov et al., 2020). Observations are never mirrored, because LEFT and RIGHT are
    labels.

    Args:
        pictures: (B, C, H, W), any dtype.
        pad: the largest shift, in pixels; 0 does nothing.
        generator: on the CPU, whatever the device of the observations; it draws two numbers for each.
    """
    if pad == 0:
        return pictures
    batch, channels, height, width = pictures.shape
    shifts = torch.randint(-pad, pad + 1, (2, batch, 1), generator=generator).to(pictures.device)
    rows = (torch.arange(height, device=pictures.device) + shifts[0]).clamp_(0, height - 1)
    columns = (torch.arange(width, device=pictures.device) + shifts[1]).clamp_(0, width - 1)
    pictures = pictures.gather(2, rows[:, None, :, None].expand(batch, channels, height, width))
    return pictures.gather(3, columns[:, None, None, :].expand(batch, channels, height, width))

"""Lossless compression of screens to a few bytes.

A handheld's screen has few colours, so a picture is stored as its palette and 1, 2, 4 or 8 bits per pixel, deflated. On 318
different screens of Tallgrass that took 0.94 kB each (PNG 2.1 kB, PNG with a palette 1.25 kB, lossless WebP 1.2 kB). Decoding
took less than half of PNG's time. A picture of more than 256 colours is deflated as it is.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

import cv2
import numpy as np

from common.runtime.archives import inflate

_HEADER = struct.Struct("<HHBB")  # height, width, bits per pixel (24: no palette), colours - 1
_NO_PALETTE = 24
_MOST_COLOURS = 256
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_PALETTE = 3  # the type of colours in a PNG's header
_LEVEL = 6
MOST_PIXELS = 1 << 24
"""A screen has fewer pixels. Without a limit, a few bytes that claim to be a larger picture could allocate gigabytes."""

_DIGITS = {
    bits: np.array([[byte >> shift & ((1 << bits) - 1) for shift in range(8 - bits, -1, -bits)] for byte in range(256)], np.uint8)
    for bits in (1, 2, 4, 8)
}
"""bits per pixel -> (256, pixels per byte): the pixels in each possible byte, the first in the highest bits."""


def picture_key(picture: np.ndarray) -> bytes:
    """Return the SHA-256 of a picture's shape and pixels, 32 bytes: two pictures with the same key are equal.

    Raises ValueError as `encode_picture` does.
    """
    _check(picture)
    digest = hashlib.sha256(struct.pack("<HH", *picture.shape[:2]))
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def encode_picture(picture: np.ndarray) -> bytes:
    """Encode an (H, W, 3) uint8 picture as bytes. Raises ValueError for another shape or dtype, or sides above 65535."""
    _check(picture)
    height, width = picture.shape[:2]
    palette, pixels = _palette(picture)
    if palette is None:
        return _HEADER.pack(height, width, _NO_PALETTE, 0) + zlib.compress(np.ascontiguousarray(picture).data, _LEVEL)
    bits = next(bits for bits in (1, 2, 4, 8) if len(palette) <= 1 << bits)
    per_byte = 8 // bits
    pixels = np.pad(pixels, (0, -len(pixels) % per_byte)).reshape(-1, per_byte)
    packed = pixels[:, 0].copy()
    for place in range(1, per_byte):
        packed <<= bits
        packed |= pixels[:, place]
    return _HEADER.pack(height, width, bits, len(palette) - 1) + palette.tobytes() + zlib.compress(packed.data, _LEVEL)


def encode_png(picture: np.ndarray) -> bytes:
    """Encode an (H, W, 3) uint8 picture as PNG: with a palette if it has few colours, which takes a quarter of the bytes.

    Raises ValueError as `encode_picture` does.
    """
    _check(picture)
    height, width = picture.shape[:2]
    palette, pixels = _palette(picture)
    if palette is None:
        right, png = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))
        assert right
        return png.tobytes()
    bits = next(bits for bits in (1, 2, 4, 8) if len(palette) <= 1 << bits)
    per_byte = 8 // bits
    rows = np.pad(pixels.reshape(height, width), ((0, 0), (0, -width % per_byte))).reshape(height, -1, per_byte)
    packed = np.zeros((height, 1 + rows.shape[1]), np.uint8)  # the first byte of each row names its filter: none
    for place in range(per_byte):
        packed[:, 1:] |= rows[:, :, place] << np.uint8(8 - bits * (place + 1))
    colours = palette.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, _PNG_PALETTE, 0, 0, 0)), (b"PLTE", colours),
        (b"IDAT", zlib.compress(packed.data, _LEVEL)), (b"IEND", b""),
    )  # fmt: skip
    whole = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    return _PNG_MAGIC + b"".join(whole)


def decode_picture(data: bytes) -> np.ndarray:
    """Decode the (H, W, 3) uint8 picture that `encode_picture` was given. Raises ValueError if `data` is not one of its results."""
    try:
        height, width, bits, colours = _HEADER.unpack_from(data)
        if not 0 < height * width <= MOST_PIXELS:
            raise ValueError(f"it says that it is {height}x{width} pixels")
        if bits == _NO_PALETTE:
            size = height * width * 3
            return np.frombuffer(inflate(data[_HEADER.size :], size), np.uint8).reshape(height, width, 3)
        palette_end = _HEADER.size + 4 * (colours + 1)
        palette = np.zeros((256, 4), np.uint8)  # all indices that a byte can hold, so that no data reads outside it
        palette[: colours + 1] = np.frombuffer(data[_HEADER.size : palette_end], np.uint8).reshape(-1, 4)
        digits = _DIGITS[bits]
        packed = np.frombuffer(inflate(data[palette_end:], -(-height * width * bits // 8)), np.uint8)
        # One look-up per byte fetches all its pixels at once, some ten times faster than one per pixel.
        pixels_of = palette[digits, :3].reshape(256, -1).view(f"V{3 * 8 // bits}").ravel()
        return pixels_of[packed].view(np.uint8)[: height * width * 3].reshape(height, width, 3)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise ValueError(f"not an encoded picture, or a damaged one ({error})") from error


def _palette(picture: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the colours, (n,) uint32 RGBA in order of appearance, and each pixel's index, (H*W,) uint8; None above 256 colours."""
    flat = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2RGBA).view("<u4").ravel()
    pixels = np.zeros(len(flat), np.uint8)
    left = np.ones(len(flat), bool)
    colours: list[int] = []
    while left.any():
        if len(colours) == 16:  # one search per colour is fast only for few colours
            palette, places = np.unique(flat, return_inverse=True)
            return (palette if len(palette) <= _MOST_COLOURS else None), places.astype(np.uint8)
        colour = flat[int(left.argmax())]
        same = flat == colour
        np.copyto(pixels, np.uint8(len(colours)), where=same)
        left &= ~same
        colours.append(int(colour))
    return np.array(colours, "<u4"), pixels


def _check(picture: np.ndarray) -> None:
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture is {picture.dtype} {picture.shape}, wanted uint8 (height, width, 3)")
    if not 0 < max(picture.shape[:2]) <= 0xFFFF or 0 in picture.shape or picture.size > 3 * MOST_PIXELS:
        raise ValueError(f"a picture has shape {picture.shape}, wanted sides of 1 to 65535, and at most {MOST_PIXELS:,} pixels")

"""A ROM: its bytes and its header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pokemon_env.bounded_files import read_file
from pokemon_env.errors import RomError

BUNDLED_ROM = Path(__file__).resolve().parent.parent / "tallgrass" / "tallgrass.gb"

_MOST_BYTES = 1 << 26
"""Bytes of a ROM, at most; the largest cartridges of the Game Boy Advance have half as many."""


@dataclass(frozen=True)
class RomHeader:
    """The contents of a ROM's header, by which a game is recognised."""

    system: str  # "gb" (Game Boy and Game Boy Color) or "gba"
    title: str  # as in the header, without the padding
    sha256: str  # of the whole file
    size: int  # bytes in the file
    color: bool = False  # made for (or able to use) a Game Boy Color
    cartridge_type: int = 0  # the byte at 0x147: which memory controller, with RAM or battery or not
    ram_size_code: int = 0  # the byte at 0x149
    code: str = ""  # a GBA game's four letters
    version: int = 0
    header_checksum: int = 0
    global_checksum: int = 0

    @classmethod
    def parse(cls, data: bytes, name: str = "ROM") -> RomHeader:
        """Read the header of a ROM image; errors call it `name`.

        Raises RomError if this is neither a Game Boy nor a Game Boy Advance ROM, or an incomplete one.
        """
        if len(data) >= 0xC0 and _is_gba(data):
            return cls(
                system="gba",
                title=_text(data[0xA0:0xAC]),
                code=_text(data[0xAC:0xB0]),
                version=data[0xBC],
                header_checksum=data[0xBD],
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
            )
        if len(data) < 0x8000:
            raise RomError(
                f"{name} is too short for a Game Boy ROM: {len(data)} bytes, the smallest has 32768. "
                "Is the file cut off, or is it something else?"
            )
        checksum = 0
        for byte in data[0x134:0x14D]:
            checksum = (checksum - byte - 1) & 0xFF
        if checksum != data[0x14D]:
            raise RomError(
                f"{name} is not a Game Boy ROM: its header checksum is 0x{data[0x14D]:02X}, computed 0x{checksum:02X}. "
                "Give an uncompressed .gb or .gbc file."
            )
        if data[0x148] > 8:
            raise RomError(f"{name} has an unknown ROM size code in its header: 0x{data[0x148]:02X}, known are 0 to 8.")
        if data[0x149] > 5:  # PyBoy's word for it is a KeyError
            raise RomError(f"{name} has an unknown RAM size code in its header: 0x{data[0x149]:02X}, known are 0 to 5.")
        size = 0x8000 << data[0x148]
        if len(data) < size:
            raise RomError(f"{name} is cut off: {len(data)} bytes, and its header says {size}. Copy the file again.")
        color = bool(data[0x143] & 0x80)
        return cls(
            system="gb",
            title=_text(data[0x134 : 0x143 if color else 0x144]),
            color=color,
            cartridge_type=data[0x147],
            ram_size_code=data[0x149],
            version=data[0x14C],
            header_checksum=data[0x14D],
            global_checksum=data[0x14E] << 8 | data[0x14F],
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
        )


@dataclass(frozen=True)
class Rom:
    """A ROM's bytes with its header read."""

    path: Path
    header: RomHeader
    data: bytes = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> Rom:
        """Read a ROM file. Raises RomError if it is missing, unreadable or not a ROM."""
        path = Path(path)
        if path.is_dir():
            raise RomError(f"the ROM {path} is a folder: give the .gb file itself.")
        try:
            data = read_file(path, _MOST_BYTES)
        except FileNotFoundError:
            raise RomError(
                f"there is no ROM file {path}: check the path, or give none for the bundled game (which `make rom` builds)."
            ) from None
        except OSError as error:
            raise RomError(f"the ROM file {path} cannot be read: {error.strerror}.") from error
        if path.suffix.lower() == ".gba" and not (len(data) >= 0xC0 and _is_gba(data)):
            raise RomError(f"{path} is no Game Boy Advance ROM, though its name ends in .gba: its header is damaged.")
        return cls(path, RomHeader.parse(data, str(path)), data)


def _is_gba(data: bytes) -> bool:
    """Return whether the fixed byte and the header's checksum are right; by chance, both are in one file of 65536."""
    return data[0xB2] == 0x96 and (-sum(data[0xA0:0xBD]) - 0x19) & 0xFF == data[0xBD]


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace").strip()

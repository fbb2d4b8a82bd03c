#!/usr/bin/env python3
"""Check what the compiler and the linker made.

check_rom.py BUILD              the program fits below 0x8000, the copy routines lie in bank 0, data below 0xD000
check_rom.py --assembly BUILD   no constant was pushed wrongly (a fault of SDCC 4.2.0)
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path


def faults_in_assembly(build: Path) -> list[str]:
    """Places where SDCC 4.2.0 pushed a 16-bit constant as "scf; push af"."""
    sources = sorted(build.glob("*.asm"))
    if not sources:
        return [f"{build}: no assembly (*.asm) to look at"]
    problems = []
    for source in sources:
        lines = [line.split(";")[0].split() for line in source.read_text().splitlines()]
        lines = [(number, words) for number, words in enumerate(lines, 1) if words]
        for (_, first), (number, second) in zip(lines, lines[1:], strict=False):
            if first == ["scf"] and second == ["push", "af"]:
                problems.append(f"{source}:{number}: the compiler pushed a constant wrongly; put it in a variable")
    return problems


def faults_in_map(build: Path) -> list[str]:
    """What does not lie where it must; prints the sizes if all is well."""
    text = (build / "tallgrass.map").read_text()
    areas = {
        m[1]: (int(m[2], 16), int(m[3], 16)) for m in re.finditer(r"^(_[A-Z0-9_]+)\s+([0-9A-F]{8})\s+([0-9A-F]{8})\s*=", text, re.M)
    }
    symbols = {m[2]: int(m[1], 16) for m in re.finditer(r"^\s+([0-9A-F]{8})\s+(\w+)", text, re.M)}
    problems = []
    code_end = max(start + size for start, size in areas.values() if 0x200 <= start < 0x8000 and size)
    if code_end > 0x8000:
        problems.append(f"the program ends at {code_end:#06x}, past 0x8000: move code or tables to another bank")
    data_end = max((start + size for start, size in areas.values() if 0xC800 <= start < 0xE000), default=0)
    if data_end > 0xD000:
        problems.append(f"variables end at {data_end:#06x}, past 0xD000, where the buffers begin")
    for name in ("_copy_run", "_copy_run_video", "_halt_cpu"):
        if symbols.get(name, 0xFFFF) >= 0x4000:
            problems.append(f"{name} is not in bank 0")
    if not problems:
        banks = ", ".join(f"{n[1:]} {size}" for n, (_, size) in sorted(areas.items()) if n.startswith("_CODE_"))
        print(f"program ends at {code_end:#06x} of 0x8000; {banks} of 16384 bytes each; variables end at {data_end:#06x}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assembly", action="store_true", help="look at the assembly instead of the linker's map")
    parser.add_argument("build", type=Path, help="the build folder")
    args = parser.parse_args()
    problems = faults_in_assembly(args.build) if args.assembly else faults_in_map(args.build)
    for problem in problems:
        print(f"check_rom.py: {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Check the linker's map: the program fits below 0x8000, the copy routines lie in bank 0, data stays below 0xD000."""

import re
import sys
from pathlib import Path


def main() -> int:
    build = Path(sys.argv[1])
    text = (build / "tallgrass.map").read_text()
    areas = {
        m[1]: (int(m[2], 16), int(m[3], 16))
        for m in re.finditer(r"^(_[A-Z0-9_]+)\s+([0-9A-F]{8})\s+([0-9A-F]{8})\s*=", text, re.M)
    }
    symbols = {m[2]: int(m[1], 16) for m in re.finditer(r"^\s+([0-9A-F]{8})\s+(\w+)", text, re.M)}
    problems = []
    code_end = max(start + size for name, (start, size) in areas.items() if 0x200 <= start < 0x8000 and size)
    if code_end > 0x8000:
        problems.append(f"the program ends at {code_end:#06x}, past 0x8000: move code or tables to another bank")
    data_end = max((start + size for start, size in areas.values() if 0xC800 <= start < 0xE000), default=0)
    if data_end > 0xD000:
        problems.append(f"variables end at {data_end:#06x}, past 0xD000, where the buffers begin")
    for name in ("_copy_run", "_copy_run_video", "_halt_cpu"):
        if symbols.get(name, 0xFFFF) >= 0x4000:
            problems.append(f"{name} is not in bank 0")
    for problem in problems:
        print(f"check_rom.py: {problem}", file=sys.stderr)
    if not problems:
        banks = ", ".join(f"{n[1:]} {size}" for n, (start, size) in sorted(areas.items()) if n.startswith("_CODE_"))
        print(f"program and tables end at {code_end:#06x} of 0x8000; {banks} of 16384 bytes each; variables end at {data_end:#06x}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

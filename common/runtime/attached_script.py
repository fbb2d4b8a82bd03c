"""Runs a script that ends with the process that started it: `python -P attached_script.py SCRIPT FLAGS...`.

Whoever starts it holds the other end of its standard input. When that process is gone, however it ended (SIGKILL gives nobody
the time to end his children), the input is at its end, and the script gets a SIGTERM, upon which it saves what it has.
"""

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

SECONDS_TO_SAVE = 60
"""Then it is ended even if it does not heed the signal."""


def end_with_parent() -> None:
    """Wait for the end of standard input, and end this process."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    script, *flags = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = [script, *flags]
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")

"""Runs a script that ends with the process that started it: `python -P attached_script.py SCRIPT FLAGS...`.

The parent holds the other end of our standard input. When the parent dies, even by SIGKILL, which leaves no time to stop
children, we read end-of-file and send ourselves SIGTERM, so that the script saves what it has.
"""

import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path

SECONDS_TO_SAVE = 60
"""After this time the script is ended even if it ignores the signal."""


def end_with_parent() -> None:
    """Wait for the end of standard input, then end this process."""
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

"""Run a command with a share of a processor's time: stopped and continued in turn, as a quota does it.

python benchmarks/throttled.py 0.3 python standalone.py
"""

import os
import signal
import subprocess
import sys
import time

PERIOD_SECONDS = 0.1  # the kernel's own, of a cgroup's quota


def main() -> int:
    share, command = float(sys.argv[1]), sys.argv[2:]
    process = subprocess.Popen(command, start_new_session=True)
    while process.poll() is None:
        time.sleep(share * PERIOD_SECONDS)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep((1 - share) * PERIOD_SECONDS)
            os.killpg(process.pid, signal.SIGCONT)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())

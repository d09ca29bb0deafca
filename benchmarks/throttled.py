"""Run a command with a share of a processor's time: stopped and continued in turn, as a quota does it.

python benchmarks/throttled.py 0.3 python standalone.py
"""

import argparse
import os
import signal
import subprocess
import sys
import time

PERIOD_SECONDS = 0.1  # the kernel's own, of a cgroup's quota


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("share", type=float, help="of the time, between 0 and 1")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="to run")
    options = parser.parse_args()
    share = options.share
    process = subprocess.Popen(options.command, start_new_session=True)
    while process.poll() is None:
        time.sleep(share * PERIOD_SECONDS)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep((1 - share) * PERIOD_SECONDS)
            os.killpg(process.pid, signal.SIGCONT)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())

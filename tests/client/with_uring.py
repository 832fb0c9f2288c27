"""Runs a program while mounts may use FUSE over io_uring.

with_uring.py DIRECTORY PROGRAM [ARGUMENT...]; DIRECTORY: tests/mount."""

import subprocess
import sys

sys.path.insert(0, sys.argv[1])
import cleanup  # noqa: E402
import uring_switch  # noqa: E402

try:
    uring_switch.switch_uring(True)
    status = subprocess.run(sys.argv[2:], check=False).returncode
finally:
    cleanup.clean_up()
sys.exit(status if status >= 0 else 1)

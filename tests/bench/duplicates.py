"""Writes to a file and closes duplicates of its descriptor until it is killed: duplicates.py FILE

A close does not tell whether it is the last one; here none is. The pause leaves the machine to
others.
"""

import os
import sys
import time

PAUSE = 0.0005  # seconds


def main():
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    while True:
        duplicate = os.dup(descriptor)
        os.write(duplicate, b"x")
        os.close(duplicate)
        time.sleep(PAUSE)


main()

"""Repeatedly makes a file of a size, with O_DIRECT, until it is killed: writer.py FILE BYTES"""

import mmap
import os
import sys

CHUNK = 1 << 20


def main():
    path, size = sys.argv[1], int(sys.argv[2])
    memory = mmap.mmap(-1, CHUNK)
    memory.write(os.urandom(CHUNK))
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT, 0o644)
        for _ in range(0, size, CHUNK):
            os.write(descriptor, memory)
        os.close(descriptor)
        os.unlink(path)


main()

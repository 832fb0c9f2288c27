"""Inodes live as long as the kernel knows them: names that are removed while in use."""

import errno
import os
import stat
import subprocess
import sys

import harness
from harness import MIB, content

REPLACEMENTS = 2000 if harness.LONG else 150
REPLACERS = 2

REPLACE = """
import os, sys
directory, number, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(count):
    with open(f"{directory}/new{number}", "w") as file:
        file.write(number)
    os.rename(f"{directory}/new{number}", f"{directory}/name")
"""


class Inodes(harness.MountTest):
    def test_replaced_all_the_time(self):
        """a repeatedly replaced name always exists: no open fails, each reads complete content"""
        path = self.root / "name"
        path.write_text("0")
        replacers = [subprocess.Popen([sys.executable, "-c", REPLACE, self.root, str(number), str(REPLACEMENTS)])
                     for number in range(REPLACERS)]
        opens = 0
        while opens < REPLACEMENTS or any(replacer.poll() is None for replacer in replacers):
            self.assertIn(path.read_text(), ("0", "1"))
            opens += 1
        for replacer in replacers:
            self.assertEqual(replacer.wait(), 0)

    def test_removed_open_directory(self):
        """a directory that is removed while open: no names, no links, changeable attributes"""
        for end in ("removed", "replaced"):
            with self.subTest(end):
                path, other = self.root / "d", self.root / "e"
                path.mkdir()
                directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    if end == "removed":
                        path.rmdir()
                    else:
                        other.mkdir()
                        other.rename(path)
                    self.assertEqual(os.fstat(directory).st_nlink, 0)
                    self.assertEqual(os.listdir(directory), [])
                    os.fchmod(directory, 0o700)
                    self.assertEqual(stat.S_IMODE(os.fstat(directory).st_mode), 0o700)
                    os.setxattr(directory, "user.mpool.class", b"capacity")
                    os.setxattr(directory, "user.x", b"y")
                    with self.fails_with(errno.ENOENT):
                        os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
                    with self.fails_with(errno.ENOENT):
                        os.stat("f", dir_fd=directory)
                finally:
                    os.close(directory)
        # No part of it is on the media.
        self.mnt.remount()
        self.assertEqual(os.listdir(self.root), ["d"])

    def test_unlinked(self):
        """a descriptor that opens nothing keeps an unlinked file, too, and its space"""
        path = self.write_file("f", content(1, 8 * MIB))
        before = self.mnt.free_blocks()
        descriptor = os.open(path, os.O_PATH)
        try:
            path.unlink()
            facts = os.fstat(descriptor)
            self.assertEqual((facts.st_nlink, facts.st_size), (0, 8 * MIB))
            with open(f"/proc/self/fd/{descriptor}", "rb") as file:
                self.assertEqual("none", harness.differences(content(1, 8 * MIB), file.read()))
        finally:
            os.close(descriptor)
        self.mnt.wait_for_free_blocks(before + 1)

    def test_listed(self):
        """listed names that are gone when opened, and listed again: no leak keeps their space"""
        free = self.mnt.free_blocks()
        for number in range(100):
            (self.root / f"f{number}").write_bytes(b"x" * 100)
        for _ in range(3):
            harness.drop_caches()
            self.assertEqual(sum(entry.stat().st_size for entry in os.scandir(self.root)), 10_000)
        for number in range(100):
            (self.root / f"f{number}").unlink()
        self.mnt.wait_for_free_blocks(free)


if __name__ == "__main__":
    harness.main()

"""What mpoolfs(5) says is refused on purpose: each row of its table is tried."""

import errno
import fcntl
import mmap
import os
import pathlib
import struct

import harness
from harness import MIB
from system_calls import fallocate, link_descriptor

PAGE = pathlib.Path(__file__).resolve().parents[2] / "man" / "mpoolfs.5.scd"
HEADING = "# REFUSED ON PURPOSE\n"
COLUMNS = 4
LEAST_ROWS = 16
FICLONE, FS_IOC_SETFLAGS = 0x40049409, 0x40086602
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE = 1, 2, 16


def rows():
    """(call, when, errors, why) of each row."""
    section = PAGE.read_text().partition(HEADING)[2].partition("\n# ")[0]
    cells = []
    for line in section.split("\n"):
        if line.startswith("|  "):
            cells.append([line[3:]])
        elif line.startswith(":  "):
            cells[-1].append(line[3:])
    return [tuple(row) for row in cells]


class Refused(harness.MountTest):
    """attempts(): what each row of the table stands for, each call on its own."""

    def descriptor(self, path, flags):
        descriptor = os.open(path, flags, 0o644)
        self.addCleanup(os.close, descriptor)
        return descriptor

    def attempts(self):
        committed = self.write_file("committed", b"data")
        log = self.append_file("log", b"line\n")
        control, directory = self.mnt.path(".mpool"), self.root / "directory"
        directory.mkdir()
        written = self.descriptor(self.root / "written", os.O_RDWR | os.O_CREAT)
        os.write(written, bytes(MIB))
        appended = self.descriptor(log, os.O_RDWR)
        reader = self.descriptor(committed, os.O_RDONLY)
        unnamed = os.open(self.root, os.O_TMPFILE | os.O_RDWR)
        nameless = self.descriptor(f"/proc/self/fd/{unnamed}", os.O_RDONLY)
        os.close(unnamed)
        return {
            ("open", "a committed file, for writing or with O_TRUNC, by root, too"): [
                lambda flags=flags: os.open(committed, flags)
                for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC)],
            ("truncate", "a committed file, to any length"): [
                lambda size=size: os.truncate(committed, size) for size in (0, 2, 4, 100)],
            ("truncate", "a log, to another length than 0"): [
                lambda size=size: os.ftruncate(appended, size) for size in (2, 100)],
            ("write", "over bytes that are on the device"): [lambda: os.pwrite(written, b"again", 4096)],
            ("write", "a log, at another offset than its end"): [
                lambda offset=offset: os.pwrite(appended, b"x", offset) for offset in (0, 3, 100)],
            ("mmap", "a log"): [lambda: mmap.mmap(appended, 4, mmap.MAP_SHARED, mmap.PROT_READ),
                                lambda: mmap.mmap(appended, 4, mmap.MAP_SHARED, mmap.PROT_WRITE)],
            ("mmap", "a file that is being written, with MAP_SHARED"): [
                lambda: mmap.mmap(written, 4096, mmap.MAP_SHARED, mmap.PROT_READ)],
            ("fallocate", "another mode than 0 and FALLOC_FL_KEEP_SIZE"): [
                lambda mode=mode: fallocate(written, mode, 0, 4096)
                for mode in (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE)],
            ("fallocate", "a log"): [lambda: fallocate(appended, 0, 0, 4096)],
            ("ioctl", "FICLONE of any file"): [lambda: fcntl.ioctl(written, FICLONE, reader)],
            ("ioctl", "FS_IOC_SETFLAGS (chattr) of any file"): [
                lambda: fcntl.ioctl(reader, FS_IOC_SETFLAGS, struct.pack("i", 0x10))],
            ("setxattr", "a name that does not begin with user."): [
                lambda name=name: os.setxattr(committed, name, b"x") for name in ("trusted.x", "security.x")],
            ("setxattr", "a fact, such as user.mpool.type"): [
                lambda name=name: os.setxattr(committed, name, b"x")
                for name in ("user.mpool.type", "user.mpool.objects", "user.mpool.committed")],
            ("linkat", "a file without a name, after its last writing descriptor was closed"): [
                lambda: link_descriptor(nameless, self.root / "new")],
            ("mkdir, open", "new names in .mpool"): [
                lambda: os.mkdir(control / "new"), lambda: os.open(control / "new", os.O_WRONLY | os.O_CREAT)],
            ("rename", ".mpool, or to that name"): [
                lambda: os.rename(control, self.root / "new"), lambda: os.rename(directory, control)],
        }

    def test_table(self):
        """each row of the page's table, and no other call, is refused with its error"""
        table = rows()
        self.assertGreaterEqual(len(table), LEAST_ROWS)
        self.assertEqual({len(row) for row in table}, {COLUMNS})
        attempts = self.attempts()
        self.assertEqual(sorted(attempts), sorted((call, when) for call, when, _, _ in table))
        for call, when, error, _ in table:
            for number, attempt in enumerate(attempts[call, when]):
                with self.subTest(call, when=when, number=number), self.fails_with(getattr(errno, error)):
                    attempt()
        self.assertEqual(sorted(os.listdir(self.root)), ["committed", "directory", "log", "written"])
        self.assertEqual((self.root / "committed").read_bytes(), b"data")
        self.assertEqual((self.root / "log").read_bytes(), b"line\n")


if __name__ == "__main__":
    harness.main()

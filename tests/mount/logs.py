"""Append-only files."""

import errno
import mmap
import os
import subprocess
import sys

import harness
from harness import MIB, content, run, shell

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND

# Appends `count` lines with the writer's letter and a number, one write each.
WRITER = """
import os, sys
path, letter, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for number in range(count):
    line = f"{letter} {number} ".encode() + letter.encode() * (number * 37 % 3000) + b"\\n"
    assert os.write(file, line) == len(line)
os.close(file)
"""


class Logs(harness.MountTest):
    def test_append(self):
        """>> adds at the end, also after a remount"""
        log = self.root / "log"
        for number in range(5):
            shell(f"echo {number} >> {log}")
            self.assertEqual(log.stat().st_size, 2 * (number + 1))
        self.mnt.remount()
        shell(f"echo 5 >> {log}")
        self.assertEqual(log.read_text(), "".join(f"{number}\n" for number in range(6)))
        self.assertEqual(self.xattr(log, "user.mpool.type"), "mlog")

    def test_several_writers(self):
        """appends of several processes never mix"""
        log = self.root / "log"
        writers = [subprocess.Popen([sys.executable, "-c", WRITER, log, letter, "400"])
                   for letter in "abcd"]
        for writer in writers:
            self.assertEqual(writer.wait(), 0)
        lines = log.read_bytes().splitlines(keepends=True)
        self.assertEqual(len(lines), 1600)
        following = dict.fromkeys("abcd", 0)
        for line in lines:
            letter = line[:1].decode()
            number = following[letter]
            following[letter] += 1
            self.assertEqual(line, f"{letter} {number} ".encode() +
                             letter.encode() * (number * 37 % 3000) + b"\n")

    def test_reader_sees_appends(self):
        """what is appended is visible at once to readers that are open, at any offset"""
        log = self.append_file("log", b"0123456789")
        with open(log, "rb", buffering=0) as reader:
            self.assertEqual(reader.read(100), b"0123456789")
            self.assertEqual(reader.read(100), b"")
            self.append_file("log", b"abc")
            self.assertEqual(reader.read(100), b"abc")
            self.assertEqual(os.pread(reader.fileno(), 5, 8), b"89abc"[:5])
            self.assertEqual(os.fstat(reader.fileno()).st_size, 13)

    def test_read_write_descriptor(self):
        """one descriptor appends and reads"""
        file = os.open(self.root / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(file, b"hello ")
        os.write(file, b"world")
        self.assertEqual(os.pread(file, 100, 0), b"hello world")
        os.close(file)

    def test_synchronous(self):
        """O_SYNC and O_DSYNC appends survive kill -9 at once"""
        for flag in (os.O_SYNC, os.O_DSYNC):
            path = self.root / f"log{flag}"
            file = os.open(path, APPEND | flag, 0o644)
            os.write(file, b"durable")
            self.mnt.kill_daemon()
            harness.close_after_kill(file)
            self.mnt.crash()
            self.assertEqual(path.read_bytes(), b"durable")

    def test_fsync(self):
        """fsynced appends survive kill -9"""
        path = self.root / "log"
        file = os.open(path, APPEND, 0o644)
        for number in range(100):
            os.write(file, content(number, 1000))
        os.fsync(file)
        self.mnt.kill_daemon()
        harness.close_after_kill(file)
        self.mnt.crash()
        self.assertEqual(path.read_bytes(), b"".join(content(number, 1000) for number in range(100)))

    def test_offsets(self):
        """without O_APPEND a write goes to the end or fails with EINVAL"""
        log = self.append_file("log", b"12345")
        file = os.open(log, os.O_WRONLY)
        for offset in (0, 4, 6, 100):
            with self.fails_with(errno.EINVAL):
                os.pwrite(file, b"x", offset)
        os.pwrite(file, b"67", 5)
        os.close(file)
        self.assertEqual(log.read_bytes(), b"1234567")

    def test_growth(self):
        """a log grows over several mlogs, is read at any offset, and is freed as a whole"""
        free = self.mnt.free_blocks()
        data = content(1, 6 * MIB + 999)
        file = os.open(self.root / "log", APPEND, 0o644)
        at = 0
        for size in [1, 100_000, 65536, 4095, MIB // 2] * 100:
            if at == len(data):
                break
            at += os.write(file, data[at:at + size])
        os.close(file)
        log = self.root / "log"
        self.assertGreater(len(self.xattr(log, "user.mpool.objects").split()), 1)
        for _ in range(2):
            self.assertEqual(log.stat().st_size, at)
            self.assertEqual(log.read_bytes(), data[:at])
            with open(log, "rb", buffering=0) as reader:
                for offset in range(0, at, 333_333):
                    self.assertEqual(os.pread(reader.fileno(), 5000, offset),
                                     data[offset:offset + 5000])
            self.mnt.remount()
        shell(f"echo more >> {log}")
        self.assertEqual(log.read_bytes(), data[:at] + b"more\n")
        log.unlink()
        self.mnt.wait_for_free_blocks(free)

    def test_truncate(self):
        """truncating to 0 erases, to any other length is EPERM"""
        log = self.append_file("log", content(1, 100_000))
        for size in (1, 100_000, 200_000):
            with self.fails_with(errno.EPERM):
                os.truncate(log, size)
        run("truncate", "-s", "0", log)
        self.assertEqual(log.stat().st_size, 0)
        self.assertEqual(log.read_bytes(), b"")
        shell(f"echo new >> {log}")
        self.assertEqual(log.read_text(), "new\n")
        shell(f"echo newer > {log}")
        self.assertEqual(log.read_text(), "newer\n")
        self.mnt.remount()
        self.assertEqual(log.read_text(), "newer\n")
        self.assertEqual(self.xattr(log, "user.mpool.type"), "mlog")

    def test_truncate_frees(self):
        """erasing a grown log frees all but its first mlog"""
        log = self.append_file("log", b"x")
        free = self.mnt.free_blocks()
        for number in range(50):
            self.append_file("log", content(number, 100_000))
        self.assertLess(self.mnt.free_blocks(), free)
        os.truncate(log, 0)
        self.mnt.wait_for_free_blocks(free)
        self.append_file("log", b"again")
        self.assertEqual(log.read_bytes(), b"again")

    def test_no_shared_mapping(self):
        """a shared mapping fails with ENODEV"""
        log = self.append_file("log", b"x" * 5000)
        with open(log, "rb") as file, self.fails_with(errno.ENODEV):
            mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)

    def test_copy_out(self):
        """cp, cat and tail of a log"""
        data = b"".join(f"line {number}\n".encode() for number in range(20_000))
        log = self.append_file("log", data)
        out = harness.temporary_directory() / "out"
        run("cp", log, out)
        self.assertEqual(out.read_bytes(), data)
        self.assertEqual(run("tail", "-n", "1", log).stdout, "line 19999\n")
        run("cp", log, self.root / "copy")
        self.assertEqual((self.root / "copy").read_bytes(), data)
        self.assertEqual(self.xattr(self.root / "copy", "user.mpool.type"), "mblock")

    def test_append_to_deleted(self):
        """an unlinked log can be appended to and read until it is closed"""
        free = self.mnt.free_blocks()
        file = os.open(self.root / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(file, b"one ")
        (self.root / "log").unlink()
        os.write(file, b"two")
        self.assertEqual(os.pread(file, 100, 0), b"one two")
        os.close(file)
        self.mnt.wait_for_free_blocks(free)


if __name__ == "__main__":
    harness.main()

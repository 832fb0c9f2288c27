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
        """appended bytes are visible at once to open readers, at any offset"""
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

    def test_order(self):
        """a rename, and an fsync of another file, are never present without earlier appends"""
        for number in range(10):
            self.append_file("new", b"line %d" % number)
            os.rename(self.root / "new", self.root / f"log{number}")
            file = os.open(self.root / f"file{number}", os.O_WRONLY | os.O_CREAT)
            os.write(file, b"x")
            os.fsync(file)
            os.close(file)
        self.mnt.crash()
        for number in range(10):
            self.assertEqual((self.root / f"log{number}").read_bytes(), b"line %d" % number)

    def test_size_after_remount(self):
        """the sizes of many closed logs are right after a remount and after kill -9"""
        for number in range(100):
            self.append_file(f"log{number}", content(number, number * 10 + 1))
        for again in (self.mnt.remount, self.mnt.crash):
            file = os.open(self.root / "synced", APPEND, 0o644)
            os.write(file, b"x")
            os.fsync(file)
            os.close(file)
            again()
            for number in range(100):
                self.assertEqual((self.root / f"log{number}").stat().st_size, number * 10 + 1)


class DamagedLogs(harness.MountTest):
    """One flipped bit in a block of an append-only file, beside intact files."""

    LINES = 100
    BLOCK = 30

    def setUp(self):
        super().setUp()
        (self.root / "sound").write_bytes(b"precious")
        self.log = self.root / "log"
        for number in range(self.LINES):
            self.append_file("log", b"%0999d\n" % number)
        self.data = self.log.read_bytes()
        self.mlog = self.xattr(self.log, "user.mpool.objects").split()[0]
        self.mnt.umount()
        # Damage made by another test makes it end with 1.
        dump = run(harness.MPOOL, "dump", self.mnt.pool, check=False).stdout
        line = next(line for line in dump.splitlines() if f"objid={self.mlog} " in line)
        self.start = int(line.split(" zone=")[1].split()[0]) * MIB

    def flip(self, byte, block=BLOCK):
        """A bit of a byte of the block, the first of the header being 0."""
        with open(self.mnt.pool, "r+b") as image:
            at = self.start + block * 512 + byte
            image.seek(at)
            old = image.read(1)[0]
            image.seek(at)
            image.write(bytes([old ^ 1]))

    def readable(self):
        """The readable content of the log, up to the error that must follow."""
        data = b""
        with open(self.log, "rb", buffering=0) as file, self.fails_with(errno.EIO):
            while part := os.pread(file.fileno(), 1000, len(data)):
                data += part
        return data

    def expect_damaged(self):
        for _ in range(3):
            names = sorted(entry.name for entry in os.scandir(self.root))
            self.assertEqual(names, ["log", "sound"])
            listing = run("ls", "-l", self.root).stdout
            self.assertIn(f" {len(self.data)} ", listing)
        self.assertEqual((self.root / "sound").read_bytes(), b"precious")
        self.assertTrue(self.data.startswith(self.readable()))
        with self.fails_with(errno.EIO):
            self.append_file("log", b"more")
        lines = self.mnt.log().splitlines()
        messages = [line for line in lines if "append-only file, inode" in line]
        self.assertEqual(len(messages), 1, messages)
        self.assertIn(f"inode {self.log.stat().st_ino}", messages[0])

    def clear_log(self):
        self.mnt.log_path.write_text("")

    def test_whole_when_the_block_is_back(self):
        """reading ends with EIO at the damage, nothing is overwritten, check reports it"""
        self.clear_log()
        self.flip(5)  # its magic
        check = run(harness.MPOOL, "check", "--data", self.mnt.pool, check=False)
        self.assertEqual(check.returncode, 4, check.stdout)
        self.mnt.mount()
        self.expect_damaged()
        self.mnt.umount()
        self.clear_log()
        self.mnt.mount("ro")
        self.assertTrue(self.data.startswith(self.readable()))
        self.assertEqual(self.log.stat().st_size, len(self.data))
        self.mnt.umount()
        self.flip(5)
        self.mnt.mount()
        self.assertEqual(self.log.read_bytes(), self.data)
        self.append_file("log", b"more")
        self.assertEqual(self.log.read_bytes(), self.data + b"more")

    def test_lost_end(self):
        """a lost end is not treated as a torn flush"""
        with open(self.mnt.pool, "rb") as image:
            image.seek(self.start)
            blocks = image.read(MIB)
        last = max(at // 512 for at in range(0, MIB, 512) if any(blocks[at:at + 512]))
        self.clear_log()
        self.flip(5, last)
        check = run(harness.MPOOL, "check", self.mnt.pool, check=False)
        self.assertEqual(check.returncode, 4, check.stdout)
        self.assertIn(f"mlog {self.mlog} ", check.stdout)
        self.mnt.mount()
        self.expect_damaged()
        self.mnt.umount()
        self.flip(5, last)
        self.mnt.mount()
        self.assertEqual(self.log.read_bytes(), self.data)

    def test_names(self):
        """a damaged log is renamed, gets attributes, is emptied and removed"""
        self.clear_log()
        self.flip(46)  # the type of its first chunk
        self.mnt.mount()
        self.expect_damaged()
        self.log.chmod(0o600)
        os.setxattr(self.log, "user.x", b"1")
        os.rename(self.log, self.root / "other")
        os.link(self.root / "other", self.log)
        (self.root / "other").unlink()
        run("du", "-a", self.root)
        self.append_file("another", b"text")
        os.sync()
        shell(f": > {self.log}")
        self.append_file("log", b"new")
        self.assertEqual(self.log.read_bytes(), b"new")

    def test_removal(self):
        """rm -r of a directory with a damaged log"""
        self.flip(46)
        self.mnt.mount()
        free = self.mnt.free_blocks()
        (self.root / "next").write_bytes(b"text")
        os.rename(self.root / "next", self.log)
        self.assertEqual(self.log.read_bytes(), b"text")
        run("rm", "-r", self.root)
        self.assertFalse(self.root.exists())
        self.mnt.wait_for_free_blocks(free + 1)


class MissingStaging(harness.MountTest):
    """A pool mounted with -o force without its staging device."""

    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        # In files: of block devices the second one would be found automatically.
        cls.capacity, staging = directory / "capacity", directory / "staging"
        for path in (cls.capacity, staging):
            with open(path, "wb") as file:
                file.truncate(512 * MIB)
        run(harness.MPOOL, "create", "--staging", staging, "two", cls.capacity)
        cls.mnt = harness.Mount(pool=f"{cls.capacity},{staging}", directory=directory)

    def test_names(self):
        """a log on it is listed, gives EIO when it is read, and can be removed"""
        os.setxattr(self.root, "user.mpool.class", b"staging")
        log = self.append_file("log", content(1, 5000))
        file = self.write_file("file", content(2, 5000))
        self.append_file("second", b"text")
        both = self.mnt.pool
        self.mnt.umount()
        self.mnt.pool = self.capacity
        self.mnt.mount("force")
        self.assertEqual(sorted(entry.name for entry in os.scandir(self.root)),
                         ["file", "log", "second"])
        run("ls", "-l", self.root)
        self.assertEqual((log.stat().st_size, file.stat().st_size), (5000, 5000))
        for path in (log, file):
            with self.fails_with(errno.EIO):
                path.read_bytes()
        with self.fails_with(errno.EIO):
            self.append_file("log", b"more")
        os.rename(log, self.root / "renamed")
        file.unlink()
        (self.root / "second").unlink()
        os.setxattr(self.root, "user.mpool.class", b"capacity")
        self.write_file("new", b"text")
        self.mnt.umount()
        self.mnt.pool = both
        self.mnt.mount()
        self.assertEqual(sorted(os.listdir(self.root)), ["new", "renamed"])
        self.assertEqual((self.root / "renamed").read_bytes(), content(1, 5000))


if __name__ == "__main__":
    harness.main()

"""Files without a name and links of them, whiteouts, holes, locks; ext4 says what is right."""

import errno
import fcntl
import os
import stat
import struct
import subprocess
import sys

from ext4 import mount_ext4
import harness
from harness import MIB, content
from system_calls import RENAME_WHITEOUT, link_descriptor, rename

F_OFD_GETLK, F_OFD_SETLK = 36, 37
FLOCK = "hhqqi4x"

TRY_LOCKS = """
import errno, fcntl, os, struct, sys
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
file = os.open(path, os.O_RDWR)
answers = []
for try_lock in (
        lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first),
        lambda: fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, first, count, 0)),
        lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)):
    try:
        try_lock()
        answers.append("locked")
    except OSError as error:
        answers.append(errno.errorcode[error.errno])
print(*answers)
"""


class Descriptors(harness.MountTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ext4 = mount_ext4(cls.mnt.directory)

    def open_unnamed(self, flags=os.O_RDWR, mode=0o640):
        descriptor = os.open(self.root, os.O_TMPFILE | flags, mode)
        self.addCleanup(self._close_if_open, descriptor)
        return descriptor

    def open_written(self, name):
        descriptor = os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self.addCleanup(self._close_if_open, descriptor)
        return descriptor

    def give_name(self, descriptor, name):
        link_descriptor(descriptor, self.root / name, flags=0)

    def crash(self, descriptor):
        """A crash of the daemon while the file is open."""
        self.mnt.kill_daemon()
        harness.close_after_kill(descriptor)
        self.mnt.crash()

    # --- O_TMPFILE ---

    def test_unnamed(self):
        """O_TMPFILE makes a file without a name, which is written and read, and leaves nothing"""
        free = self.mnt.free_blocks()
        unnamed = self.open_unnamed()
        facts = os.fstat(unnamed)
        self.assertEqual((facts.st_nlink, facts.st_mode, facts.st_size), (0, stat.S_IFREG | 0o640, 0))
        os.write(unnamed, content(1, 3 * MIB))
        os.fsync(unnamed)
        os.pwrite(unnamed, b"more", 4 * MIB)
        self.assertEqual(os.pread(unnamed, 3 * MIB, 0), content(1, 3 * MIB))
        self.assertEqual(os.listdir(self.root), [])
        os.close(unnamed)
        self.mnt.wait_for_free_blocks(free)

    def test_unnamed_gets_a_name(self):
        """linkat gives a file without a name its first one; the last close commits it"""
        for data in (b"", b"small", content(2, 5 * MIB + 3)):
            with self.subTest(size=len(data)):
                unnamed = self.open_unnamed()
                os.write(unnamed, data)
                name = f"f{len(data)}"
                self.give_name(unnamed, name)
                path = self.root / name
                self.assertEqual((path.stat().st_nlink, path.stat().st_size), (1, len(data)))
                self.assertEqual(path.stat().st_ino, os.fstat(unnamed).st_ino)
                os.write(unnamed, b"after")
                os.close(unnamed)
                self.assertEqual(path.read_bytes(), data + b"after")
                self.assertEqual(self.xattr(path, "user.mpool.committed"), "1")
        self.mnt.remount()
        self.assertEqual((self.root / "f5").read_bytes(), b"smallafter")
        self.assertEqual((self.root / f"f{5 * MIB + 3}").read_bytes(), content(2, 5 * MIB + 3) + b"after")

    def test_unnamed_empty_path(self):
        """linkat with AT_EMPTY_PATH, and a second name"""
        unnamed = self.open_unnamed()
        os.write(unnamed, b"data")
        link_descriptor(unnamed, self.root / "f")
        link_descriptor(unnamed, self.root / "g")
        self.assertEqual(os.fstat(unnamed).st_nlink, 2)
        os.close(unnamed)
        (self.root / "f").unlink()
        self.mnt.remount()
        self.assertEqual((self.root / "g").read_bytes(), b"data")
        self.assertEqual((self.root / "g").stat().st_nlink, 1)

    def test_unnamed_is_durable(self):
        """written, fsynced, linked, and the directory fsynced: a crash leaves the whole file"""
        unnamed = self.open_unnamed()
        os.write(unnamed, content(3, 2 * MIB))
        os.fsync(unnamed)
        os.setxattr(unnamed, "user.origin", b"here")
        os.fchmod(unnamed, 0o604)
        self.give_name(unnamed, "f")
        harness.sync_directory(self.root)
        self.crash(unnamed)
        path = self.root / "f"
        self.assertEqual(harness.differences(content(3, 2 * MIB), path.read_bytes()), "none")
        self.assertEqual(self.xattr(path, "user.origin"), "here")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o604)

    def test_unnamed_does_not_survive(self):
        """a crash removes a file without a name, also an fsynced one, and frees its space"""
        harness.sync_directory(self.root)
        free = self.mnt.free_blocks()
        unnamed = self.open_unnamed()
        os.write(unnamed, content(4, 5 * MIB))
        os.fsync(unnamed)
        self.crash(unnamed)
        self.assertEqual(os.listdir(self.root), [])
        self.mnt.wait_for_free_blocks(free)

    def test_unnamed_errors(self):
        """errors as on ext4: for reading only, O_EXCL, names in the way"""
        answers = []
        for root in (self.ext4, self.root):
            found = []
            (root / "taken").touch()
            for attempt in (lambda: os.open(root, os.O_TMPFILE | os.O_RDONLY),
                            lambda: os.open(root / "taken", os.O_TMPFILE | os.O_RDWR),
                            lambda: os.open(root / "none", os.O_TMPFILE | os.O_RDWR)):
                try:
                    os.close(attempt())
                    found.append("opened")
                except OSError as error:
                    found.append(errno.errorcode[error.errno])
            for flags, name in ((0, "taken"), (0, "n" * 256), (os.O_EXCL, "new"), (0, "new")):
                unnamed = os.open(root, os.O_TMPFILE | os.O_RDWR | flags)
                try:
                    link_descriptor(unnamed, root / name)
                    found.append("linked")
                except OSError as error:
                    found.append(errno.errorcode[error.errno])
                os.close(unnamed)
            answers.append(found)
        self.assertEqual(answers[1], answers[0])
        self.assertEqual(answers[1][-4:], ["EEXIST", "ENAMETOOLONG", "ENOENT", "linked"])

    def test_unnamed_after_close(self):
        """after the last writing descriptor is closed there is no content that could be linked"""
        unnamed = self.open_unnamed()
        os.write(unnamed, b"data")
        reader = os.open(f"/proc/self/fd/{unnamed}", os.O_RDONLY)
        self.addCleanup(os.close, reader)
        os.close(unnamed)
        self.assertEqual(os.read(reader, 10), b"data")
        with self.fails_with(errno.ENOENT):
            self.give_name(reader, "f")

    # --- names of files that are being written ---

    def test_link_while_written(self):
        """a file gets a second name while it is written; both have all of it"""
        file = self.open_written("f")
        os.write(file, content(5, 2 * MIB))
        os.link(self.root / "f", self.root / "g")
        self.assertEqual((self.root / "g").read_bytes(), content(5, 2 * MIB))
        os.write(file, b"tail")
        (self.root / "f").unlink()
        os.close(file)
        self.assertEqual((self.root / "g").read_bytes(), content(5, 2 * MIB) + b"tail")

    def test_whiteout_is_kept(self):
        """RENAME_WHITEOUT: both names survive a crash; of a file being written, too"""
        self.write_file("f", b"data")
        written = self.open_new("w")
        os.write(written, b"written")
        rename(self.root / "f", self.root / "g", RENAME_WHITEOUT)
        rename(self.root / "w", self.root / "x", RENAME_WHITEOUT)
        os.close(written)
        harness.sync_directory(self.root)
        self.mnt.crash()
        for name in ("f", "w"):
            facts = (self.root / name).lstat()
            self.assertTrue(stat.S_ISCHR(facts.st_mode))
            self.assertEqual((facts.st_rdev, stat.S_IMODE(facts.st_mode)), (0, 0))
        self.assertEqual((self.root / "g").read_bytes(), b"data")
        self.assertEqual((self.root / "x").read_bytes(), b"written")

    # --- holes ---

    def holes(self, path):
        """(what, begin) for data and holes, in order."""
        found, at, size = [], 0, path.stat().st_size
        file = os.open(path, os.O_RDONLY)
        try:
            while at < size:
                try:
                    data = os.lseek(file, at, os.SEEK_DATA)
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENXIO)
                    data = size
                if data > at:
                    found.append(("hole", at))
                if data == size:
                    break
                found.append(("data", data))
                at = os.lseek(file, data, os.SEEK_HOLE)
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                with self.fails_with(errno.ENXIO):
                    os.lseek(file, size, whence)
        finally:
            os.close(file)
        return found

    def make_sparse(self, root, name, size, parts):
        file = os.open(root / name, harness.NEW)
        os.ftruncate(file, size)
        for at, length in parts:
            os.pwrite(file, content(at, length), at)
        os.close(file)
        return root / name

    def test_holes(self):
        """SEEK_DATA and SEEK_HOLE find what ext4 finds, in committed files"""
        for number, (size, parts) in enumerate((
                (10 * MIB, [(4 * MIB, MIB)]), (8 * MIB, [(0, MIB), (6 * MIB, 2 * MIB)]), (3 * MIB, []),
                (MIB, [(0, MIB)]), (20 * MIB, [(MIB, MIB), (5 * MIB, MIB), (9 * MIB, 4 * MIB)]), (100, [(0, 100)]))):
            with self.subTest(size=size, parts=parts):
                wanted = self.holes(self.make_sparse(self.ext4, f"s{number}", size, parts))
                path = self.make_sparse(self.root, f"s{number}", size, parts)
                self.assertEqual(self.holes(path), wanted)
        self.mnt.remount()
        self.assertEqual(self.holes(self.root / "s0"), [("hole", 0), ("data", 4 * MIB), ("hole", 5 * MIB)])

    def test_holes_of_others(self):
        """logs, and files being written, are data up to their end"""
        log = self.append_file("log", b"line\n")
        self.assertEqual(self.holes(log), [("data", 0)])
        file = self.open_written("f")
        os.pwrite(file, b"x", MIB)
        self.assertEqual(os.lseek(file, 5, os.SEEK_DATA), 5)
        self.assertEqual(os.lseek(file, 5, os.SEEK_HOLE), MIB + 1)

    # --- locks ---

    def try_locks(self, path, first=0, count=0):
        """What another process gets: of POSIX, OFD and flock locks."""
        return subprocess.run([sys.executable, "-c", TRY_LOCKS, path, str(first), str(count)], check=True,
                              capture_output=True, text=True).stdout.split()

    def test_locks(self):
        """POSIX, OFD and flock locks between processes, with ranges, as on ext4"""
        answers = []
        for root in (self.ext4, self.root):
            path, found = root / "lock", []
            path.touch()
            file, other = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
            fcntl.lockf(file, fcntl.LOCK_EX, 10, 100)
            found += [self.try_locks(path), self.try_locks(path, 110, 5), self.try_locks(path, 109, 1)]
            held = fcntl.fcntl(other, F_OFD_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, 0, 0, 0, 0))
            found.append(struct.unpack(FLOCK, held)[:4])
            fcntl.lockf(file, fcntl.LOCK_UN)
            fcntl.fcntl(file, F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_RDLCK, 0, 0, 50, 0))
            found.append(self.try_locks(path, 20, 1))
            os.close(os.open(path, os.O_RDONLY))  # drops POSIX locks only
            found.append(self.try_locks(path, 20, 1))
            fcntl.flock(file, fcntl.LOCK_SH)
            found.append(self.try_locks(path, 60, 1))
            os.close(file)
            found.append(self.try_locks(path, 20, 1))
            os.close(other)
            answers.append(found)
        self.assertEqual(answers[1], answers[0])
        self.assertIn("EAGAIN", answers[1][0])


if __name__ == "__main__":
    harness.main()

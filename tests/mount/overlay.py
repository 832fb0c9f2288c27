"""A mount as the lower layer of overlayfs; upper layers are on ext4."""

import ctypes
import errno
import os
import stat
import struct

from ext4 import mount_ext4
import harness
from harness import MIB, content, run

IN_CREATE, IN_MOVED_TO, IN_DELETE = 0x100, 0x80, 0x200

_libc = ctypes.CDLL(None, use_errno=True)


class Overlay(harness.MountTest):
    def setUp(self):
        super().setUp()
        self.lower = self.root / "lower"
        (self.lower / "d/e").mkdir(parents=True)
        (self.lower / "f").write_bytes(content(1, MIB + 3))
        (self.lower / "d/g").write_bytes(b"below")
        os.setxattr(self.lower / "d/g", "user.origin", b"here")
        with open(self.lower / "log", "ab") as log:
            log.write(b"one\n")
        (self.lower / "link").symlink_to("d/g")
        self.before = self.lower_state()
        outside = harness.temporary_directory()
        mount_ext4(outside)
        for name in ("upper", "work", "merged"):
            (outside / "ext4" / name).mkdir()
        self.upper, self.merged = outside / "ext4/upper", outside / "ext4/merged"
        run("mount", "-t", "overlay", "overlay", self.merged, "-o",
            f"lowerdir={self.lower},upperdir={self.upper},workdir={outside / 'ext4/work'}")
        self.addCleanup(run, "umount", self.merged)

    def lower_state(self):
        """Names, and contents of files, below `lower`."""
        return {str(path.relative_to(self.lower)): path.read_bytes() if path.is_file() else None
                for path in sorted(self.lower.rglob("*"))}

    def tearDown(self):
        self.assertEqual(self.lower_state(), self.before)

    def test_read(self):
        """files are listed and read through the overlay"""
        self.assertEqual(sorted(os.listdir(self.merged)), ["d", "f", "link", "log"])
        self.assertEqual((self.merged / "f").read_bytes(), content(1, MIB + 3))
        self.assertEqual((self.merged / "link").read_bytes(), b"below")
        self.assertEqual((self.merged / "log").read_bytes(), b"one\n")
        self.assertEqual(os.getxattr(self.merged / "d/g", "user.origin"), b"here")
        run("diff", "-r", self.lower, self.merged)

    def test_copy_up(self):
        """writing copies a file up: also one that is committed, or a log"""
        with open(self.merged / "f", "r+b") as file:
            file.write(b"changed")
        with open(self.merged / "log", "ab") as log:
            log.write(b"two\n")
        os.chmod(self.merged / "d/g", 0o600)
        self.assertEqual((self.merged / "f").read_bytes(), b"changed" + content(1, MIB + 3)[7:])
        self.assertEqual((self.merged / "log").read_bytes(), b"one\ntwo\n")
        self.assertEqual(stat.S_IMODE((self.upper / "d/g").stat().st_mode), 0o600)
        self.assertEqual(os.getxattr(self.upper / "d/g", "user.origin"), b"here")

    def test_whiteout(self):
        """removing leaves a whiteout above; a new file may take the name"""
        (self.merged / "f").unlink()
        run("rm", "-r", self.merged / "d")
        self.assertEqual(sorted(os.listdir(self.merged)), ["link", "log"])
        facts = (self.upper / "f").lstat()
        self.assertTrue(stat.S_ISCHR(facts.st_mode))
        self.assertEqual(facts.st_rdev, 0)
        (self.merged / "d").mkdir()
        self.assertEqual(os.listdir(self.merged / "d"), [])
        (self.merged / "f").write_bytes(b"new")
        self.assertEqual((self.merged / "f").read_bytes(), b"new")

    def test_rename(self):
        """files and new directories are renamed; a directory from below is not: EXDEV"""
        (self.merged / "f").rename(self.merged / "d/h")
        self.assertEqual((self.merged / "d/h").read_bytes(), content(1, MIB + 3))
        self.assertFalse((self.merged / "f").exists())
        (self.merged / "d/g").rename(self.merged / "log")
        self.assertEqual((self.merged / "log").read_bytes(), b"below")
        with self.fails_with(errno.EXDEV):
            (self.merged / "d").rename(self.merged / "moved")
        run("mv", self.merged / "d", self.merged / "moved")
        self.assertEqual(sorted(os.listdir(self.merged / "moved")), ["e", "h"])

    def test_inotify(self):
        """a watch of a directory of the overlay sees changes of names"""
        watch = _libc.inotify_init1(os.O_NONBLOCK)
        self.addCleanup(os.close, watch)
        wanted = IN_CREATE | IN_MOVED_TO | IN_DELETE
        self.assertGreater(_libc.inotify_add_watch(watch, os.fsencode(self.merged / "d"), wanted), 0)
        (self.merged / "d/new").touch()
        (self.merged / "f").rename(self.merged / "d/moved")
        (self.merged / "d/g").unlink()
        data, seen = os.read(watch, 4096), []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            seen.append((mask & wanted, data[16:16 + length].rstrip(b"\0")))
            data = data[16 + length:]
        self.assertEqual(seen, [(IN_CREATE, b"new"), (IN_MOVED_TO, b"moved"), (IN_DELETE, b"g")])


if __name__ == "__main__":
    harness.main()

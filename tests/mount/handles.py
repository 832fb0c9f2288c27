"""File handles: a file found by the number of its inode, as file servers find files."""

import contextlib
import ctypes
import errno
import os
import stat

import harness

HANDLE_BYTES = 128

_libc = ctypes.CDLL(None, use_errno=True)


class Handle(ctypes.Structure):
    """struct file_handle of name_to_handle_at(2)."""

    _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * HANDLE_BYTES)]


def handle_of(path):
    """name_to_handle_at(2)."""
    handle = Handle(size=HANDLE_BYTES)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0) != 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at", str(path))
    return handle


class Handles(harness.MountTest):
    def open_by(self, handle, flags=os.O_RDONLY, opened=None):
        """open_by_handle_at(2); closed with `opened`, without it at the end of the test."""
        mount = os.open(self.mnt.point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            descriptor = _libc.open_by_handle_at(mount, ctypes.byref(handle), flags)
            code = ctypes.get_errno()
        finally:
            os.close(mount)
        if descriptor < 0:
            raise OSError(code, "open_by_handle_at")
        (self.addCleanup if opened is None else opened.callback)(os.close, descriptor)
        return descriptor

    def make_tree(self):
        """Handles of a file, a log, an empty file, a deep directory, a symbolic link, the root."""
        deep = self.root / "a/b/c"
        deep.mkdir(parents=True)
        (deep / "f").write_bytes(b"committed")
        self.append_file("log", b"line\n")
        (self.root / "empty").touch()
        (self.root / "link").symlink_to("a/b")
        names = ["a/b/c/f", "log", "empty", "a/b/c", "link", "."]
        harness.sync_directory(self.root)
        return {name: (handle_of(self.root / name), (self.root / name).lstat()) for name in names}

    def check(self, tree):
        for name, (handle, facts) in tree.items():
            with self.subTest(name), contextlib.ExitStack() as opened:
                flags = os.O_PATH | os.O_NOFOLLOW if stat.S_ISLNK(facts.st_mode) else os.O_RDONLY
                descriptor = self.open_by(handle, flags, opened)
                found = os.fstat(descriptor)
                self.assertEqual((found.st_ino, found.st_mode, found.st_size),
                                 (facts.st_ino, facts.st_mode, facts.st_size))
                if stat.S_ISREG(facts.st_mode):
                    self.assertEqual(os.read(descriptor, 100), (self.root / name).read_bytes())
        # The kernel connects a directory with the root by "..", whatever it has forgotten.
        with contextlib.ExitStack() as opened:
            deep = self.open_by(tree["a/b/c"][0], os.O_RDONLY | os.O_DIRECTORY, opened)
            self.assertEqual(os.readlink(f"/proc/self/fd/{deep}"), str(self.root / "a/b/c"))
            self.assertEqual(os.listdir(deep), ["f"])

    def test_known(self):
        """handles open what the kernel knows"""
        self.check(self.make_tree())

    def test_forgotten(self):
        """handles open what the kernel has forgotten"""
        tree = self.make_tree()
        harness.drop_caches()
        self.check(tree)

    def test_other_mount(self):
        """handles stay valid over a remount, and a crash of the daemon"""
        tree = self.make_tree()
        self.mnt.remount()
        self.check(tree)
        self.mnt.crash()
        self.check(tree)

    def test_renamed(self):
        """a handle follows a file to its new name"""
        tree = self.make_tree()
        handle, _ = tree["a/b/c/f"]
        (self.root / "a/b/c/f").rename(self.root / "moved")
        harness.drop_caches()
        self.assertEqual(os.read(self.open_by(handle), 100), b"committed")
        (self.root / "a/b").rename(self.root / "d")
        harness.drop_caches()
        deep = self.open_by(tree["a/b/c"][0], os.O_RDONLY | os.O_DIRECTORY)
        self.assertEqual(os.readlink(f"/proc/self/fd/{deep}"), str(self.root / "d/c"))

    def test_deleted(self):
        """a handle of what was deleted fails with ESTALE, also after a new file and a remount"""
        tree = self.make_tree()
        for name in ("log", "empty", "link", "a/b/c/f"):
            (self.root / name).unlink()
        (self.root / "a/b/c").rmdir()
        for number in range(20):
            (self.root / f"new{number}").touch()
        for again in (False, True):
            if again:
                self.mnt.remount()
            for name in ("log", "empty", "link", "a/b/c/f", "a/b/c"):
                with self.subTest(name, again=again), self.fails_with(errno.ESTALE):
                    self.open_by(tree[name][0], os.O_PATH)

    def test_open_keeps(self):
        """a handle of an unlinked file works until its last descriptor is closed"""
        path = self.write_file("f", b"data")
        handle = handle_of(path)
        descriptor = os.open(path, os.O_RDONLY)
        path.unlink()
        harness.drop_caches()
        again = self.open_by(handle)
        os.close(descriptor)
        self.assertEqual(os.read(again, 10), b"data")

    def test_control(self):
        """the files of .mpool have handles, too"""
        handle = handle_of(self.mnt.path(".mpool/status.json"))
        harness.drop_caches()
        self.assertTrue(os.read(self.open_by(handle), 100).startswith(b"{"))


if __name__ == "__main__":
    harness.main()

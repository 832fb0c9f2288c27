"""The metadata of names is full, or grows: the reported room, the last room reserved for root, and
new room."""

import contextlib
import errno
import json
import os

import harness
from harness import MIB, MPOOL, NOBODY, run

ROOT_MDC = 8 * MIB  # of a small pool
VALUE = b"v" * 60000


@contextlib.contextmanager
def as_user():
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def make_empty(path):
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644))


class RoomTest(harness.MountTest):
    def root_mdc(self):
        return json.loads(self.mnt.path(".mpool", "status.json").read_bytes())["root_mdc"]

    def free_inodes(self):
        return os.statvfs(self.mnt.point).f_ffree

    def check(self):
        self.mnt.umount()
        run(MPOOL, "check", self.mnt.pool)
        self.mnt.mount()

    def fill(self, names, value=VALUE):
        """Makes files with an extended attribute as a user until there is no room; returns their
        paths."""
        made = []
        for name in names:
            path = self.root / name
            try:
                make_empty(path)
                os.setxattr(path, "user.x", value)
                made.append(path)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
                return made
        return self.fail("there is no end of room")


class Growth(RoomTest):
    mount_arguments = {"size": "512M", "create_options": ("--zone-size", "4K")}

    def test_grows_with_the_tree(self):
        """a tree several times as large as the root metadata is intact, also after a remount"""
        self.assertEqual(self.root_mdc()["capacity"], ROOT_MDC)
        for i in range(200):
            make_empty(self.root / str(i))
            os.setxattr(self.root / str(i), "user.x", VALUE)
        self.assertGreaterEqual(self.root_mdc()["capacity"], 2 * ROOT_MDC)
        self.check()
        self.assertEqual(sorted(os.listdir(self.root), key=int), [str(i) for i in range(200)])
        for i in range(200):
            self.assertEqual(os.getxattr(self.root / str(i), "user.x"), VALUE)
        self.assertGreaterEqual(self.root_mdc()["capacity"], 2 * ROOT_MDC)

    def test_attributes_of_one_file(self):
        """the attributes of one file cannot use up all room"""
        path = self.write_file("f", b"text")
        os.setxattr(path, "user.large", VALUE)
        with self.fails_with(errno.ENOSPC):
            os.setxattr(path, "user.more", VALUE)
        before = self.root_mdc()["live"]
        with self.fails_with(errno.ENOSPC):
            for i in range(10000):
                os.setxattr(path, f"user.{i}", b"v" * 100)
        self.assertLess(self.root_mdc()["live"] - before, 64 << 10)
        os.removexattr(path, "user.large")
        os.setxattr(path, "user.more", VALUE)


class Full(RoomTest):
    # Room for the root metadata once, but not for a larger one.
    mount_arguments = {"size": "38M", "create_options": ("--zone-size", "4K")}

    def test_full(self):
        """root has a last part, deleting makes room at once, and so does a larger pool"""
        self.root.chmod(0o777)
        with as_user():
            self.assertGreater(self.free_inodes(), 0)
            large = self.fill(f"large{i}" for i in range(1000))
            self.fill((f"small{i}" for i in range(100000)), b"v" * 1000)
            self.fill((f"empty{i}" for i in range(100000)), b"")
            with self.fails_with(errno.ENOSPC):
                make_empty(self.root / "another")
        self.assertEqual(self.free_inodes(), 0)
        (self.root / "of-root").mkdir()
        self.assertGreater(len(large), 20)

        with as_user():
            large.pop().unlink()
            make_empty(self.root / "after-unlink")
            self.fill((f"again{i}" for i in range(100000)), b"v" * 1000)
            self.fill((f"last{i}" for i in range(100000)), b"")
        self.check()
        self.mnt.umount()
        os.truncate(self.mnt.pool, 128 * MIB)
        run(MPOOL, "grow", self.mnt.pool)
        self.mnt.mount()
        with as_user():
            self.assertGreater(self.free_inodes(), 1000)
            make_empty(self.root / "after-growth")
        self.assertGreater(self.root_mdc()["capacity"], ROOT_MDC)
        self.check()
        self.assertTrue((self.root / "after-growth").exists())


if __name__ == "__main__":
    harness.main()

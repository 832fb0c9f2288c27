"""A pool of two loop devices, one for each media class."""

import errno
import os

import harness
from harness import MIB, content, run, shell


class TwoClasses(harness.MountTest):
    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        cls.capacity, cls.staging = harness.pool_of_two_devices(directory)
        cls.mnt = harness.Mount(pool=f"{cls.capacity},{cls.staging}", directory=directory)

    def policy(self, name, media_class):
        directory = self.root / name
        directory.mkdir()
        os.setxattr(directory, "user.mpool.class", media_class.encode())
        return directory

    def test_class_of_files(self):
        """files go to the class of their directory, which directories inherit"""
        fast, slow = self.policy("fast", "staging"), self.policy("slow", "capacity")
        (fast / "sub").mkdir()
        for directory, media_class in ((fast, "staging"), (fast / "sub", "staging"),
                                       (slow, "capacity"), (self.root, "capacity")):
            (directory / "f").write_bytes(content(1, MIB + 5))
            shell(f"echo line >> {directory / 'log'}")
        for _ in range(2):
            for directory, media_class in ((fast, "staging"), (fast / "sub", "staging"),
                                           (slow, "capacity"), (self.root, "capacity")):
                self.assertEqual((directory / "f").read_bytes(), content(1, MIB + 5))
                self.assertEqual((directory / "log").read_text(), "line\n")
                for name in ("f", "log"):
                    self.assertEqual(self.xattr(directory / name, "user.mpool.class"), media_class)
            self.mnt.remount()

    def test_df(self):
        """df shows the class of the directory asked"""
        fast = self.policy("fast", "staging")
        before = os.statvfs(fast), os.statvfs(self.root)
        self.assertLess(before[0].f_blocks * before[0].f_frsize, 260 * MIB)
        self.assertGreater(before[1].f_blocks * before[1].f_frsize, 300 * MIB)
        (fast / "f").write_bytes(content(1, 4 * MIB))
        harness.wait_until(
            lambda: before[0].f_bfree - os.statvfs(fast).f_bfree == 4 * MIB // before[0].f_frsize,
            "4 MiB taken from staging")
        self.assertEqual(os.statvfs(self.root).f_bfree, before[1].f_bfree)
        size = run("df", "-B1", "--output=size", fast).stdout.splitlines()[1]
        self.assertEqual(int(size), before[0].f_blocks * before[0].f_frsize)

    def test_move_between_classes(self):
        """a renamed file keeps its class"""
        fast = self.policy("fast", "staging")
        (fast / "f").write_bytes(b"data")
        os.rename(fast / "f", self.root / "f")
        self.assertEqual(self.xattr(self.root / "f", "user.mpool.class"), "staging")
        self.assertEqual((self.root / "f").read_bytes(), b"data")

    def test_bad_policy(self):
        """a class that does not exist is refused"""
        (self.root / "d").mkdir()
        with self.fails_with(errno.EINVAL):
            os.setxattr(self.root / "d", "user.mpool.class", b"gold")

    def test_full_staging(self):
        """a full class gives ENOSPC while the other one still accepts files"""
        fast = self.policy("fast", "staging")
        free = os.statvfs(fast).f_bfree
        with self.fails_with(errno.ENOSPC):
            with open(fast / "f", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(MIB))
        (self.root / "f").write_bytes(content(1, MIB))
        self.assertEqual((self.root / "f").read_bytes(), content(1, MIB))
        if (fast / "f").exists():
            (fast / "f").unlink()
        harness.wait_until(lambda: os.statvfs(fast).f_bfree == free, "staging is empty again")
        (fast / "g").write_bytes(b"fits")

    def test_programs(self):
        """dd, cp and tail on both classes, read back after a remount"""
        fast = self.policy("fast", "staging")
        source = harness.temporary_directory() / "source"
        source.write_bytes(content(2, 20 * MIB + 1))
        for directory in (fast, self.root):
            run("cp", source, directory / "copied")
            run("dd", f"if={source}", f"of={directory / 'dumped'}", "bs=1M")
        self.mnt.remount()
        for directory in (fast, self.root):
            for name in ("copied", "dumped"):
                run("cmp", source, directory / name)

    def test_order_of_devices(self):
        """the devices can be named in any order, or by pool name or UUID"""
        (self.root / "f").write_bytes(b"data")
        uuid = run("blkid", "-p", "-s", "UUID", "-o", "value", self.capacity).stdout.strip()
        original = self.mnt.pool
        for pool in (f"{self.staging},{self.capacity}", "two", f"UUID={uuid}", original):
            self.mnt.umount()
            self.mnt.pool = pool
            self.mnt.mount()
            self.assertEqual((self.root / "f").read_bytes(), b"data")


if __name__ == "__main__":
    harness.main()

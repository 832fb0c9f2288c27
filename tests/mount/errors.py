"""Failures give a clear message or errno, and nothing is lost."""

import errno
import os
import shutil
import sys
import unittest

import harness
from harness import MIB, MPOOL, MPOOLFS, content, run


class StartErrors(unittest.TestCase):
    """mpoolfs fails to start: exit status, message, no mount left."""

    @classmethod
    def setUpClass(cls):
        cls.directory = harness.temporary_directory()
        cls.image = cls.directory / "pool.img"
        harness.create_image(cls.image, "errorpool", "256M")
        cls.point = cls.directory / "mnt"
        cls.point.mkdir()

    def refused(self, *arguments, status=1, says=()):
        """mpoolfs fails, in the foreground and in the background."""
        for more in ([], ["-f"]):
            done = run(MPOOLFS, *more, *harness.data_path_options(), *arguments, check=False, timeout=60)
            print("  " + done.stderr.strip().replace("\n", "\n  "), file=sys.stderr)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertEqual(done.stdout, "")
            for text in says:
                self.assertIn(str(text).lower(), done.stderr.lower())
            self.assertIsNone(harness.mounted_type(self.point))

    def copy_of_image(self, name):
        path = self.directory / name
        shutil.copyfile(self.image, path)
        return path

    def test_command_line(self):
        """wrong command lines exit with 2"""
        for arguments in ([], ["pool"], ["pool", self.point, "more"], ["--nonsense"],
                          ["-o", "nonsense", self.image, self.point],
                          ["-o", "uid=abc", self.image, self.point],
                          ["-o", "ro,uid=", self.image, self.point],
                          ["-o", "transport=net", self.image, self.point],
                          ["-o", "workers=0", self.image, self.point],
                          ["-o", "nonsense=1", self.image, self.point], ["", self.point]):
            self.refused(*arguments, status=2, says=["mpoolfs: "])
        self.refused("-o", "ro,overwritten", self.image, self.point, status=2, says=["overwritten"])

    def test_help_and_version(self):
        """--help and --version"""
        self.assertIn("Usage: mpoolfs", run(MPOOLFS, "--help").stdout)
        self.assertRegex(run(MPOOLFS, "--version").stdout, r"mpoolfs \d+\.\d+")

    def test_mount_point(self):
        """a mount point that is missing or no directory"""
        self.refused(self.image, self.directory / "none", says=[self.directory / "none", "No such"])
        self.refused(self.image, self.image, says=[self.image, "not a directory"])

    def test_unknown_pool(self):
        """a name, UUID or path that is no pool"""
        self.refused("nosuchpool", self.point, says=["nosuchpool"])
        self.refused("UUID=01234567-89ab-cdef-0123-456789abcdef", self.point, says=["01234567-89ab"])
        self.refused(self.directory / "none.img", self.point, says=["none.img", "No such"])
        empty = self.directory / "empty.img"
        with open(empty, "wb") as file:
            file.truncate(64 * MIB)
        self.refused(empty, self.point, says=["empty.img", "superblock"])
        self.refused(self.directory, self.point, says=[self.directory])

    def test_truncated_image(self):
        """an image that is shorter than recorded"""
        path = self.copy_of_image("short.img")
        os.truncate(path, 100 * MIB)
        self.refused(path, self.point, says=["short.img"])
        os.truncate(path, 4096)
        self.refused(path, self.point, says=["short.img"])

    def test_both_superblocks_damaged(self):
        """two bad superblocks are refused and not changed; one is not a problem"""
        path = self.copy_of_image("damaged.img")
        with open(path, "r+b") as file:
            file.seek(20)
            file.write(b"\xff" * 30)
        mnt = harness.Mount(pool=path, directory=harness.temporary_directory())
        mnt.umount()
        with open(path, "r+b") as file:
            for offset in (20, 8192 + 20):
                file.seek(offset)
                file.write(b"\xff" * 30)
        before = harness.sha256(path)
        self.refused(path, self.point, says=["damaged.img", "superblock"])
        self.assertEqual(harness.sha256(path), before)

    def test_mounted_twice(self):
        """a pool that is mounted already"""
        mnt = harness.Mount(pool=self.image, directory=harness.temporary_directory())
        try:
            (mnt.path("f")).write_bytes(b"data")
            self.refused(self.image, self.point, says=[self.image, "in use", mnt.point])
            self.refused("-o", "ro", self.image, self.point, says=["in use"])
            self.assertEqual(mnt.path("f").read_bytes(), b"data")
        finally:
            mnt.umount()

    def test_missing_staging(self):
        """without its staging device a pool mounts with force only, and shows the capacity files"""
        capacity, staging = self.directory / "cap.img", self.directory / "stg.img"
        with open(staging, "wb") as file:
            file.truncate(128 * MIB)
        run(MPOOL, "create", "--size", "256M", "--staging", staging, "twopool", capacity)
        mnt = harness.Mount(pool=f"{capacity},{staging}", directory=harness.temporary_directory())
        mnt.path("fast").mkdir()
        os.setxattr(mnt.path("fast"), "user.mpool.class", b"staging")
        mnt.path("fast/f").write_bytes(content(1, MIB))
        mnt.path("slow").write_bytes(content(2, MIB))
        mnt.umount()
        self.refused(capacity, self.point, says=["force"])
        self.refused(staging, self.point, says=[staging])
        mnt.pool = capacity
        mnt.mount("force")
        self.assertEqual(mnt.path("slow").read_bytes(), content(2, MIB))
        with self.assertRaises(OSError):
            mnt.path("fast/f").read_bytes()
        mnt.umount()
        mnt.pool = f"{staging},{capacity}"
        mnt.mount()
        self.assertEqual(mnt.path("fast/f").read_bytes(), content(1, MIB))
        self.assertEqual(mnt.path("slow").read_bytes(), content(2, MIB))
        mnt.umount()

    def test_non_empty_device(self):
        """mpool create refuses a device with content and names it"""
        path = self.directory / "ext4.img"
        with open(path, "wb") as file:
            file.truncate(64 * MIB)
        run("/sbin/mkfs.ext4", "-q", path)
        before = harness.sha256(path)
        done = run(MPOOL, "create", "p", path, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("ext4", done.stderr)
        self.assertEqual(harness.sha256(path), before)
        done = run(MPOOL, "create", "p", self.image, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("mpool", done.stderr)

    def test_stale_mount(self):
        """the mount of a killed daemon blocks the mount point until it is unmounted"""
        directory = harness.temporary_directory()
        mnt = harness.Mount(pool=self.image, directory=directory)
        mnt.kill_daemon()
        done = run(MPOOLFS, *harness.data_path_options(), self.image, mnt.point, check=False)
        self.assertEqual(done.returncode, 1, mnt.point)
        self.assertIn("umount", done.stderr)
        run("umount", mnt.point)
        mnt.mount()
        mnt.umount()


class FullPool(harness.MountTest):
    SIZE = 256 * MIB
    SMALL = 100_000  # bytes: goes into a pack
    mount_arguments = {"size": str(SIZE)}

    def fill(self, name):
        """Writes until ENOSPC."""
        with self.fails_with(errno.ENOSPC):
            with open(self.root / name, "wb", buffering=0) as file:
                while True:
                    file.write(content(1, MIB))

    def test_copy_until_full(self):
        """cp into a full pool fails with ENOSPC; after a delete it works; nothing else is lost"""
        source = harness.temporary_directory() / "source"
        data = content(1, MIB)
        with open(source, "wb") as file:
            for _ in range(60):
                file.write(data)
        kept = self.write_file("kept", content(2, 3 * MIB))
        free = self.mnt.free_blocks()
        copies = []
        while True:
            target = self.root / f"copy{len(copies)}"
            done = run("cp", source, target, check=False)
            if done.returncode != 0:
                self.assertIn("No space left", done.stderr)
                break
            copies.append(target)
            self.assertLess(len(copies), 10)
        for path in copies:
            run("cmp", source, path)
        self.assertEqual(kept.read_bytes(), content(2, 3 * MIB))
        harness.wait_until(lambda: self.mnt.free_blocks() >= 1 or target.exists(), "room again")
        if target.exists():
            target.unlink()
        copies.pop().unlink()
        run("cp", source, target)
        run("cmp", source, target)
        self.mnt.remount()
        run("cmp", source, target)
        self.assertEqual(kept.read_bytes(), content(2, 3 * MIB))
        for path in copies + [target]:
            path.unlink()
        self.mnt.wait_for_free_blocks(free)

    def test_full_log(self):
        """appending fails with ENOSPC and keeps the content; after a delete it works again"""
        filler = self.write_file("filler", bytes(50 * MIB))
        log = self.append_file("log", b"start\n")
        file = os.open(log, os.O_WRONLY | os.O_APPEND)
        written = 6
        with self.fails_with(errno.ENOSPC):
            while True:
                written += os.write(file, content(3, 100_000))
        os.close(file)
        self.assertEqual(log.stat().st_size, written)
        filler.unlink()
        self.append_file("log", b"end\n")
        self.mnt.remount()
        self.assertEqual(log.stat().st_size, written + 4)
        self.append_file("log", content(4, 200_000))
        with open(log, "rb") as file:
            file.seek(written)
            self.assertEqual(file.read(), b"end\n" + content(4, 200_000))
        log.unlink()

    def test_small_files_until_full(self):
        """a small file without room: write or close fails; if neither does, it is present"""
        filling = content(1, self.SMALL)
        kept = 0
        with self.fails_with(errno.ENOSPC):
            while True:
                with open(self.root / f"{kept}", "wb", buffering=0) as file:
                    file.write(b"small %d" % kept + filling)
                kept += 1
                self.assertLess(kept * self.SMALL, self.SIZE)
        self.assertEqual(self.xattr(self.root / "0", "user.mpool.type"), "pack")
        for number in range(kept):
            self.assertEqual((self.root / f"{number}").read_bytes(), b"small %d" % number + filling)
        run("rm", "-rf", self.root)

    def test_names_in_a_full_pool(self):
        """in a full pool files can be listed, read, renamed and deleted"""
        kept = self.write_file("kept", content(2, MIB))
        self.fill("filler")
        self.assertEqual(kept.read_bytes(), content(2, MIB))
        os.rename(kept, self.root / "renamed")
        self.assertIn("renamed", os.listdir(self.root))
        run("rm", "-rf", self.root)


if __name__ == "__main__":
    harness.main()

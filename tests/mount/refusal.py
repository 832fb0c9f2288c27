"""FUSE over io_uring that the kernel refuses although it is enabled when the daemon checks.

A library preloaded into the daemon (refuse_uring.cpp, in REFUSE_URING) causes that.
"""

import errno
import mmap
import os
import pathlib
import sys

import harness
from harness import MIB, MPOOLFS, content, run
from load import Load

LIBRARY = os.environ["REFUSE_URING"]
PAGES_LIMIT = pathlib.Path("/proc/sys/fs/fuse/max_pages_limit")
MANY_PAGES = 512  # as in the library
FILES = 300
STEPS = 20

REFUSED = "the kernel refuses FUSE-over-io_uring (its log may say more: dmesg)"
# The capabilities of the library, and the daemon's messages for them.
WAYS = {
    "mount": "the kernel does not offer FUSE-over-io_uring for this mount",
    "answer": f"{REFUSED}: {os.strerror(errno.EOPNOTSUPP)}",
    "size": f"{REFUSED}: {os.strerror(errno.EINVAL)}",
    "count": f"{REFUSED}: {os.strerror(errno.EINVAL)}",
}


def with_library(way):
    """The arguments that start the daemon with it; FUSE over io_uring is on."""
    harness.switch_uring(True)
    if way == "size":
        limit = PAGES_LIMIT.read_text()
        if int(limit) < MANY_PAGES:
            harness.on_exit(PAGES_LIMIT.write_text, limit)
            PAGES_LIMIT.write_text(str(MANY_PAGES))
    return ["env", f"LD_PRELOAD={LIBRARY}", f"MPOOLFS_TEST_REFUSE={way}"]


def read_direct(path):
    """The content, read with O_DIRECT and in large pieces."""
    parts = []
    with open(os.open(path, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0) as file, mmap.mmap(-1, 4 * MIB) as buffer:
        while count := file.readinto(buffer):
            parts.append(buffer[:count])
    return b"".join(parts)


class Refusal(harness.PoolTest):
    def check_data_path(self, mnt):
        """Large and small, buffered, direct and mapped, alone and together from all CPUs."""
        data = content(1, 24 * MIB + 5)
        large = self.point / "large"
        large.write_bytes(data)
        files = self.point / "files"
        files.mkdir()
        for number in range(FILES):
            (files / f"f{number}").write_bytes(content(number, number * 50))
        harness.drop_caches()
        self.assertEqual(large.read_bytes(), data)
        self.assertEqual(read_direct(large), data)
        self.assertEqual(sorted(os.listdir(files)), sorted(f"f{number}" for number in range(FILES)))
        for number in range(FILES):
            self.assertEqual((files / f"f{number}").read_bytes(), content(number, number * 50))
        run("rm", "-r", files)
        mixed = self.point / "mixed"
        mixed.mkdir()
        with Load([mnt]) as workers:
            for cpu in sorted(os.sched_getaffinity(0)):
                for kind in ("mixed", "churn", "append"):
                    workers.start(kind, mixed, cpu=cpu)
                for mode in ("buffered", "direct", "map"):
                    workers.start("read", mixed, mode, cpu=cpu)
            workers.watch_until(STEPS)
            workers.stop()
        run("rm", "-r", mixed, large)

    def fall_back(self, way):
        mnt = harness.Mount(pool=self.image, directory=self.directory, transport="auto", used_transport="dev",
                            native="off", start_with=with_library(way))
        transport = mnt.status()["transport"]
        print(f"  {transport}", file=sys.stderr)
        self.assertEqual((transport["name"], transport["reason"]), ("dev", WAYS[way]))
        self.assertEqual(transport["queues"], len(os.sched_getaffinity(0)))
        self.assertIn(f"threads: {WAYS[way]}\n", mnt.log())
        self.check_data_path(mnt)
        mnt.umount()
        self.assertNotIn("error:", mnt.log())

    def test_not_offered(self):
        """auto, not offered after all: the mount uses /dev/fuse; log and status have the reason"""
        self.fall_back("mount")

    def test_switched_off(self):
        """auto, switched off before the answer to INIT: the same"""
        self.fall_back("answer")

    def test_too_small(self):
        """auto, entries too small for the kernel, which has begun to wait for them: the same"""
        self.fall_back("size")

    def test_one_queue(self):
        """auto, one queue refused and the rest not: the same"""
        self.fall_back("count")

    def test_fails(self):
        """uring: mounting fails with the reason; nothing is mounted, and the pool mounts again"""
        for way, why in WAYS.items():
            for more in ([], ["-f"]):
                with self.subTest(way, more=more):
                    done = run(*with_library(way), MPOOLFS, *more, "-o", "transport=uring,native=off", self.image,
                               self.point, check=False, timeout=60)
                    print("  " + done.stderr.strip(), file=sys.stderr)
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn(f"transport=uring: {why}; transport=auto mounts without it\n", done.stderr)
                    self.assertNotIn("mounted on", done.stderr)
                    self.assertIsNone(harness.mounted_type(self.point))
                    self.daemons_ended()
        mnt = harness.Mount(pool=self.image, directory=self.directory)
        (self.point / "f").write_bytes(content(1, MIB))
        mnt.remount()
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB))
        mnt.umount()


if __name__ == "__main__":
    harness.main()

"""Reads race operations that invalidate kernel caches: commits, replacing, removing, growing logs.
No hang.

The daemon invalidates attributes and names in the kernel during requests for the same files. That
deadlocks if the thread, or a lock it holds, is needed by those requests. Both transports run at a
time, one with native reads.
"""

import sys
import unittest

import harness
import load

SECONDS = 600 if harness.LONG else 15
FILES = 6


class Invalidation(unittest.TestCase):
    def setUp(self):
        self.seed = harness.seed()
        self.mounts = [harness.Mount(size="2G", create_options=("--zone-size", "1M"), transport=transport,
                                     native=native)
                       for transport, native in (("uring", "on"), ("dev", "off"))]

    def tearDown(self):
        for mnt in self.mounts:
            if mnt.daemon.poll() is None:
                mnt.umount()

    def start(self, workers, directory):
        for prefix in ("a", "b"):
            for index in range(FILES):
                load.write_file(directory / f"{prefix}{index}", load.pages_of_file(index, 50))
            workers.start("replace", directory, prefix, FILES, seed=self.seed)
        workers.start("churn", directory, seed=self.seed)
        workers.start("append", directory, seed=self.seed)
        for mode in ("buffered", "buffered", "direct", "map"):
            workers.start("read", directory, mode, seed=self.seed)

    def test_race(self):
        """cold and warm readers while files are made, replaced, removed, and logs grow"""
        with load.Load(self.mounts) as workers:
            for mnt in self.mounts:
                self.start(workers, mnt.point)
            workers.watch(SECONDS)
            workers.stop()
            for (_, name), steps in zip(workers.workers, workers.progress()):
                print(f"  {steps} steps of {name}", file=sys.stderr)
                self.assertGreater(steps, 0)


if __name__ == "__main__":
    harness.main()

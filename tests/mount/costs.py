"""The cost of a mount without users. Of the release build alone: programs with sanitizers take more
of everything."""

import os
import pathlib
import sys
import time

import harness
from load import Load

MIXED_STEPS = 100 if harness.LONG else 10
IDLE_SECONDS = 10
IDLE_ATTEMPTS = 6
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Costs(harness.PoolTest):
    def mount(self):
        return harness.Mount(pool=self.image, directory=self.directory, native="off")

    def used_ticks(self, pid):
        """CPU time of all threads, user and system, in clock ticks."""
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def test_idle_cpu(self):
        """after some load, an unused mount takes no CPU time"""
        mnt = self.mount()
        with Load([mnt]) as workers:
            for kind in ("churn", "append", "mixed"):
                workers.start(kind, self.point)
            for mode in ("buffered", "direct", "map"):
                workers.start("read", self.point, mode)
            workers.watch_until(MIXED_STEPS)
            workers.stop()
        for _ in range(IDLE_ATTEMPTS):  # until background work has ended
            before = self.used_ticks(mnt.daemon.pid)
            time.sleep(IDLE_SECONDS)
            used = self.used_ticks(mnt.daemon.pid) - before
            print(f"  {used} ticks of 1/{TICKS_PER_SECOND} s in {IDLE_SECONDS} s", file=sys.stderr)
            # The end of a tick may come between.
            if used <= 1:
                break
        self.assertLessEqual(used, 1)
        mnt.umount()

    def test_memory(self):
        """with an empty pool the daemon takes at most 64 MiB and 20 MiB for each core"""
        mnt = self.mount()
        os.listdir(self.point)
        status = pathlib.Path(f"/proc/{mnt.daemon.pid}/status").read_text()
        kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
        print(f"  {kib // 1024} MiB", file=sys.stderr)
        self.assertLessEqual(kib // 1024, 64 + 20 * os.cpu_count())
        mnt.umount()


if __name__ == "__main__":
    harness.main()

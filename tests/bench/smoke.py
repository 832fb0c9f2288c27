"""The bench itself: measures everything on tiny files, judges, and leaves no changes behind.

Needs root, /dev/fuse, loop devices and fio; fails without them.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import bench
import library
import machine
import report
import suite
import targets
import workloads

BENCH = pathlib.Path(__file__).with_name("bench.py")
SECONDS = 240


def result(rates, error=None):
    return report.Cell([workloads.Sample(rate, 1.0, None) for rate in rates], error)


class Run(unittest.TestCase):
    """Real runs of the program."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="mpoolfs-test-")
        self.addCleanup(holder.cleanup)
        self.directory = pathlib.Path(holder.name).resolve()
        self.command = [sys.executable, str(BENCH), "--smoke", "--directory", str(self.directory)]

    def assert_clean(self):
        self.assertEqual(list(self.directory.iterdir()), [])
        self.assertNotIn(str(self.directory), machine.run("losetup", "--list", "--output", "BACK-FILE"))
        self.assertNotIn(str(self.directory), pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8"))

    def test_measures_everything(self):
        """--smoke gives a number for every workload on ext4 and mpoolfs, as a table and as JSON"""
        with tempfile.TemporaryDirectory() as outside:
            path = pathlib.Path(outside) / "results.json"
            done = subprocess.run(self.command + ["--json", str(path)], capture_output=True, text=True,
                                  timeout=SECONDS, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        wanted = {(workload.name, target) for workload in suite.all_workloads()
                  for target in targets.SMOKE_TARGETS}
        self.assertEqual({(row["workload"], row["target"]) for row in rows}, wanted)
        for row in rows:
            self.assertGreater(row["median"], 0, row)
            self.assertEqual(row["daemon_us"] is not None, row["target"] == "mpoolfs", row)
            self.assertIn(row["workload"], done.stdout)
        self.assert_clean()

    def test_library(self):
        """--library gives a number for every row on each of its targets"""
        with tempfile.TemporaryDirectory() as outside:
            path = pathlib.Path(outside) / "results.json"
            done = subprocess.run(self.command + ["--library", "--build", os.environ["MPOOLFS_BUILD"],
                                                  "--json", str(path)],
                                  capture_output=True, text=True, timeout=SECONDS, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            found = json.loads(path.read_text(encoding="utf-8"))["samples"]
        names = {target.name for target in library.all_targets()}
        self.assertIn("append-async", found)
        for row, samples in found.items():
            self.assertEqual(set(samples), names, row)
            for target, repeats in samples.items():
                self.assertGreater(repeats[0]["rate"], 0, (row, target))
            self.assertIn(row, done.stdout)
        # A map through a mount is one mapping; in the process each member has its own.
        vmas = {target: repeats[0]["vmas"] for target, repeats in found["maps"].items()}
        self.assertLess(vmas["mpoolfs-native"] + bench.SMOKE_MAPS, vmas["libmpool"])
        self.assert_clean()

    def test_signal(self):
        """SIGTERM in the middle: everything is removed, and the exit status shows it"""
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + SECONDS
        while not any(machine.mounted(point) for point in self.directory.glob("*/mnt-mpoolfs")):
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM, said)
        self.assert_clean()

    def test_failing_target(self):
        """a file system that cannot be made is reported, also in its lines; others are measured"""
        environment = dict(os.environ, MPOOLFS="/bin/false")
        done = subprocess.run(self.command + ["--workloads", "randread-4k-qd1"], capture_output=True, text=True,
                              timeout=SECONDS, check=False, env=environment)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertRegex(done.stderr, "mpoolfs cannot be measured: /.*/false ended with 1")
        table = [line for line in done.stdout.splitlines() if "IOPS" in line]
        self.assertRegex(table[0], r"ext4 +\| *[0-9]")
        self.assertRegex(table[1], r"mpoolfs *\| *error")
        self.assert_clean()


class Undoing(unittest.TestCase):
    def test_left_open(self):
        """what a signal's exception has left open, in this process and in a child, is closed"""
        with tempfile.TemporaryDirectory(prefix="mpoolfs-test-") as holder, contextlib.ExitStack() as stack:
            point = pathlib.Path(holder).resolve() / "mnt"
            point.mkdir()
            machine.mount(stack, "-t", "tmpfs", "mpoolfs-bench", mount_point=point)
            descriptor = os.open(point / "file", os.O_WRONLY | os.O_CREAT)
            child = subprocess.Popen(["sleep", "infinity"], cwd=point)
            other = subprocess.Popen(["sleep", "infinity"], cwd="/")
            for process in (child, other):
                self.addCleanup(process.wait)
                self.addCleanup(process.kill)
            machine.unmount(point)
            self.assertRaises(OSError, os.fstat, descriptor)
            self.assertRaises(ProcessLookupError, os.kill, child.pid, 0)
            self.assertIsNone(other.poll())
            child.poll()
            self.assertFalse(machine.mounted(point))


class Judging(unittest.TestCase):
    """Ratios and bars, from given numbers."""

    def results(self, on="file", **cells):
        chosen = bench.choose(targets.all_targets(), "raw,ext4,fuse2fs,mpoolfs-native,mpoolfs-uring",
                              "target")
        self.workload = next(one for one in suite.all_workloads() if one.name == "randread-4k-qd32-2jobs")
        results = report.Results([self.workload], chosen, None, on)
        for target in chosen:
            name = target.name.replace("-", "_")
            results.cells[self.workload.name, target.name] = cells.get(name, result([50]))
        return results

    def test_median_and_ratio(self):
        results = self.results(raw=result([100, 1, 300]), mpoolfs_uring=result([80, 90, 7]))
        self.assertEqual(results.ratio(self.workload, "mpoolfs-uring", "raw"), 0.8)
        self.assertIn("7..90", report.table(results))

    def test_bar(self):
        for rate, verdict in ((84, "MISS"), (85, "OK")):
            results = self.results(raw=result([100]), mpoolfs_uring=result([rate]))
            self.assertEqual(results.verdict(self.workload, targets.JUDGED), verdict)
            self.assertIn(f"0.85/0.95 {verdict}", report.table(results))

    def test_bar_in_memory(self):
        for rate, verdict in ((44, "MISS"), (45, "OK")):
            results = self.results("memory", raw=result([100]), mpoolfs_uring=result([rate]))
            self.assertEqual(results.verdict(self.workload, targets.JUDGED), verdict)

    def test_native_bar(self):
        """Kernel-native reads are compared with ext4, and not in memory"""
        for on, rate, verdict in (("file", 94, "MISS"), ("file", 95, "OK"), ("memory", 1, None)):
            results = self.results(on, raw=result([1]), ext4=result([100]), mpoolfs_native=result([rate]))
            self.assertEqual(results.verdict(self.workload, targets.JUDGED_NATIVE), verdict)

    def test_error_has_no_result(self):
        """An error after some repeats: no median, no ratio, no verdict"""
        results = self.results(mpoolfs_uring=result([90, 91], "broken"))
        self.assertIsNone(results.ratio(self.workload, "mpoolfs-uring", "raw"))
        self.assertIsNone(results.verdict(self.workload, targets.JUDGED))
        self.assertIn("broken", report.summary(results))

    def test_faster_peer(self):
        self.assertIn("not faster than other FUSE file systems in: randread-4k-qd32-2jobs (fuse2fs)",
                      report.summary(self.results(fuse2fs=result([51]))))
        self.assertIn("faster than the other FUSE file systems in every line",
                      report.summary(self.results(fuse2fs=result([49]))))


class Choosing(unittest.TestCase):
    def test_patterns(self):
        chosen = bench.choose(targets.all_targets(), "mpoolfs-*,raw", "target")
        self.assertEqual([target.name for target in chosen], ["raw", "mpoolfs-native", "mpoolfs-uring", "mpoolfs-dev"])

    def test_unknown(self):
        with self.assertRaisesRegex(machine.BenchError, "no target is called zfs"):
            bench.choose(targets.all_targets(), "raw,zfs", "target")

    def test_sizes(self):
        self.assertEqual([bench.size_of(text) for text in ("64M", "1G", "2097152")], [64 << 20, 1 << 30, 2 << 20])
        for text in ("", "M", "1.5G", "-1M", "4097", "512K"):
            with self.assertRaises(bench.argparse.ArgumentTypeError):
                bench.size_of(text)


if __name__ == "__main__":
    unittest.main(verbosity=2)

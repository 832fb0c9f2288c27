"""The file .mpool/metrics: what it counts, its format, and its description."""

import errno
import os
import pathlib
import re
import shutil

import harness
from harness import MIB, content, run

PAGE = pathlib.Path(__file__).resolve().parents[2] / "man" / "mpoolfs.8.scd"
SAMPLE = re.compile(r"([a-z_]+)(?:{(.*)})? (\S+)")


def parse(text):
    """The values by name and labels, and the types by name."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            key = (name, *sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")))
            assert key not in values, key
            values[key] = float(value)
    return values, types


class Metrics(harness.MountTest):
    @property
    def text(self):
        return self.mnt.path(".mpool", "metrics").read_text()

    def value(self, name, **labels):
        """The sum of the samples of that name with these labels."""
        wanted = set(labels.items())
        found = [value for key, value in parse(self.text)[0].items()
                 if key[0] == name and wanted <= set(key[1:])]
        self.assertTrue(found, name)
        return sum(found)

    def requests(self, kind):
        return self.value("mpoolfs_request_duration_seconds_count", request=kind)

    def sync(self):
        harness.sync_directory(self.root)

    def wait_until_idle(self):
        """Files are closed, and what earlier tests removed has gone."""
        def idle():
            status = self.mnt.status()
            return status["open_files"] == 0 and status["native"]["kept"] == 0
        harness.wait_until(idle, "no file is open")
        self.sync()

    def test_described(self):
        """mpoolfs(8) names exactly what is served, with its type"""
        section = PAGE.read_text().split("\n# METRICS\n")[1].split("\n# ")[0]
        described = dict(re.findall(r"^_(mpoolfs_\w+)_ \((\w+)\)$", section, re.MULTILINE))
        self.assertEqual(described, parse(self.text)[1])

    def test_format(self):
        """histograms add up, counters have the names of counters; so says promtool, too"""
        values, types = parse(self.text)
        for name, kind in types.items():
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
        counts = {key: value for key, value in values.items() if key[0].endswith("_count")}
        self.assertGreater(len(counts), 20)
        for (name, *labels), count in counts.items():
            base = name.removesuffix("_count")
            buckets = [value for key, value in values.items() if key[0] == base + "_bucket"
                       and set(labels) < set(key[1:])]
            self.assertEqual(buckets, sorted(buckets))
            self.assertEqual(buckets[-1], count)
        if shutil.which("promtool"):
            run("promtool", "check", "metrics", input=self.text)

    def test_requests(self):
        """each request is counted once, by its kind, and errors by theirs"""
        kinds = ("mkdir", "write", "rmdir")
        before = [self.requests(kind) for kind in kinds]
        for number in range(3):
            (self.root / f"d{number}").mkdir()
        descriptor = self.open_new("f")
        for number in range(10):
            os.pwrite(descriptor, b"x" * 4096, number * 4096)
        os.close(descriptor)
        (self.root / "d0").rmdir()
        self.assertEqual([self.requests(kind) for kind in kinds],
                         [before[0] + 3, before[1] + 10, before[2] + 1])
        errors = self.value("mpoolfs_request_errors_total", request="getxattr")
        for _ in range(2):
            with self.fails_with(errno.ENODATA):
                os.getxattr(self.root / "f", "user.none")
        self.assertEqual(self.value("mpoolfs_request_errors_total", request="getxattr"), errors + 2)
        harness.wait_until(lambda: self.value("mpoolfs_requests_in_progress") == 1,
                           "only the request that asks is in progress")

    def test_requests_of_a_new_file(self):
        """the kernel asks no more than it has to: of attributes only those of the directory"""
        kinds = ("lookup", "create", "write", "flush", "getattr")
        before = [self.requests(kind) for kind in kinds]
        for number in range(100):
            descriptor = self.open_new(f"n{number}")
            os.write(descriptor, b"x" * 4096)
            os.close(descriptor)
        asked = dict(zip(kinds, (self.requests(kind) - count for kind, count in zip(kinds, before))))
        self.assertEqual((asked["create"], asked["write"]), (100, 100))
        # A few are those of reading the metrics; a process that loses its CPU at the wrong moment
        # asks once more.
        for kind, most in (("lookup", 120), ("flush", 120), ("getattr", 150)):
            self.assertIn(asked[kind], range(100, most), kind)

    def test_journal(self):
        """changes of the tree are counted when they are durable, with their batches and records"""
        self.wait_until_idle()
        changes = self.value("mpoolfs_journal_changes_total")
        records = self.value("mpoolfs_journal_records_total")
        batches = self.value("mpoolfs_journal_batches_total")
        for number in range(4):
            (self.root / f"d{number}").mkdir()
        self.sync()
        self.assertEqual(self.value("mpoolfs_journal_records_total"), records + 4)
        self.assertGreaterEqual(self.value("mpoolfs_journal_changes_total"), changes + 4)
        self.assertIn(self.value("mpoolfs_journal_batches_total") - batches, range(1, 5))
        self.assertEqual(self.value("mpoolfs_journal_batch_duration_seconds_count"),
                         self.value("mpoolfs_journal_batches_total"))

    def test_device(self):
        """bytes and objects of a file that is written and read, as in the status"""
        mblocks = self.value("mpoolfs_objects", type="mblock")
        used = self.value("mpoolfs_zones", state="used")
        written = self.value("mpoolfs_device_written_bytes_total")
        path = self.write_file("f", content(1, 4 * MIB))
        self.sync()
        added = self.value("mpoolfs_objects", type="mblock") - mblocks
        self.assertEqual(added, -(-4 * MIB // self.value("mpoolfs_zone_size_bytes")))
        self.assertGreaterEqual(self.value("mpoolfs_zones", state="used") - used, added)
        size = self.value("mpoolfs_device_written_bytes_total") - written
        self.assertIn(size, range(4 * MIB, 8 * MIB))
        opens = self.value("mpoolfs_native_opens_total")
        before = self.value("mpoolfs_device_read_bytes_total")
        harness.drop_caches()
        run("dd", f"if={path}", "of=/dev/null", "bs=1M", "iflag=direct")
        read = self.value("mpoolfs_device_read_bytes_total") - before
        if self.value("mpoolfs_native_opens_total") == opens:
            self.assertGreaterEqual(read, 4 * MIB)
        [device] = self.mnt.status()["devices"]
        for name, status in (("read_bytes_total", "read_bytes"), ("writes_total", "writes"),
                             ("flushes_total", "flushes"), ("discards_total", "discards")):
            self.assertEqual(self.value("mpoolfs_device_" + name), device[status], name)
        self.assertEqual(self.value("mpoolfs_device_flush_duration_seconds_count"),
                         self.value("mpoolfs_device_flushes_total"))


if __name__ == "__main__":
    harness.main()

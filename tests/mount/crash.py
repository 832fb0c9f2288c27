"""kill -9 of the daemon while it works, then umount and mount."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import unittest

import harness
from harness import MIB, content, run

ROUNDS = 200 if harness.LONG else 4
FEW_ROUNDS = max(2, ROUNDS // 4)
# A file closed this long before a crash is on the media, on a disk that does nothing else. On a
# busy one the flushes of the current and of the next batch take longer: two, and one for each of 16
# MDCs, in both.
DURABLE_SECONDS = 1.0
FLUSHES = 2 * (2 + 16)

# Writes blocks of 1 MiB that contain their number, with an fsync after each `every` blocks; reports
# each fsync.
SYNCING_WRITER = """
import os, sys
path, every = sys.argv[1], int(sys.argv[2])
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
for number in range(1, 1 << 30):
    os.write(file, number.to_bytes(4, "little") * (1 << 18))
    if number % every == 0:
        os.fsync(file)
        print(number, flush=True)
"""

# Writes pieces of some length that contain their number, with an fdatasync after each, and reports
# it.
PIECE_WRITER = """
import os, sys
path, length = sys.argv[1], int(sys.argv[2])
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
for number in range(1, 1 << 30):
    os.write(file, bytes([number % 251 + 1]) * length)
    os.fdatasync(file)
    print(number, flush=True)
"""

# Makes files one after the other and reports each close. At full speed there would be so many that
# checking them takes minutes.
FILE_MAKER = """
import os, sys, time
directory = sys.argv[1]
for number in range(20000):
    file = os.open(f"{directory}/{number:06}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, b"file %d\\n" % number * (number % 50 + 1))
    os.close(file)
    print(number, time.monotonic(), flush=True)
    time.sleep(0.0003)
"""

# Closes files, and makes a directory after each close, from another CPU: its request comes through
# another queue. A duplicate of the first file's descriptor stays open.
CLOSER = """
import os, sys
directory = sys.argv[1]
cpus = sorted(os.sched_getaffinity(0))
held = os.open(f"{directory}/held", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(held, b"held")
os.close(os.dup(held))
for number in range(20000):
    os.sched_setaffinity(0, {cpus[number % len(cpus)]})
    size = 100 if number % 4 else 300_000
    file = os.open(f"{directory}/f{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, bytes([number % 251 + 1]) * size)
    os.close(file)
    os.sched_setaffinity(0, {cpus[(number + 1) % len(cpus)]})
    os.mkdir(f"{directory}/d{number}")
    if number % 16 == 0:
        print(number, flush=True)
"""

# Appends numbered records and reports each write.
LOG_WRITER = """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
for number in range(1 << 30):
    os.write(file, b"record %d\\n" % number)
    print(number, time.monotonic(), flush=True)
"""


def start(script, *arguments, output=subprocess.PIPE):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=output,
                            stderr=subprocess.DEVNULL, text=True)


class DiskWatch:
    """Measures the duration of an fsync on the disk meanwhile: the machine may be busy."""

    def __init__(self, directory):
        self._path = directory / "disk-watch"
        self._longest = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _run(self):
        with open(self._path, "wb") as file:
            while not self._end.wait(0.02):
                start = time.monotonic()
                file.seek(0)
                file.write(os.urandom(4096))
                file.flush()
                os.fsync(file.fileno())
                self._longest = max(self._longest, time.monotonic() - start)

    def longest_fsync(self):
        """In seconds."""
        return self._longest


class CrashTest(unittest.TestCase):
    mount_arguments = {"size": "1G"}

    def setUp(self):
        self.choice = random.Random(harness.seed())
        self.mnt = harness.Mount(**self.mount_arguments)

    def tearDown(self):
        self.mnt.umount()

    def kill_daemon_and_writer(self, writer):
        """kill -9 now; returns the writer's new output. The writer fails, or has ended."""
        self.mnt.kill_daemon()
        told, _ = writer.communicate(timeout=60)
        self.mnt.crash()
        return [line.split() for line in (told or "").splitlines()]

    def run_and_kill(self, script, argument):
        """Kills the daemon while the script works; returns its output early enough to be durable,
        and all."""
        told_path = self.mnt.directory / "told"
        with DiskWatch(self.mnt.directory) as disk, open(told_path, "wb") as output:
            writer = start(script, argument, output=output)
            time.sleep(DURABLE_SECONDS + self.choice.uniform(0.2, 1.2))
            killed = time.monotonic()
            allowed = DURABLE_SECONDS + FLUSHES * disk.longest_fsync()
            self.kill_daemon_and_writer(writer)
        print(f"  allowed were {allowed:.2f} s", file=sys.stderr)
        lines = [line.split() for line in told_path.read_text().splitlines()]
        return [line for line in lines if float(line[1]) < killed - allowed], lines


class LargeZones(CrashTest):
    def test_copy(self):
        """a copy of a large file is interrupted repeatedly: absent, space free, the rest intact"""
        directory = harness.temporary_directory()
        source = directory / "large"
        with open(source, "wb") as file:
            for number in range(300):
                file.write(content(number, MIB))
        kept = {}
        for number in range(3):
            kept[f"kept{number}"] = content(1000 + number, self.choice.randrange(3 * MIB))
            (self.mnt.path(f"kept{number}")).write_bytes(kept[f"kept{number}"])
        harness.sync_directory(self.mnt.point)
        self.mnt.crash()
        free = self.mnt.free_blocks()
        interrupted = 0
        while interrupted < ROUNDS:
            writer = subprocess.Popen(["cp", source, self.mnt.path("target")],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            time.sleep(self.choice.uniform(0.005, 0.35))
            finished = writer.poll() is not None
            self.kill_daemon_and_writer(writer)
            if not finished:
                interrupted += 1
                print(f"  interrupted {interrupted}", file=sys.stderr)
                # The last close may have come before the kill; the program ends after it.
                if not self.mnt.path("target").exists():
                    self.assertEqual(self.mnt.free_blocks(), free)
            if self.mnt.path("target").exists():
                run("cmp", source, self.mnt.path("target"))
                self.mnt.path("target").unlink()
                self.mnt.wait_for_free_blocks(free)
            for name, data in kept.items():
                self.assertEqual(self.mnt.path(name).read_bytes(), data)
            if self.choice.random() < 0.3:
                name = f"more{len(kept)}"
                kept[name] = content(name, self.choice.randrange(200_000))
                with open(self.mnt.path(name), "wb") as file:
                    file.write(kept[name])
                    file.flush()
                    os.fsync(file.fileno())
                free = self.mnt.free_blocks()

    def test_fsynced_then_interrupted(self):
        """a file that was fsynced before the crash has at least the fsynced content"""
        for number in range(FEW_ROUNDS):
            path = self.mnt.path(f"f{number}")
            writer = start(SYNCING_WRITER, path, self.choice.randrange(1, 8))
            told = int(writer.stdout.readline())
            time.sleep(self.choice.uniform(0, 0.3))
            lines = self.kill_daemon_and_writer(writer)
            synced = max([told] + [int(line[0]) for line in lines])
            with open(path, "rb") as file:
                block_number = 0
                while block := file.read(MIB):
                    block_number += 1
                    self.assertEqual(block, (block_number.to_bytes(4, "little") * (MIB // 4))[:len(block)])
            self.assertGreaterEqual(path.stat().st_size, synced * MIB)
            path.unlink()

    def test_many_fsyncs_interrupted(self):
        """the same of a file that is fsynced after each piece, most of them in one zone"""
        for length in (100, 4096, 5001):
            path = self.mnt.path(f"pieces{length}")
            writer = start(PIECE_WRITER, path, length)
            told = [int(writer.stdout.readline()) for _ in range(self.choice.randrange(20, 60))]
            lines = self.kill_daemon_and_writer(writer)
            synced = max(told + [int(line[0]) for line in lines])
            data = path.read_bytes()
            self.assertGreaterEqual(len(data), synced * length)
            pieces = [bytes([number % 251 + 1]) * length for number in range(1, synced + 3)]
            self.assertEqual(data, b"".join(pieces)[:len(data)])
            path.unlink()

    def test_log(self):
        """a prefix of a log's records is present, complete, with all written early enough"""
        for number in range(FEW_ROUNDS):
            log = self.mnt.path(f"log{number}")
            durable, _ = self.run_and_kill(LOG_WRITER, log)
            data = log.read_bytes() if log.exists() else b""
            records = data.splitlines(keepends=True)
            self.assertEqual(data, b"".join(b"record %d\n" % index for index in range(len(records))))
            self.assertGreaterEqual(len(records), len(durable))

    def test_changes_in_order(self):
        """a prefix of successive changes is present"""
        for number in range(FEW_ROUNDS):
            directory = self.mnt.path(f"d{number}")
            directory.mkdir()
            (directory / "0").write_bytes(b"data")
            harness.sync_directory(directory)
            steps = 0
            end = time.monotonic() + self.choice.uniform(0.1, 0.8)
            while time.monotonic() < end:
                os.rename(directory / f"{steps}", directory / f"{steps + 1}")
                steps += 1
            self.mnt.crash()
            names = os.listdir(directory)
            self.assertEqual(len(names), 1)
            self.assertLessEqual(int(names[0]), steps)
            self.assertEqual((directory / names[0]).read_bytes(), b"data")


class SmallZones(CrashTest):
    """Every file takes at least one zone: small ones make room for many files."""

    mount_arguments = {"size": "2G", "create_options": ("--zone-size", "64K")}

    def test_closes_before_changes(self):
        """a directory made after a close is not there without the file that was closed"""
        for number in range(FEW_ROUNDS):
            directory = self.mnt.path(f"closes{number}")
            directory.mkdir()
            writer = start(CLOSER, directory)
            writer.stdout.readline()
            harness.sync_directory(directory)
            time.sleep(self.choice.uniform(0.2, 1.0))
            self.kill_daemon_and_writer(writer)
            names = set(os.listdir(directory))
            made = [int(name[1:]) for name in names if name.startswith("d")]
            print(f"  {len(made)} directories", file=sys.stderr)
            self.assertTrue(made)
            self.assertEqual(sorted(made), list(range(len(made))))
            for made_number in made:
                self.assertIn(f"f{made_number}", names)
                size = 100 if made_number % 4 else 300_000
                data = (directory / f"f{made_number}").read_bytes()
                self.assertEqual(data, bytes([made_number % 251 + 1]) * size)
            self.assertNotIn("held", names)
            shutil.rmtree(directory)

    def test_many_files(self):
        """a prefix of successive files is present, with all closed early enough"""
        for number in range(FEW_ROUNDS):
            directory = self.mnt.path(f"d{number}")
            directory.mkdir()
            durable, lines = self.run_and_kill(FILE_MAKER, directory)
            there = sorted(os.listdir(directory)) if directory.exists() else []
            self.assertEqual(there, [f"{index:06}" for index in range(len(there))])
            for index, name in enumerate(there):
                self.assertEqual((directory / name).read_bytes(),
                                 b"file %d\n" % index * (index % 50 + 1))
            print(f"  {len(lines)} closed, {len(durable)} of them in time, {len(there)} there",
                  file=sys.stderr)
            self.assertGreaterEqual(len(there), len(durable))
            with contextlib.suppress(FileNotFoundError):
                for name in there:
                    (directory / name).unlink()
                directory.rmdir()
            self.mnt.remount()  # deleted files must not delay the next round


if __name__ == "__main__":
    harness.main()

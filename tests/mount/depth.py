"""Many concurrent requests, odd sizes, and one worker thread: reads return the written content.

Native reads are off, or the daemon would get no READ; native.py reads at depth with them.
"""

import contextlib
import fcntl
import mmap
import os
import random
import threading
import time

import harness
from harness import MIB, content, run
from load import LOG_UNIT, PAGE, SHARED_LOG, Load, check_page, numbers_of_log, pages_of_file

FIO_SIZE = "64M" if harness.LONG else "12M"
# Requests of ioctl(2) to freeze and thaw a file system, see linux/fs.h.
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
MIXED_STEPS = 200 if harness.LONG else 15


def fio(path, *options, check=True):
    """fio at depth 32 on one file, blocks with checksums of their own in 4 KiB."""
    return run("fio", "--name=test", f"--filename={path}", "--iodepth=32", f"--size={FIO_SIZE}", "--fallocate=none",
               "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--group_reporting", "--minimal",
               *options, check=check, timeout=300)


def write_by_fio(path, engine, *options):
    fio(path, f"--ioengine={engine}", "--rw=randwrite", "--bs=4k", "--direct=1", "--do_verify=0", *options)


def run_threads(functions):
    """Runs them at the same time; raises an exception of one."""
    failures = []

    def call(function):
        try:
            function()
        except Exception as error:  # raised below, in the test
            failures.append(error)

    threads = [threading.Thread(target=call, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Depth(harness.MountTest):
    mount_arguments = {"native": "off"}

    def test_libaio(self):
        """written once at random and read at depth, direct, with libaio: every block is intact"""
        self.write_and_read("libaio")

    def test_io_uring(self):
        """the same with io_uring"""
        self.write_and_read("io_uring")

    def write_and_read(self, engine):
        path = self.root / "f"
        write_by_fio(path, engine)
        for _ in range(2):
            for jobs in (1, 4):
                fio(path, f"--ioengine={engine}", "--rw=randread", "--bs=4k", "--direct=1", f"--numjobs={jobs}")
            fio(path, f"--ioengine={engine}", "--rw=read", "--bs=256k", "--direct=1", "--verify_interval=4k")
            fio(path, "--ioengine=psync", "--rw=randread", "--bs=4k", "--invalidate=1")
            fio(path, "--ioengine=mmap", "--rw=randread", "--bs=4k")
            self.mnt.remount()

    def test_fio_notices(self):
        """fio detects other content"""
        path = self.write_file("f", pages_of_file(1, 6144))
        done = fio(path, "--ioengine=libaio", "--rw=randread", "--bs=4k", "--size=24M", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("verify", done.stderr)

    def test_writers_at_depth(self):
        """several files written at depth at the same time, buffered and direct"""
        names = [(f"f{number}", engine, number % 2)
                 for number, engine in enumerate(("libaio", "io_uring", "libaio", "io_uring"))]
        run_threads([lambda name=name, engine=engine, direct=direct:
                     write_by_fio(self.root / name, engine, f"--direct={direct}") for name, engine, direct in names])
        self.mnt.remount()
        for name, engine, _ in names:
            fio(self.root / name, f"--ioengine={engine}", "--rw=randread", "--bs=4k", "--direct=1")

    def test_large_writes(self):
        """large sequential direct writes, several in flight"""
        path = self.root / "f"
        fio(path, "--ioengine=libaio", "--rw=write", "--bs=1M", "--direct=1", "--do_verify=0", "--verify_interval=4k")
        self.mnt.remount()
        fio(path, "--ioengine=libaio", "--rw=read", "--bs=1M", "--direct=1", "--verify_interval=4k")
        fio(path, "--ioengine=libaio", "--rw=randread", "--bs=4k", "--direct=1", "--verify_interval=4k")

    def test_many_threads(self):
        """32 threads read pages of one file through one descriptor"""
        path = self.write_file("f", pages_of_file(7, 4000))
        seed = harness.seed()
        for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECT):
            self.mnt.remount()
            descriptor = os.open(path, flags)
            try:
                run_threads([lambda number=number: self.read_pages(descriptor, path, random.Random(seed + number))
                             for number in range(32)])
            finally:
                os.close(descriptor)

    def read_pages(self, descriptor, path, choice):
        with mmap.mmap(-1, PAGE) as buffer:
            for _ in range(150):
                number = choice.randrange(4000)
                self.assertEqual(os.preadv(descriptor, [buffer], number * PAGE), PAGE)
                self.assertEqual(check_page(buffer[:], number, path), (7, 4000))

    def test_log_at_depth(self):
        """many threads read a log at any offset while it grows"""
        log = self.append_file("log", content(3, 3 * MIB)[:100_000])
        data = bytearray(content(3, 3 * MIB)[:100_000])
        rest = content(4, 3 * MIB)
        seed = harness.seed()
        ended = threading.Event()

        def append():
            with open(log, "ab", buffering=0) as file:
                for at in range(0, len(rest), 40_000):
                    part = rest[at:at + 40_000]
                    data.extend(part)  # before it can be read
                    self.assertEqual(file.write(part), len(part))
            ended.set()

        def read(number):
            choice = random.Random(seed + number)
            with open(log, "rb", buffering=0) as file:
                while not ended.is_set():
                    at = choice.randrange(os.fstat(file.fileno()).st_size)
                    part = os.pread(file.fileno(), choice.randrange(1, 200_000), at)
                    self.assertGreater(len(part), 0)
                    self.assertEqual(part, data[at:at + len(part)])

        run_threads([append, *(lambda number=number: read(number) for number in range(8))])
        self.assertEqual(log.read_bytes(), data)


class Sizes(harness.MountTest):
    """Reads of any offset and length; the pool is on a device."""

    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        with open(directory / "capacity", "wb") as file:
            file.truncate(512 * MIB)
        device = harness.loop_device(directory / "capacity")
        run(harness.MPOOL, "create", "odd", device)
        cls.mnt = harness.Mount(pool=device, directory=directory, native="off")

    def setUp(self):
        super().setUp()
        self.data = content(11, 9 * MIB + 777)
        self.path = self.write_file("f", self.data)
        self.mnt.remount()

    def test_direct_odd(self):
        """direct reads of any multiple of 512 bytes, large ones too, and over the end"""
        choice = random.Random(harness.seed())
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            with mmap.mmap(-1, 5 * MIB) as buffer:
                for largest in (16, 300, 10_000):
                    for _ in range(60):
                        at = choice.randrange(len(self.data) // 512 + 2) * 512
                        length = choice.randrange(1, largest + 1) * 512
                        with memoryview(buffer)[:length] as part:
                            got = os.preadv(descriptor, [part], at)
                            self.assertEqual(bytes(part[:got]), self.data[at:at + length], f"{length} at {at}")
        finally:
            os.close(descriptor)

    def test_end_of_file(self):
        """reads at, across and behind the end, and of 0 bytes"""
        size = len(self.data)
        for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECT):
            descriptor = os.open(self.path, flags)
            try:
                with mmap.mmap(-1, MIB) as buffer:
                    end_page = size // PAGE * PAGE
                    for at, length in ((end_page, PAGE), (end_page - PAGE, MIB), (end_page + PAGE, PAGE),
                                       (end_page + MIB, MIB), (1 << 40, PAGE), (0, 0), (end_page, 0)):
                        with memoryview(buffer)[:length] as part:
                            got = os.preadv(descriptor, [part], at)
                            self.assertEqual(bytes(part[:got]), self.data[at:at + length], f"{length} at {at}")
            finally:
                os.close(descriptor)

    def test_map(self):
        """a mapping read at random, cold, by threads; behind the end of the file it is zero"""
        seed = harness.seed()
        with open(self.path, "rb") as file, \
                mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            def compare(number):
                choice = random.Random(seed + number)
                for _ in range(200):
                    at = choice.randrange(len(self.data))
                    length = choice.randrange(1, 20_000)
                    self.assertEqual(mapping[at:at + length], self.data[at:at + length])

            run_threads([lambda number=number: compare(number) for number in range(8)])
            self.assertEqual(mapping[:], self.data)

    def test_writes_of_any_size(self):
        """pieces of any size written in any order by threads, with a few direct ones"""
        choice = random.Random(harness.seed())
        path = self.root / "pieces"
        pieces, at = [], 0
        while at < len(self.data):
            end = min(len(self.data), at + choice.randrange(1, 400_000))
            pieces.append((at, end))
            at = end
        choice.shuffle(pieces)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

        def write(number):
            for begin, end in pieces[number::6]:
                self.assertEqual(os.pwrite(descriptor, self.data[begin:end], begin), end - begin)

        try:
            run_threads([lambda number=number: write(number) for number in range(6)])
        finally:
            os.close(descriptor)
        self.assertEqual(path.read_bytes(), self.data)
        self.mnt.remount()
        self.assertEqual(path.read_bytes(), self.data)


class StalledDevice(harness.MountTest):
    """The pool is in a file of a file system that can be frozen: the daemon's writes then block."""

    STALL_SECONDS = 2

    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        with open(directory / "disk", "wb") as file:
            file.truncate(600 * MIB)
        run("/sbin/mkfs.ext4", "-q", directory / "disk")
        cls.disk = directory / "disk-mnt"
        cls.disk.mkdir()
        run("mount", "-o", "loop", directory / "disk", cls.disk)
        harness.on_exit(run, "umount", cls.disk)
        harness.create_image(cls.disk / "pool.img", "stalled", "400M")
        cls.mnt = harness.Mount(pool=cls.disk / "pool.img", directory=directory, native="off")

    @contextlib.contextmanager
    def frozen(self):
        # Not by a program: starting one closes inherited descriptors of the mount, which would
        # wait, too.
        disk = os.open(self.disk, os.O_RDONLY)
        try:
            fcntl.ioctl(disk, FIFREEZE, 0)
            try:
                yield
            finally:
                fcntl.ioctl(disk, FITHAW, 0)
        finally:
            os.close(disk)

    def test_writes(self):
        """all kinds of writes that wait for the device for seconds lose nothing"""
        data = {number: content(number, 3 * MIB) for number in range(8)}
        started = threading.Barrier(len(data) + 1)

        def write(number):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | (os.O_APPEND if number % 2 else 0)
            descriptor = os.open(self.root / f"f{number}", flags | (os.O_DSYNC if number % 4 < 2 else 0), 0o644)
            try:
                started.wait()
                step = (MIB if number % 4 == 0 else 200_000) if number % 2 == 0 else 128 << 10
                for at in range(0, len(data[number]), step):
                    part = data[number][at:at + step]
                    self.assertEqual(os.write(descriptor, part), len(part))
            finally:
                os.close(descriptor)

        def stall():
            started.wait()
            for _ in range(2):
                with self.frozen():
                    time.sleep(self.STALL_SECONDS)
                time.sleep(0.05)

        run_threads([stall, *(lambda number=number: write(number) for number in data)])
        for _ in range(2):
            for number, expected in data.items():
                found = (self.root / f"f{number}").read_bytes()
                self.assertEqual("none", harness.differences(expected, found), f"f{number}")
            self.mnt.remount()


class OneWorker(harness.MountTest):
    mount_arguments = {"size": "1G", "mount_options": "workers=1", "native": "off"}

    def test_mixed(self):
        """many processes create, sync, close, rename, read and append; one thread may block"""
        log, seed = self.root / SHARED_LOG, harness.seed()
        with Load([self.mnt]) as workers:
            for _ in range(8):
                workers.start("mixed", self.root, seed=seed)
            for mode in ("buffered", "direct", "map"):
                workers.start("read", self.root, mode, seed=seed)
            workers.watch_until(MIXED_STEPS)
            workers.stop()
            steps = workers.progress()[:8]
        for _ in range(2):
            numbers = numbers_of_log(log.read_bytes(), log)
            for worker, count in enumerate(steps, 1):
                self.assertEqual([number & 0xffffffff for number in numbers if number >> 32 == worker],
                                 list(range(count)))
            self.assertEqual(len(numbers) * LOG_UNIT, log.stat().st_size)
            self.mnt.remount()

    def test_close_waits_for_nobody(self):
        """files committed by closing while other requests wait for commits: no deadlock"""
        def make(number):
            for version in range(10):
                path = self.write_file(f"f{number}-{version}", content(version, 50_000))
                os.getxattr(path, "user.mpool.committed")  # waits for the commit
                self.assertEqual(path.read_bytes(), content(version, 50_000))

        run_threads([lambda number=number: make(number) for number in range(16)])


if __name__ == "__main__":
    harness.main()

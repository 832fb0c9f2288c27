"""The workloads measured on each target.

A workload has three parts: prepare (not measured), run (measured, with the CPU time of machine and
daemon), and clean (not measured, also after a failure).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
import time

import cpu
import machine
from machine import MIB, BenchError

# Longest time of one measurement before its programs and daemon are killed.
LIMIT_SECONDS = 180
SPACE_SECONDS = 30
# The time to write a file once is not bounded except by this multiple of the time of a read.
WRITE_FACTOR = 3


@dataclasses.dataclass
class Sample:
    """rate: operations (or MiB) a second; machine_us, daemon_us: CPU time for each, None without a
    daemon.

    reads: the daemon's READ requests; None where that is unknown.
    """

    rate: float
    machine_us: float
    daemon_us: float | None
    reads: int | None = None


@dataclasses.dataclass
class Settings:
    """The options of the command line; sizes in bytes.

    work: a directory for mount points and logs. memory: a directory in memory, for data to copy
    from and to. fio_seconds: CPU time of an idle fio, see calibrate_fio.
    """

    mpool: str
    mpoolfs: str
    size: int
    seconds: float
    files: int
    tree: int
    engine: str
    work: object = None
    memory: object = None
    fio_seconds: float = 0.0

    @property
    def random_write_size(self):
        return self.size // 4


def fio(path, **parameters):
    """Runs one fio job and returns its part of the JSON output."""
    words = ["fio", "--name=bench", f"--filename={path}", "--thread", "--group_reporting", "--gtod_reduce=1",
             "--fallocate=none", "--output-format=json"]
    if parameters["rw"] in ("read", "randread"):
        words.append("--readonly")
    words += [f"--{name}={value}" for name, value in parameters.items()]
    output = machine.run(*words, seconds=LIMIT_SECONDS)
    job = json.loads(output[output.index("{"):])["jobs"][0]
    if job["error"] != 0:
        raise BenchError(f"fio: {os.strerror(job['error'])}")
    return job


def calibrate_fio(settings):
    """The CPU time of an idle fio, to be subtracted. Of fio alone: other programs may run."""
    path = settings.work / "calibration"
    machine.write_file(path, MIB)
    times = []
    for _ in range(5):
        before = cpu.children_seconds()
        fio(path, rw="read", bs=4096, size=4096)
        times.append(cpu.children_seconds() - before)
    path.unlink()
    settings.fio_seconds = sorted(times)[len(times) // 2]


class Workload:
    """unit: of the rate. needs_files: impossible on the raw device. programs: beside fio.

    bar, memory_bar: (least, aim) of the project for the ratio to the raw device, on a disk and in
    memory. native_bar: the same for kernel-native reads, for the ratio to ext4.
    """

    needs_files = False
    native_bar = None
    programs = ()

    def __init__(self, name, what, unit, bar=None, memory_bar=None):
        self.name = name
        self.what = what
        self.unit = unit
        self.bar = bar
        self.memory_bar = memory_bar

    def prepare(self, target, settings, repeat):
        """Preparation, not measured."""

    def run(self, target, settings, repeat):
        """Returns the number of operations and their seconds (None: the time of the whole call)."""
        raise NotImplementedError

    def clean(self, target, settings):
        """Removes the files of prepare and run."""

    def overhead_seconds(self, _settings):
        """CPU time of the programs used here that is not part of the workload."""
        return 0.0

    def measure(self, target, settings, repeat):
        if target.daemon:
            target.daemon.check_alive()
        with machine.Watchdog(target.daemon, LIMIT_SECONDS):
            try:
                self.prepare(target, settings, repeat)
                reads_before = target.read_requests()
                with cpu.Meter(target.daemon) as meter:
                    operations, seconds = self.run(target, settings, repeat)
                reads = None if reads_before is None else target.read_requests() - reads_before
            finally:
                self.clean(target, settings)
        usage = meter.usage
        if operations == 0:
            raise BenchError("nothing was done in the time given: more --seconds are needed")
        busy = max(0.0, usage.machine - self.overhead_seconds(settings))
        return Sample(operations / (seconds or usage.seconds), busy * 1e6 / operations,
                      None if usage.daemon is None else usage.daemon * 1e6 / operations, reads)


def make_cold(target):
    target.settle()
    machine.drop_caches()


def make_cold_for_cache(target, size):
    """Called before this many bytes of the data are read into the page cache.

    The host of a virtual machine takes free memory back after a moment (free page reporting of
    virtio-balloon) and returns it page by page, which takes longer than the device. Therefore
    memory for the cache is touched and freed just before the start.
    """
    make_cold(target)
    machine.read_file(target.data, size)
    machine.drop_caches()


class FioRead(Workload):
    """Reads of the data. cold: each byte at most once, and not from a cache; warm: all from the
    cache."""

    native_bar = (0.95, 1.0)

    def __init__(self, name, what, unit, kind, jobs=1, bar=None, memory_bar=None, **parameters):
        super().__init__(name, what, unit, bar, memory_bar)
        self._kind = kind
        self._jobs = jobs
        self._parameters = parameters
        self._held_open = None

    def prepare(self, target, settings, repeat):
        if self._kind == "warm":
            # The cache of a block device is dropped at its last close.
            self._held_open = os.open(target.data, os.O_RDONLY)
            machine.read_file(target.data, settings.size)
        elif self._kind == "cold":
            make_cold_for_cache(target, settings.size)
        else:
            make_cold(target)

    def run(self, target, settings, repeat):
        more = dict(self._parameters)
        if more["ioengine"] == "async":
            more["ioengine"] = settings.engine
        if self._kind != "cold":
            more["time_based"] = 1
        if self._kind == "warm":
            more["invalidate"] = 0
        result = fio(target.data, size=settings.size, runtime=_microseconds(settings.seconds),
                     numjobs=self._jobs, randseed=repeat + 1, **more)["read"]
        return _fio_result(result, self.unit)

    def clean(self, target, settings):
        if self._held_open is not None:
            os.close(self._held_open)
            self._held_open = None

    def overhead_seconds(self, settings):
        return settings.fio_seconds


class FioReadBesideWriter(FioRead):
    """The same while a writer makes new files at full speed, one after the other."""

    needs_files = True
    native_bar = (0.80, 1.0)

    def prepare(self, target, settings, repeat):
        wait_for_space(target, settings.size * 5 // 4)
        super().prepare(target, settings, repeat)

    def run(self, target, settings, repeat):
        with machine.Background(sys.executable, pathlib.Path(__file__).with_name("writer.py"), self._path(target),
                                str(settings.size)):
            return super().run(target, settings, repeat)

    @staticmethod
    def _path(target):
        return target.root / "beside"

    def clean(self, target, settings):
        self._path(target).unlink(missing_ok=True)
        target.settle()

    def overhead_seconds(self, settings):
        return 0.0


class OpenClose(Workload):
    """Opens and closes the data repeatedly."""

    needs_files = True

    def run(self, target, settings, repeat):
        end = time.monotonic() + settings.seconds
        count = 0
        while time.monotonic() < end:
            for _ in range(100):
                os.close(os.open(target.data, os.O_RDONLY))
            count += 100
        return count, None


class OpenReadOnce(Workload):
    """Files of 1 MiB, each opened, read and closed once, cold."""

    needs_files = True

    def prepare(self, target, settings, repeat):
        wait_for_space(target, settings.files * MIB)
        directory = target.root / "once"
        directory.mkdir()
        for number in range(settings.files):
            machine.write_file(directory / f"{number}", MIB)
        make_cold(target)

    def run(self, target, settings, repeat):
        for number in range(settings.files):
            with open(target.root / "once" / f"{number}", "rb", buffering=0) as file:
                if len(file.read(MIB)) != MIB:
                    raise BenchError(f"{file.name}: shorter than written")
        return settings.files, None

    def clean(self, target, settings):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target.root / "once")
        target.settle()


def _microseconds(seconds):
    return f"{round(seconds * 1e6)}us"


def _fio_result(result, unit):
    operations = result["io_bytes"] / MIB if unit == "MiB/s" else result["total_ios"]
    rate = result["bw_bytes"] / MIB if unit == "MiB/s" else result["iops"]
    return operations, operations / rate if rate else 0.0


class FioWrite(Workload):
    """Each byte of a new file once, O_DIRECT; the raw device is overwritten.

    sized: the file gets its length before it is written, so that its growth does not serialise
    requests.
    """

    def __init__(self, name, what, unit, sized, bar=None, **parameters):
        super().__init__(name, what, unit, bar)
        self._sized = sized
        self._parameters = parameters
        self._held = None

    def _path(self, target):
        return target.root / "new" if target.root else target.data

    def prepare(self, target, settings, repeat):
        if target.root:
            wait_for_space(target, settings.size * 5 // 4)
        make_cold(target)
        if self._sized and target.root:
            # Kept open over the run: the last close commits a write-once file, with the length it
            # has then.
            self._held = machine.HeldFile(self._path(target), self._size(settings))

    def _size(self, settings):
        return settings.random_write_size if self.unit == "IOPS" else settings.size

    def run(self, target, settings, repeat):
        more = dict(self._parameters)
        if more["ioengine"] == "async":
            more["ioengine"] = settings.engine
        if not self._sized:
            more["create_on_open"] = 1
        result = fio(self._path(target), size=self._size(settings), direct=1, randseed=repeat + 1,
                     runtime=_microseconds(settings.seconds * WRITE_FACTOR), **more)
        return _fio_result(result["write"], self.unit)

    def clean(self, target, settings):
        held, self._held = self._held, None
        try:
            if held:
                held.close()
        finally:
            if target.root:
                self._path(target).unlink(missing_ok=True)
                target.settle()

    def overhead_seconds(self, settings):
        return settings.fio_seconds


def wait_for_space(target, size):
    """In most file systems the space of deleted files becomes free after a while."""
    deadline = time.monotonic() + SPACE_SECONDS
    while True:
        status = os.statvfs(target.root)
        if status.f_bavail * status.f_frsize >= size:
            return
        if time.monotonic() > deadline:
            raise BenchError(f"only {status.f_bavail * status.f_frsize >> 20} MiB are free")
        time.sleep(0.02)


class CopyIn(Workload):
    """cp from memory, and fsync of the copy: at the end the data is on the device for all targets.
    """

    needs_files = True

    def prepare(self, target, settings, repeat):
        wait_for_space(target, settings.size)
        source = settings.memory / "source"
        machine.write_file(source, settings.size)
        make_cold(target)

    def run(self, target, settings, repeat):
        machine.run("cp", settings.memory / "source", target.root / "copy", seconds=LIMIT_SECONDS)
        with open(target.root / "copy", "rb") as file:
            os.fsync(file.fileno())
        return settings.size / MIB, None

    def clean(self, target, settings):
        (settings.memory / "source").unlink(missing_ok=True)
        (target.root / "copy").unlink(missing_ok=True)
        target.settle()


class CopyOut(Workload):
    """cp of the data, which is not in a cache, to memory."""

    needs_files = True

    def prepare(self, target, settings, repeat):
        make_cold_for_cache(target, settings.size)

    def run(self, target, settings, repeat):
        machine.run("cp", target.data, settings.memory / "copy", seconds=LIMIT_SECONDS)
        return settings.size / MIB, None

    def clean(self, target, settings):
        (settings.memory / "copy").unlink(missing_ok=True)

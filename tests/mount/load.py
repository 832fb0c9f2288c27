"""Processes that work on a mount and check the content they read; a watch over their progress.

A test makes a Load, starts workers of the kinds below, watches them for a while, and stops them.
The workers run this file as a program, one process each. Every page that they write identifies
itself, so that any process can check any page of any file: PAGE bytes, a multiple of the record
(key of the file, number of the page, pages of the file).
"""

import errno
import mmap
import os
import pathlib
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

import harness

PAGE = 4096
_PAGE_RECORD = struct.Struct("<QII")
_COPIES = PAGE // _PAGE_RECORD.size
_COUNTER = struct.Struct("<Q")

# A log consists of units of this many bytes, each made of one number.
LOG_UNIT = 64
# The log that all Mixed workers of a directory append to; a unit is the worker's number << 32 | the
# count of its units.
SHARED_LOG = "shared-log"
_LOG_COPIES = LOG_UNIT // _COUNTER.size

# A worker without progress for this time hangs.
STALL_SECONDS = 20
STOP_SECONDS = 30
MOST_WORKERS = 64

# Exit status of a worker that got an error from the system, like those of a killed daemon.
SYSTEM_ERROR = 3


def pages_of_file(key, pages):
    """The content of a file."""
    return b"".join(_PAGE_RECORD.pack(key, number, pages) * _COPIES for number in range(pages))


def check_page(data, number, path):
    """The page has this number in some file, and is complete; returns the file's key and pages."""
    record = data[:_PAGE_RECORD.size]
    if len(data) != PAGE or data != record * _COPIES:
        raise AssertionError(f"{path}, page {number}: mixed or short ({len(data)} bytes), begins with {record.hex()}")
    key, found, pages = _PAGE_RECORD.unpack(record)
    if found != number:
        raise AssertionError(f"{path}, page {number}: is page {found} of key {key}")
    return key, pages


def check_pages(data, first, path):
    """All of the pages belong to one file."""
    found = {check_page(data[at:at + PAGE], first + at // PAGE, path) for at in range(0, len(data), PAGE)}
    if len(found) > 1:
        raise AssertionError(f"{path}, page {first} and following: of several files {found}")
    return found.pop() if found else None


def write_all(descriptor, data):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def write_file(path, data, sync=False):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def log_units(first, count):
    return b"".join(_COUNTER.pack(number) * _LOG_COPIES for number in range(first, first + count))


def numbers_of_log(data, path):
    """The numbers of a log's units; each is complete."""
    if len(data) % LOG_UNIT != 0:
        raise AssertionError(f"{path}: {len(data)} bytes are not whole units")
    numbers = []
    for at in range(0, len(data), LOG_UNIT):
        number = data[at:at + _COUNTER.size]
        if data[at:at + LOG_UNIT] != number * _LOG_COPIES:
            raise AssertionError(f"{path}, offset {at}: a torn unit")
        numbers.append(_COUNTER.unpack(number)[0])
    return numbers


def describe_threads(pid):
    """The kernel stacks of a process's threads, as far as the system shows them."""
    lines = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        try:
            stack = (task / "stack").read_text().split("\n")
            lines.append(f"  {task.name} {(task / 'comm').read_text().strip()}: "
                         + " ".join(line.split()[-1].split("+")[0] for line in stack if line))
        except OSError as error:
            lines.append(f"  {task.name}: {error}")
    return "\n".join(lines)


class Load:
    """Workers on mounts. `mounts`: their daemons are killed when a worker hangs, so that it can be
    ended."""

    def __init__(self, mounts):
        self.mounts = mounts
        self.workers = []
        with tempfile.TemporaryFile(prefix="mpoolfs-test-") as file:
            file.truncate(PAGE)
            self._descriptor = os.dup(file.fileno())
            self._counters = mmap.mmap(file.fileno(), PAGE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, _ in self.workers:
            if process.poll() is None:
                process.kill()
        for process, _ in self.workers:
            process.wait(STOP_SECONDS)
            process.stderr.close()
        self._counters.close()
        os.close(self._descriptor)

    def start(self, kind, directory, *arguments, seed=0, cpu=None):
        number = len(self.workers) + 1  # counter 0 requests the end
        assert number < MOST_WORKERS
        command = [sys.executable, __file__, kind, str(directory), str(self._descriptor), str(number),
                   str(seed + number), "-" if cpu is None else str(cpu), *map(str, arguments)]
        process = subprocess.Popen(command, pass_fds=[self._descriptor], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.workers.append((process, " ".join([kind, *map(str, arguments), str(directory)])))

    def progress(self):
        """The number of steps of each worker."""
        return [_COUNTER.unpack_from(self._counters, _COUNTER.size * (number + 1))[0]
                for number in range(len(self.workers))]

    def watch(self, seconds):
        """Lets the workers work; fails when one ends, or makes no progress for STALL_SECONDS."""
        end = time.monotonic() + seconds
        last = self.progress()
        moved = [time.monotonic()] * len(last)
        while time.monotonic() < end:
            time.sleep(0.2)
            now = self.progress()
            for number, (process, name) in enumerate(self.workers):
                if process.poll() is not None:
                    raise AssertionError(f"{name}: ended with {process.returncode}: {process.stderr.read()}")
                if now[number] != last[number]:
                    moved[number] = time.monotonic()
                elif time.monotonic() - moved[number] > STALL_SECONDS:
                    self._fail_hanging(number)
            last = now

    def watch_until(self, steps, seconds=240):
        """Lets the workers work until each has made this many steps."""
        self._watch_until(lambda: min(self.progress()) >= steps, f"did {steps} steps", seconds)

    def watch_more(self, steps, seconds=240):
        """Lets the workers work until each has made this many further steps."""
        wanted = [done + steps for done in self.progress()]
        self._watch_until(lambda: all(done >= goal for done, goal in zip(self.progress(), wanted, strict=True)),
                          f"did {steps} more steps", seconds)

    def _watch_until(self, condition, what, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            self.watch(0.5)
            if time.monotonic() > deadline:
                raise AssertionError(f"after {seconds} s not each worker {what}: {self.progress()}")

    def _fail_hanging(self, number):
        process, name = self.workers[number]
        text = f"{name}: no progress for {STALL_SECONDS} s\nworker:\n{describe_threads(process.pid)}\n"
        for mount in self.mounts:
            if mount.daemon is not None:
                text += f"daemon of {mount.point}:\n{describe_threads(mount.daemon.pid)}\n"
                mount.daemon.kill()
        raise AssertionError(text)

    def stop(self):
        """Tells the workers to end; all must end without an error."""
        _COUNTER.pack_into(self._counters, 0, 1)
        for number, (process, name) in enumerate(self.workers):
            try:
                _, errors = process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._fail_hanging(number)
            if process.returncode != 0:
                raise AssertionError(f"{name}: ended with {process.returncode}: {errors}")

    def wait_for_errors(self):
        """All workers end because of the system or the daemon's end, not because of content they
        read."""
        for number, (process, name) in enumerate(self.workers):
            try:
                _, errors = process.communicate(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._fail_hanging(number)
            if process.returncode not in (SYSTEM_ERROR, -signal.SIGBUS):
                raise AssertionError(f"{name}: ended with {process.returncode}: {errors}")


# --- in the worker processes ---

class Worker:
    """One process: repeats its step until it is told to stop. A step that returns False is not
    progress."""

    def __init__(self, directory, number, seed, *arguments):
        self.directory = pathlib.Path(directory)
        self.number = number
        self.choice = random.Random(seed)
        self.made = 0
        self.begin(*arguments)

    def begin(self):
        """Takes the arguments."""

    def new_key(self):
        self.made += 1
        return self.number << 32 | self.made

    def some_pages(self):
        return self.choice.choice([1, 2, 7, 32, 33, 100, 300])

    def expect(self, condition, what):
        if not condition:
            raise AssertionError(f"worker {self.number}: {what}")

    def expect_content(self, file, expected, path):
        """The whole content, from a file that is open without a buffer. Being unreadable is a
        failure, too."""
        found = bytearray()
        try:
            while part := os.pread(file.fileno(), len(expected) + PAGE, len(found)):
                found += part
        except BlockingIOError as error:
            raise AssertionError(f"worker {self.number}: {path}: closed, but not committed") from error
        self.expect(found == expected, f"{path}: not what was written: {len(found)} of {len(expected)} bytes, "
                    f"different: {harness.differences(expected, found)}")


class Replace(Worker):
    """Replaces files: writes a new one, renames it over the old one, and checks the result."""

    def begin(self, name_prefix, files):
        self.names = [f"{name_prefix}{index}" for index in range(int(files))]

    def step(self):
        path = self.directory / self.choice.choice(self.names)
        new = self.directory / f"new-{self.number}"
        key, pages = self.new_key(), self.some_pages()
        write_file(new, pages_of_file(key, pages), sync=self.choice.random() < 0.2)
        os.rename(new, path)
        self.expect(path.stat().st_size == pages * PAGE, f"{path}: size {path.stat().st_size}, not of {pages} pages")
        with open(path, "rb", buffering=0) as file:
            page = self.choice.randrange(pages)
            self.expect(check_page(os.pread(file.fileno(), PAGE, page * PAGE), page, path) == (key, pages),
                        f"{path}: not what replaced it")


class Churn(Worker):
    """Creates files, reads them at once, and removes the oldest."""

    def begin(self):
        self.names = []

    def step(self):
        key, pages = self.new_key(), self.some_pages()
        path = self.directory / f"churn-{key}"
        write_file(path, pages_of_file(key, pages))
        with open(path, "rb", buffering=0) as file:
            self.expect_content(file, pages_of_file(key, pages), path)
            self.names.append(path)
            if len(self.names) > 8:
                self.names.pop(0).unlink()


class Append(Worker):
    """Appends to a log of its own; from time to time erases it or makes it anew."""

    def step(self):
        path = self.directory / f"log-{self.number}"
        units = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.ftruncate(descriptor, 0)
            for _ in range(self.choice.randrange(1, 20)):
                count = self.choice.randrange(1, 500)
                data = log_units(units, count)
                self.expect(os.write(descriptor, data) == len(data), f"{path}: written in part")
                units += count
                self.expect(path.stat().st_size == units * LOG_UNIT,
                            f"{path}: size {path.stat().st_size} after {units} units")
                if self.choice.random() < 0.2:
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if self.choice.random() < 0.2:
            path.unlink()


class Read(Worker):
    """Reads files of the directory and checks them. Mode: buffered, direct, map."""

    def begin(self, mode):
        self.mode = mode
        self.buffer = mmap.mmap(-1, 64 * PAGE)

    def step(self):
        names = os.listdir(self.directory)
        if not names:
            return False
        path = self.directory / self.choice.choice(names)
        flags = os.O_RDONLY | (os.O_DIRECT if self.mode == "direct" else 0)
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return False
        try:
            if path.name == SHARED_LOG:
                return self.read_shared_log(descriptor, path)
            return (self.read_log if path.name.startswith("log-") else self.read_file)(descriptor, path)
        except OSError as error:
            # Not committed yet, or opened before the commit, and so not mappable.
            if error.errno not in (errno.EAGAIN, errno.ENODEV):
                raise
            return False
        finally:
            os.close(descriptor)

    def read_log(self, descriptor, path):
        at = 0
        while data := os.pread(descriptor, 1000 * LOG_UNIT, at):
            numbers = numbers_of_log(data, path)
            self.expect(numbers == list(range(at // LOG_UNIT, at // LOG_UNIT + len(numbers))),
                        f"{path}: offset {at} has units {numbers[0]} to {numbers[-1]}")
            at += len(data)
        return True

    def read_shared_log(self, descriptor, path):
        last = {}
        at = 0
        while data := os.pread(descriptor, 1000 * LOG_UNIT, at):
            for number in numbers_of_log(data, path):
                worker, index = number >> 32, number & 0xffffffff
                self.expect(index == last.get(worker, -1) + 1, f"{path}: unit {index} of worker {worker} misplaced")
                last[worker] = index
            at += len(data)
        return True

    def read_file(self, descriptor, path):
        # Before the commit the content written so far may be read, too.
        if os.getxattr(descriptor, "user.mpool.committed") != b"1":
            return False
        with memoryview(self.buffer)[:PAGE] as part:
            if os.preadv(descriptor, [part], 0) == 0 and os.fstat(descriptor).st_size == 0:
                return False
        pages = os.fstat(descriptor).st_size // PAGE
        if self.choice.random() < 0.5:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if self.mode == "map":
            found = self.read_mapped(descriptor, pages, path)
        else:
            found = {self.read_some(descriptor, pages, path) for _ in range(8)}
        self.expect(len(found) == 1, f"{path}: is of several files {found}")
        self.expect(found.pop()[1] == pages, f"{path}: {pages} pages, not what its content says")
        return True

    def read_some(self, descriptor, pages, path):
        first = self.choice.randrange(pages)
        count = self.choice.randrange(1, min(64, pages - first) + 1)
        with memoryview(self.buffer)[:count * PAGE] as part:
            length = os.preadv(descriptor, [part], first * PAGE)
            if 0 < length < count * PAGE:
                # When the mount ends in the middle of a read, the read returns the part it has; the
                # next one returns the error.
                with part[length:] as rest:
                    length += os.preadv(descriptor, [rest], first * PAGE + length)
            self.expect(length == count * PAGE, f"{path}: {length} bytes of {count} pages at page {first} of {pages}")
            return check_pages(bytes(part), first, path)

    def read_mapped(self, descriptor, pages, path):
        with mmap.mmap(descriptor, pages * PAGE, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            numbers = [self.choice.randrange(pages) for _ in range(30)]
            return {check_page(mapping[number * PAGE:(number + 1) * PAGE], number, path) for number in numbers}


class Mixed(Worker):
    """All operations that may block, in one shared directory: create, write, fsync, close, rename,
    read, append."""

    def begin(self):
        self.units = 0
        self.log = os.open(self.directory / SHARED_LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)

    def step(self):
        key, pages = self.new_key(), self.some_pages()
        mine, shared = self.directory / f"mixed-{self.number}", self.directory / f"s{self.choice.randrange(6)}"
        data = pages_of_file(key, pages)
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        cut = self.choice.randrange(len(data))
        write_all(descriptor, data[:cut])
        if self.choice.random() < 0.5:
            os.fsync(descriptor)
        write_all(descriptor, data[cut:])
        os.close(descriptor)
        with open(mine, "rb", buffering=0) as file:
            os.rename(mine, shared)
            self.append()
            self.expect_content(file, data, shared)
        self.expect(SHARED_LOG in os.listdir(self.directory), "the log is not listed")
        os.setxattr(self.directory, "user.last", str(key).encode())

    def append(self):
        data = log_units(self.number << 32 | self.units, 1)
        self.expect(os.write(self.log, data) == len(data), "appended in part")
        self.units += 1
        if self.units % 4 == 0:
            os.fsync(self.log)


KINDS = {kind.__name__.lower(): kind for kind in (Replace, Churn, Append, Read, Mixed)}


def work(kind, directory, descriptor, number, seed, cpu, *arguments):
    if cpu != "-":
        os.sched_setaffinity(0, [int(cpu)])
    counters = mmap.mmap(int(descriptor), PAGE)
    place = _COUNTER.size * int(number)
    try:
        worker = KINDS[kind](directory, int(number), int(seed), *arguments)
        steps = 0
        while _COUNTER.unpack_from(counters, 0)[0] == 0:
            steps += worker.step() is not False
            _COUNTER.pack_into(counters, place, steps)
    except OSError as error:
        print(f"{errno.errorcode.get(error.errno)}: {error}", file=sys.stderr)
        sys.exit(SYSTEM_ERROR)


if __name__ == "__main__":
    work(*sys.argv[1:])

"""The bench's changes of the machine: programs, mounts, loop devices, kernel settings; and undoing
them.

The undo of every change is registered with a contextlib.ExitStack before the change.
"""

import contextlib
import ctypes
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

MIB = 1 << 20
PROGRAM_SECONDS = 300
START_SECONDS = 60
END_SECONDS = 60

DROP_CACHES = pathlib.Path("/proc/sys/vm/drop_caches")
ENABLE_URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class BenchError(Exception):
    """An impossible operation; the text names the remedy, if there is one."""


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def run(*command, seconds=PROGRAM_SECONDS):
    """Runs a program and returns its output; a failure raises with its messages."""
    words = [str(part) for part in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False,
                              stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)
    except FileNotFoundError as error:
        raise BenchError(f"{words[0]}: no such program") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{words[0]}: killed after {seconds} s") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BenchError(f"{words[0]} (exit {done.returncode}): {said[-1] if said else 'no message'}")
    return done.stdout


def end_on_signals():
    """SIGTERM, SIGINT and SIGHUP end the program by an exception, so that everything is undone."""

    def end(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)


def ignore_signals():
    """While undoing: a second ctrl-C must not interrupt it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def sync_file_system(path):
    """syncfs(2)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def drop_caches():
    """Drops clean pages, inodes and dentries; the caller has synced dirty data."""
    DROP_CACHES.write_text("3\n", encoding="ascii")


def write_file(path, size, flags=0):
    """Creates a file, or fills an existing one, with incompressible bytes; durable on return."""
    piece = memoryview(random.Random(1).randbytes(MIB))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
    try:
        written = 0
        while written < size:
            written += os.write(descriptor, piece[:min(MIB, size - written)])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_file(path, size):
    """Reads the first bytes through the page cache."""
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        left = size
        while left > 0:
            count = file.readinto(memoryview(buffer)[:min(MIB, left)])
            if count == 0:
                raise BenchError(f"{path} is {left} bytes shorter than {size}")
            left -= count


def mounted(mount_point):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == str(mount_point) for line in table)


def _uses(process, mount_point):
    """Whether a process (a directory of /proc) has open files or its working directory below."""
    for link in [process / "cwd", *(process / "fd").iterdir()]:
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(mount_point):
                return True
    return False


def _let_go(mount_point):
    """Closes descriptors of this process below a mount point, and kills its children that use it.

    A signal's exception may come between open(2) or fork(2) and the assignment of the result: then
    nothing else knows of them."""
    for link in list(pathlib.Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(mount_point):
                os.close(int(link.name))
    for task in pathlib.Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                if _uses(pathlib.Path("/proc", pid), mount_point):
                    os.kill(int(pid), signal.SIGKILL)
                    os.waitpid(int(pid), 0)


def unmount(mount_point):
    """Unmounts, lazily when another process (an indexer, a shell) keeps it busy; no effect when it
    is not mounted."""
    _let_go(mount_point)
    for _ in range(20):
        if not mounted(mount_point):
            return
        try:
            run("umount", mount_point)
        except BenchError:
            time.sleep(0.25)
    if mounted(mount_point):
        run("umount", "--lazy", mount_point)


def mount(stack, *arguments, mount_point):
    stack.callback(unmount, mount_point)
    run("mount", *arguments, mount_point)


def loop_device(stack, image):
    device = run("losetup", "--direct-io=on", "--find", "--show", image).strip()
    stack.callback(run, "losetup", "--detach", device)
    return pathlib.Path(device)


def set_kernel_switch(stack, path, wanted):
    """Sets a parameter of the kernel until the end of the bench."""
    if not path.exists():
        raise BenchError(f"{path} does not exist: the kernel was built without it")
    old = path.read_text(encoding="ascii").strip()
    if old != wanted:
        stack.callback(path.write_text, old + "\n", encoding="ascii")
        path.write_text(wanted + "\n", encoding="ascii")


class Daemon:
    """A file system in user space, in the foreground, and its mount."""

    def __init__(self, stack, command, mount_point, log_path):
        self._point = mount_point
        self._log_path = log_path
        self._process = None
        stack.callback(self._end)
        with open(log_path, "wb") as log:
            self._process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                             stdout=log, stderr=log, preexec_fn=_die_with_parent)
        deadline = time.monotonic() + START_SECONDS
        while not mounted(mount_point):
            if self._process.poll() is not None:
                raise BenchError(f"{command[0]} ended with {self._process.returncode}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{command[0]}: not mounted after {START_SECONDS} s: {self._last_words()}")
            time.sleep(0.01)
        os.statvfs(mount_point)

    @property
    def pid(self):
        return self._process.pid

    def check_alive(self):
        if self._process.poll() is not None:
            raise BenchError(f"the daemon has ended with {self._process.returncode}: {self._last_words()}")

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()

    def _last_words(self):
        return " / ".join(self._log_path.read_text(errors="replace").splitlines()[-5:])

    def _end(self):
        unmount(self._point)
        if self._process is None:
            return
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise BenchError(f"{self._process.args[0]} did not end within {END_SECONDS} s of umount") from None


_HOLD = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.ftruncate(descriptor, int(sys.argv[2]))
os.write(1, b"made")
os.read(0, 1)
"""


class HeldFile:
    """A new file of a given length that stays open for writing until close().

    Another process holds it: if this process did, each program that it starts would inherit and
    close it, and a file system in user space receives every close.
    """

    def __init__(self, path, size):
        self._process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path), str(size)], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                         preexec_fn=_die_with_parent)
        if self._process.stdout.read(4) != b"made":
            _, said = self._process.communicate()
            raise BenchError(f"{path}: {said.decode(errors='replace').strip().splitlines()[-1]}")

    def close(self):
        self._process.communicate()
        if self._process.returncode != 0:
            raise BenchError(f"closing a new file: exit {self._process.returncode}")


class Background:
    """An endless program that runs during the with block."""

    def __init__(self, *command):
        self._command = [str(word) for word in command]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE, preexec_fn=_die_with_parent)
        return self

    def __exit__(self, kind, *_):
        ended = self._process.poll() is not None
        self._process.kill()
        _, said = self._process.communicate()
        if ended and kind is None:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise BenchError(f"{' '.join(self._command)}: ended: {' '.join(last)}")


class Watchdog:
    """Kills a daemon that does not answer, so that processes waiting for it get an error."""

    def __init__(self, daemon, seconds):
        self._timer = threading.Timer(seconds, daemon.kill) if daemon else None

    def __enter__(self):
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_):
        if self._timer:
            self._timer.cancel()

"""Pools and real mounts for the tests: made, unmounted, killed and cleaned up in any case.

The programs come from the environment: MPOOL and MPOOLFS (set by meson). So do the defaults of all
mounts: MPOOLFS_TEST_TRANSPORT, uring or dev, and MPOOLFS_TEST_NATIVE, on or off. FUSE over io_uring
is switched on for the test and restored at its end. Tests need root, /dev/fuse, for uring kernel
6.14 or later and for native reads 6.9, and fail without them. MPOOLFS_TEST_LONG=1 makes repeating
tests run longer.
"""

import atexit
import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from cleanup import clean_up, on_exit
from uring_switch import switch_uring

MPOOL = os.environ["MPOOL"]
MPOOLFS = os.environ["MPOOLFS"]
TRANSPORT = os.environ["MPOOLFS_TEST_TRANSPORT"]
NATIVE = os.environ["MPOOLFS_TEST_NATIVE"]
LONG = os.environ.get("MPOOLFS_TEST_LONG") == "1"

# For a whole test program; a hanging daemon is then killed, so that programs waiting for it fail.
LIMIT_SECONDS = 3 * 3600 if LONG else 540
START_SECONDS = 60
END_SECONDS = 120

MIB = 1 << 20
NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1

# Test programs run beside each other, and the names of active pools are the machine's.
POOL_NAME = f"testpool-{os.getpid()}"

# How programs make a file that must not be there.
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL

_daemons = []
_mount_points = []


def _end_on_signal(number, _frame):
    sys.exit(128 + number)


def _end_hanging():
    print(f"test program takes longer than {LIMIT_SECONDS} s: daemons are killed", file=sys.stderr)
    for daemon in _daemons:
        with contextlib.suppress(ProcessLookupError):
            daemon.kill()
    for point in _mount_points:
        subprocess.run(["umount", "--force", point], check=False)


def main():
    """Runs the tests of the calling program."""
    if TRANSPORT not in ("uring", "dev"):
        sys.exit(f"MPOOLFS_TEST_TRANSPORT={TRANSPORT}: neither uring nor dev")
    if NATIVE not in ("on", "off"):
        sys.exit(f"MPOOLFS_TEST_NATIVE={NATIVE}: neither on nor off")
    atexit.register(clean_up)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end_on_signal)
    watchdog = threading.Timer(LIMIT_SECONDS, _end_hanging)
    watchdog.daemon = True
    watchdog.start()
    unittest.main(verbosity=2)


def seed():
    """The seed of random choices; printed, and set by MPOOLFS_TEST_SEED to repeat a run."""
    value = int(os.environ.get("MPOOLFS_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"MPOOLFS_TEST_SEED={value}", file=sys.stderr)
    return value


def content(key, size):
    """Bytes that depend on the key."""
    return random.Random(key).randbytes(size)


def differences(expected, found):
    """The first difference of two contents, for a message."""
    block = 512
    parts = []
    for at in range(0, max(len(expected), len(found)), block):
        part = found[at:at + block]
        if part != expected[at:at + block]:
            what = "missing" if not part else "zero" if not any(part) else "other"
            if parts and parts[-1][1] == at and parts[-1][2] == what:
                parts[-1][1] = at + block
            else:
                parts.append([at, at + block, what])
    return ", ".join(f"{begin:#x}-{end:#x} {what}" for begin, end, what in parts[:20]) or "none"


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def run(*command, check=True, **more):
    """Runs a program; its output is part of the failure."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def shell(script, check=True, **more):
    return run("sh", "-c", script, check=check, **more)


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.02)


def sync_directory(path):
    """Everything done before is on the media on return."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="mpoolfs-test-"))
    path.chmod(0o755)  # accessible to other users
    on_exit(_start_to_remove, path)
    return path


def _start_to_remove(directory):
    """A busy file system that discards takes a minute and more to remove images: do it in the
    background."""
    subprocess.Popen(["rm", "-rf", "--one-file-system", directory], start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def mounted_type(mount_point):
    """The type of the file system mounted there, None when there is none."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            fields, _, system = line.partition(" - ")
            if fields.split()[4] == str(mount_point):
                return system.split()[0]
    return None


def loop_device(image):
    device = run("losetup", "--direct-io=on", "--find", "--show", image).stdout.strip()
    on_exit(run, "losetup", "--detach", device)
    return device


def pool_of_two_devices(directory):
    """Creates the pool "two" on loop devices; returns those of capacity and staging."""
    for name, size in (("capacity", 512 * MIB), ("staging", 256 * MIB)):
        with open(directory / name, "wb") as file:
            file.truncate(size)
    capacity, staging = loop_device(directory / "capacity"), loop_device(directory / "staging")
    run(MPOOL, "create", "--staging", staging, "two", capacity)
    return capacity, staging


def drop_caches():
    """Empties the kernel's caches: unmapped pages, and names."""
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def as_nobody():
    """The prefix of a command that runs it as an unprivileged user that may mount."""
    fuse = pathlib.Path("/dev/fuse")
    mode = fuse.stat().st_mode & 0o777
    if mode != 0o666:
        fuse.chmod(0o666)
        on_exit(fuse.chmod, mode)
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]


_more_options = ""


def give_files_zones():
    """For the whole program: small files have zones of their own, as large ones have."""
    global _more_options
    _more_options = ",pack_max=0"


def data_path_options(transport=TRANSPORT, native=NATIVE):
    """The options that select the transport, which is made available, and native reads or not."""
    if transport == "uring":
        switch_uring(True)
    return ["-o", f"transport={transport},native={native}{_more_options}"]


def status_of(mount_point):
    return json.loads((mount_point / ".mpool/status.json").read_text())


def daemon_of(mount_point):
    """The process id of the background daemon of the mount point, None without one."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            # Not by its name: mount(8) runs it under another one.
            if os.fsencode(str(mount_point)) in words and os.path.samefile(entry / "exe", MPOOLFS):
                return int(entry.name)
    return None


def close_after_kill(descriptor):
    """Closes a file of a killed daemon; the close may fail."""
    try:
        os.close(descriptor)
    except OSError as error:
        # The last one: the kernel had the request for the ring of the ending process.
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED):
            raise


def resident_pages(mapping, length):
    """The number of pages of a mapping in the page cache (mincore(2))."""
    pages = (length + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    flags = (ctypes.c_ubyte * pages)()
    start = ctypes.c_char.from_buffer(mapping)
    try:
        if _libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(length), flags) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
    finally:
        del start
    return sum(flag & 1 for flag in flags)


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def create_image(path, name, size, *options):
    run(MPOOL, "create", "--size", size, *options, name, path)


class Mount:
    """A pool and its mount, served by a daemon in the foreground that this program started."""

    def __init__(self, size="512M", create_options=(), mount_options="", pool=None, directory=None,
                 transport=TRANSPORT, used_transport=None, native=NATIVE, start_with=()):
        """pool: the pool to mount; without it a pool is created in a file of `size`.
        used_transport: the expected transport, if it differs from the requested one. start_with: a
        program that starts the daemon."""
        self.directory = directory or temporary_directory()
        self.point = self.directory / "mnt"
        self.point.mkdir(exist_ok=True)
        self.log_path = self.directory / "mpoolfs.log"
        self.mount_options = mount_options
        self.transport = transport
        self.used_transport = used_transport or transport
        self.native = native
        self.start_with = list(start_with)
        self.daemon = None
        self.pool = pool
        if pool is None:
            self.pool = self.directory / "pool.img"
            create_image(self.pool, POOL_NAME, size, *create_options)
        on_exit(self._end)
        _mount_points.append(self.point)
        self.mount()

    def mount(self, options=None):
        options = self.mount_options if options is None else options
        command = [*self.start_with, MPOOLFS, "-f", *data_path_options(self.transport, self.native)]
        if options:
            command += ["-o", options]
        command += [str(self.pool), str(self.point)]
        log_size = len(self.log())
        with open(self.log_path, "ab") as log:
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           preexec_fn=die_with_parent)
        _daemons.append(self.daemon)
        wait_until(self._started, f"{self.pool} mounted", START_SECONDS)
        os.statvfs(self.point)
        wait_until(lambda: self._transports_since(log_size), "the transport in the log", START_SECONDS)
        used = self._transports_since(log_size)
        if used != [self.used_transport]:
            raise AssertionError(f"transport {used} is used instead of {self.used_transport}:\n{self.log()}")

    def _transports_since(self, log_size):
        """The log since it had this size must show one transport for each mount."""
        return re.findall(r": mounted on .*, transport (\w+)", self.log()[log_size:])

    def _started(self):
        if self.daemon.poll() is not None:
            raise AssertionError(f"mpoolfs ended with {self.daemon.returncode}:\n{self.log()}")
        return mounted_type(self.point) is not None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def umount(self):
        """Unmounts and waits for the daemon, which must exit with success."""
        run("umount", self.point)
        self.wait_for_end()

    def wait_for_end(self, expected=0):
        status = self.daemon.wait(END_SECONDS)
        _daemons.remove(self.daemon)
        self.daemon = None
        if status != expected:
            raise AssertionError(f"mpoolfs ended with {status}:\n{self.log()}")

    def kill(self):
        """kill -9 of the daemon, and removal of the remaining mount."""
        self.kill_daemon()
        if mounted_type(self.point) is not None:
            run("umount", self.point)

    def kill_daemon(self):
        """kill -9; the mount stays, without a daemon."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait(END_SECONDS)
            _daemons.remove(self.daemon)
            self.daemon = None
            # The kernel removes a process's rings a moment after its end.
            wait_until(self._is_dead, f"{self.point} has no connection")

    def _is_dead(self):
        if mounted_type(self.point) is None:
            return True
        try:
            os.statvfs(self.point)
        except OSError as error:
            return error.errno == errno.ENOTCONN
        return False

    def remount(self, options=None):
        self.umount()
        self.mount(options)

    def crash(self):
        self.kill()
        self.mount()

    def path(self, *parts):
        return self.point.joinpath(*map(str, parts))

    def status(self):
        return status_of(self.point)

    def open_counted(self, path, flags=os.O_RDONLY):
        """A descriptor, and whether the kernel serves it natively; no other file may be opened
        meanwhile."""
        before = self.status()["native"]["opens"]
        descriptor = os.open(path, flags)
        return descriptor, self.status()["native"]["opens"] > before

    def is_native(self, path):
        descriptor, native = self.open_counted(path)
        os.close(descriptor)
        return native

    def wait_for_native(self, *paths):
        for path in paths:
            wait_until(lambda path=path: self.is_native(path), f"{path} is read by the kernel")

    def free_blocks(self):
        return os.statvfs(self.point).f_bfree

    def wait_for_free_blocks(self, blocks, what="freed space is back"):
        """Space becomes free shortly after the last close of an unlinked file."""
        wait_until(lambda: self.free_blocks() >= blocks, f"{what} ({blocks} free blocks)")

    def _end(self):
        while mounted_type(self.point) is not None:
            run("umount", "--lazy", self.point)
        if self.daemon is not None:
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()


class PoolTest(unittest.TestCase):
    """A pool of its own for each test, not mounted."""

    POOL_SIZE = "1G"

    def setUp(self):
        self.directory = temporary_directory()
        self.image = self.directory / "pool.img"
        create_image(self.image, POOL_NAME, self.POOL_SIZE)
        self.point = self.directory / "mnt"
        self.point.mkdir()
        on_exit(self.remove_mount)

    def remove_mount(self):
        if mounted_type(self.point) is not None:
            run("umount", "--lazy", self.point)

    def daemons_ended(self):
        wait_until(lambda: daemon_of(self.point) is None, "the daemon ended", 60)


class MountTest(unittest.TestCase):
    """Tests on one mount, made for the class with the arguments in `mount_arguments`."""

    mount_arguments = {}

    @classmethod
    def setUpClass(cls):
        cls.mnt = Mount(**cls.mount_arguments)

    @classmethod
    def tearDownClass(cls):
        if cls.mnt.daemon is not None:
            cls.mnt.umount()

    def setUp(self):
        if self.mnt.daemon is None or self.mnt.daemon.poll() is not None:
            self.mnt.crash()  # remains of a failed test
        # Each test has a directory of its own.
        self.root = self.mnt.path(self.id().rpartition(".")[2])
        self.root.mkdir()

    @contextlib.contextmanager
    def fails_with(self, code):
        """The block fails with this errno."""
        with self.assertRaises(OSError) as caught:
            yield
        self.assertEqual(os.strerror(caught.exception.errno), os.strerror(code))

    new_file_flags = NEW

    def open_new(self, name="f", flags=0):
        """A new file below `root`; the end of the test closes it, also without its daemon."""
        descriptor = os.open(self.root / name, self.new_file_flags | flags, 0o644)
        self.addCleanup(self._close_if_open, descriptor)
        return descriptor

    @staticmethod
    def _close_if_open(descriptor):
        try:
            os.close(descriptor)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOTCONN, errno.ECONNABORTED):
                raise

    def write_file(self, name, data, mode=0o644):
        path = self.root / name
        descriptor = os.open(path, NEW, mode)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view):]
        finally:
            os.close(descriptor)
        return path

    def append_file(self, name, data):
        path = self.root / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self.assertEqual(os.write(descriptor, data), len(data))
        finally:
            os.close(descriptor)
        return path

    def xattr(self, path, name):
        return os.getxattr(path, name).decode()

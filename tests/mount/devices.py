"""Devices that are full, fail, are shared, or are in use by other programs."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import unittest

import harness
from harness import MIB, MPOOL, MPOOLFS, content, run

SMALL = 4096

# The time that a mount waits for a daemon without a mount.
DAEMON_ENDING_SECONDS = 15


def errno_of(call, *arguments):
    """The errno of a call; 0 when it succeeds."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def write_file(path, data):
    with open(path, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view):]
        os.fsync(file.fileno())


def allocated(path):
    return path.stat().st_blocks * 512


class FullHost(unittest.TestCase):
    """A sparse image on a file system that is full."""

    LIMIT = 96 * MIB

    def setUp(self):
        self.host = harness.temporary_directory()
        run("mount", "-t", "tmpfs", "-o", f"size={self.LIMIT}", "none", self.host)
        harness.on_exit(run, "umount", "--lazy", self.host)
        self.image = self.host / "pool.img"
        harness.create_image(self.image, "fullhost", "1G")
        self.mnt = harness.Mount(pool=self.image, directory=harness.temporary_directory())

    def tearDown(self):
        if self.mnt.daemon is not None:
            self.mnt.umount()

    def fill(self, size):
        """Writes files of `size` bytes until one fails: its errno, and their number."""
        for number in range(100_000):
            if code := errno_of(write_file, self.mnt.path(f"full{number}"), content(number, size)):
                return code, number
        raise AssertionError("it is never full")

    def test_it_is_no_room_and_passes(self):
        """the writer gets ENOSPC, nothing is lost, and everything works once there is room"""
        write_file(self.mnt.path("kept"), content("kept", SMALL))
        with open(self.mnt.path("log"), "ab", buffering=0) as log:
            log.write(b"first\n")
        code, count = self.fill(MIB)
        self.assertEqual(code, errno.ENOSPC)
        self.assertGreater(count, 3)
        # Operations that need no more room of the host continue: metadata has its own.
        with open(self.mnt.path("log"), "ab", buffering=0) as log:
            log.write(b"second\n")
            os.fsync(log.fileno())
        self.mnt.path("directory").mkdir()
        os.rename(self.mnt.path("kept"), self.mnt.path("directory/kept"))
        for number in range(count):
            os.unlink(self.mnt.path(f"full{number}"))
        # Zones of deleted files are returned to the host in the background.
        harness.wait_until(lambda: errno_of(write_file, self.mnt.path("again"), content("again", 3 * MIB)) == 0,
                           "room again")
        self.mnt.remount()
        self.assertEqual(self.mnt.path("directory/kept").read_bytes(), content("kept", SMALL))
        self.assertEqual(self.mnt.path("again").read_bytes(), content("again", 3 * MIB))
        self.assertEqual(self.mnt.path("log").read_bytes(), b"first\nsecond\n")
        self.assertFalse(self.mnt.path("full0").exists())
        self.assertNotIn("offline", self.mnt.log())

    def test_small_files(self):
        """a small file that was closed without an error is present, also when the host is full"""
        with open(self.host / "other", "wb") as other:
            free = os.statvfs(self.host).f_bavail * os.statvfs(self.host).f_bsize
            other.write(bytes(free - 2 * MIB))
        closed = []
        code = 0
        while code == 0 and len(closed) < 1000:
            name = f"small{len(closed)}"
            descriptor = os.open(self.mnt.path(name), os.O_WRONLY | os.O_CREAT)
            code = errno_of(os.write, descriptor, content(name, 16 * SMALL))
            code = errno_of(os.close, descriptor) or code
            if code == 0:
                closed.append(name)
        self.assertEqual(code, errno.ENOSPC)
        os.unlink(self.host / "other")
        os.sync()
        self.mnt.remount()
        for name in closed:
            self.assertEqual(self.mnt.path(name).read_bytes(), content(name, 16 * SMALL), name)


class FailedDevice(unittest.TestCase):
    """A device that refuses writes from some moment on."""

    def setUp(self):
        self.directory = harness.temporary_directory()
        image = self.directory / "pool.img"
        harness.create_image(image, "failing", "256M")
        self.device = harness.loop_device(image)
        self.mnt = harness.Mount(pool=self.device, directory=self.directory, native="off")

    def fail(self):
        run("blockdev", "--setro", self.device)
        harness.on_exit(run, "blockdev", "--setrw", self.device)
        self.assertEqual(errno_of(write_file, self.mnt.path("first"), content(1, 4 * MIB)), errno.EIO)

    def test_changes_fail_at_once(self):
        """every change fails with EIO, umount works, the daemon exits with 1 and reports losses"""
        write_file(self.mnt.path("victim"), b"keep")
        with open(self.mnt.path("log"), "ab", buffering=0) as log:
            log.write(b"line\n")
            os.fsync(log.fileno())
        being_written = os.open(self.mnt.path("open"), os.O_WRONLY | os.O_CREAT)
        log = os.open(self.mnt.path("log"), os.O_WRONLY | os.O_APPEND)
        self.fail()
        root = self.mnt.point
        changes = {
            "unlink": (os.unlink, root / "victim"),
            "rename": (os.rename, root / "victim", root / "other"),
            "mkdir": (os.mkdir, root / "directory"),
            "create": (write_file, root / "new", b"new"),
            "symlink": (os.symlink, "victim", root / "symlink"),
            "link": (os.link, root / "victim", root / "link"),
            "chmod": (os.chmod, root / "victim", 0o600),
            "utime": (os.utime, root / "victim"),
            "setxattr": (os.setxattr, root / "victim", b"user.key", b"value"),
            "write": (os.write, being_written, b"some"),
            "fsync": (os.fsync, being_written),
            "append": (os.write, log, b"more\n"),
            "fsync of a log": (os.fsync, log),
        }
        for name, (call, *arguments) in changes.items():
            self.assertEqual(errno_of(call, *arguments), errno.EIO, name)
        self.assertEqual(self.mnt.path("victim").read_bytes(), b"keep")
        for descriptor in (being_written, log):
            errno_of(os.close, descriptor)
        run("umount", root)
        self.mnt.wait_for_end(expected=1)
        self.assertIn("lost:", self.mnt.log())
        run("blockdev", "--setrw", self.device)
        self.mnt.mount()
        self.assertEqual(self.mnt.path("victim").read_bytes(), b"keep")
        self.assertEqual(self.mnt.path("log").read_bytes(), b"line\n")
        self.mnt.umount()


class TakenDevices(unittest.TestCase):
    """A mounted pool is protected from all other programs, by any path."""

    def setUp(self):
        self.directory = harness.temporary_directory()
        self.image = self.directory / "pool.img"
        # Loop devices over the images of earlier tests still exist.
        self.name = "taken-" + self._testMethodName[-20:]
        harness.create_image(self.image, self.name, "256M")
        self.point = self.directory / "other"
        self.point.mkdir()

    def mount(self, pool, native):
        mnt = harness.Mount(pool=pool, directory=self.directory, native=native)
        mnt.path("file").write_bytes(content(1, MIB))
        if native == "on":
            mnt.wait_for_native(mnt.path("file"))
        return mnt

    def refused(self, *command, says=("in use", "mounted on")):
        """Refused by the present state, at once: without the wait for a daemon to end after its
        mount."""
        done = run(*command, check=False, timeout=DAEMON_ENDING_SECONDS)
        print("  " + done.stderr.strip().replace("\n", "\n  "), file=sys.stderr)
        self.assertNotEqual(done.returncode, 0, command)
        self.assertTrue(any(text in done.stderr for text in says), done.stderr)
        self.assertIsNone(harness.mounted_type(self.point))

    def check_block_device(self, native):
        device = harness.loop_device(self.image)
        node = self.directory / "node"
        os.mknod(node, stat.S_IFBLK | 0o600, os.stat(device).st_rdev)
        second = harness.loop_device(self.image)
        mnt = self.mount(device, native)
        for path in (device, node):
            self.assertEqual(errno_of(os.open, path, os.O_RDONLY | os.O_EXCL), errno.EBUSY, path)
            self.refused("/sbin/mkfs.ext4", "-q", "-F", path)
        for path in (node, second, self.image):
            self.refused(MPOOLFS, "-f", "-o", f"native={native}", path, self.point, says=[f"mounted on {mnt.point}"])
            self.refused(MPOOL, "check", "--repair", path)
            self.refused(MPOOL, "destroy", "--yes", path)
        for tool in ("info", "list"):
            self.assertIn(self.name, run(MPOOL, tool, device).stdout)
        self.assertIn(str(mnt.point), run(MPOOL, "df", node).stdout)
        self.assertEqual(mnt.path("file").read_bytes(), content(1, MIB))
        mnt.umount()
        self.assertEqual(errno_of(os.open, device, os.O_RDONLY | os.O_EXCL), 0)

    def test_block_device(self):
        """mkfs, exclusive opens and activations by other nodes and loops, without native reads"""
        self.check_block_device("off")

    def test_block_device_with_views(self):
        """the same with native reads"""
        self.check_block_device("on")

    def test_image(self):
        """an image by a hard link and by a loop device"""
        link = self.directory / "link.img"
        os.link(self.image, link)
        loop = harness.loop_device(self.image)
        mnt = self.mount(self.image, "on")
        for path in (link, loop):
            self.refused(MPOOLFS, "-f", path, self.point, says=[f"mounted on {mnt.point}"])
            self.refused(MPOOL, "grow", path)
        mnt.umount()

    def test_copy(self):
        """a copy of a pool cannot be active beside it; df tells them apart"""
        copy = self.directory / "copy.img"
        shutil.copyfile(self.image, copy)
        mnt = self.mount(self.image, "on")
        self.refused(MPOOLFS, "-f", copy, self.point,
                     says=[f"a copy of a pool cannot be active beside it; the pool is mounted on {mnt.point}"])
        self.refused(MPOOL, "rename", copy, "other", says=["a copy of a pool cannot be active beside it"])
        self.assertNotIn(str(mnt.point), run(MPOOL, "df", copy).stdout)
        self.assertIn(str(mnt.point), run(MPOOL, "df", self.image).stdout)
        mnt.umount()
        other = harness.Mount(pool=copy, directory=harness.temporary_directory())
        other.umount()

    def test_readers_of_a_killed_daemon(self):
        """readers of a killed daemon's mount keep their zones when the pool is opened by a loop
        device over its file"""
        mnt = self.mount(self.image, "on")
        old = os.open(mnt.path("file"), os.O_RDONLY | os.O_DIRECT)
        os.unlink(mnt.path("file"))
        write_file(mnt.path("durable"), b"after it")
        mnt.kill_daemon()
        run("umount", "--lazy", mnt.point)
        loop = harness.loop_device(self.image)
        for command in ([MPOOL, "check", "--repair", loop], [MPOOL, "grow", loop], [MPOOL, "destroy", "--yes", loop],
                        [MPOOL, "create", "--force", "new", loop]):
            self.refused(*command, says=["in use through"])
        mnt.pool = loop
        mnt.native = "off"
        mnt.mount()
        number = 0
        while errno_of(write_file, mnt.path(f"new{number}"), content("new", MIB)) == 0:
            number += 1
        with open(old, "rb", buffering=0, closefd=False) as reader:
            buffer = harness.mmap.mmap(-1, MIB)
            self.assertEqual(reader.readinto(buffer), MIB)
            self.assertEqual(buffer[:], content(1, MIB))
        harness.close_after_kill(old)
        mnt.umount()


class Discards(unittest.TestCase):
    def test_at_unmount(self):
        """files deleted just before the unmount are holes in the image afterwards"""
        directory = harness.temporary_directory()
        image = directory / "pool.img"
        harness.create_image(image, "discards", "512M")
        mnt = harness.Mount(pool=image, directory=directory)
        before = allocated(image)
        for number in range(8):
            write_file(mnt.path(f"file{number}"), content(number, 16 * MIB))
        self.assertGreaterEqual(allocated(image), before + 128 * MIB)
        for number in range(8):
            os.unlink(mnt.path(f"file{number}"))
        mnt.umount()
        self.assertLess(allocated(image), before + 16 * MIB)


class OtherDaemons(unittest.TestCase):
    def test_a_stopped_daemon_keeps_nobody_waiting(self):
        """the tools work while the daemon of another pool is stopped, and report that pool so"""
        directory = harness.temporary_directory()
        stopped = harness.Mount(directory=directory)
        other = directory / "other.img"
        harness.create_image(other, "other", "256M")
        os.kill(stopped.daemon.pid, signal.SIGSTOP)
        try:
            for command in (["df", other], ["info", other], ["list", other], ["check", other], ["dump", other]):
                self.assertIn("other", run(MPOOL, *command, timeout=60).stdout, command)
            done = run(MPOOL, "df", stopped.pool, check=False, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn("does not answer", done.stderr)
            self.assertIn(str(stopped.point), done.stderr)
        finally:
            os.kill(stopped.daemon.pid, signal.SIGCONT)
        stopped.umount()


class Signals(unittest.TestCase):
    def test_messages_to_a_closed_pipe(self):
        """the daemon continues when the program that reads its messages ends"""
        directory = harness.temporary_directory()
        image, point = directory / "pool.img", directory / "mnt"
        harness.create_image(image, "signals", "64M")
        point.mkdir()
        daemon = subprocess.Popen([MPOOLFS, "-f", *harness.data_path_options(), image, point], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        harness.on_exit(daemon.kill)
        self.assertIn(b"mounted on", daemon.stderr.readline())
        daemon.stderr.close()
        # Files are lost for lack of room, and the loss is reported.
        codes = {errno_of(write_file, point / f"file{number}", content(number, 2 * MIB)) for number in range(60)}
        self.assertEqual(codes, {0, errno.ENOSPC})
        self.assertIn("file0", os.listdir(point))
        run("umount", point)
        self.assertEqual(daemon.wait(harness.END_SECONDS), 0)

    def test_file_size_limit(self):
        """beyond a file size limit there is no room; the daemon continues"""
        # The metadata lies before it: from the middle of the image on.
        limit = 300 * MIB
        mnt = harness.Mount(start_with=["prlimit", f"--fsize={limit}"])
        self.assertEqual(errno_of(write_file, mnt.path("first"), content("first", MIB)), 0)
        codes = set()
        for number in range(400):
            codes.add(errno_of(write_file, mnt.path(f"file{number}"), content(number, MIB)))
            if errno.ENOSPC in codes:
                break
        self.assertEqual(codes, {0, errno.ENOSPC})
        self.assertEqual(mnt.path("first").read_bytes(), content("first", MIB))
        mnt.umount()


if __name__ == "__main__":
    harness.main()

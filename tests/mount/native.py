"""Kernel-native reads: content that the kernel reads without the daemon is right; and where they
are possible."""

import contextlib
import ctypes
import json
import mmap
import os
import pathlib
import socket
import subprocess
import sys
import threading
import unittest

import depth
import harness
from harness import MIB, MPOOL, MPOOLFS, content, run
from load import Load

harness.give_files_zones()

SIZES = {"byte": 1, "page": 4096, "tail": 10_001, "zones": 5 * MIB + 777}
CONCURRENT_STEPS = 400 if harness.LONG else 40


class NativeTest(harness.MountTest):
    """Mounts with native=on, regardless of the defaults of this run."""

    # Each file takes a zone, but few pages of it.
    mount_arguments = {"native": "on", "size": "4G"}

    def native(self):
        return self.mnt.status()["native"]

    def reads(self):
        return self.mnt.status()["requests"]["read"]

    @contextlib.contextmanager
    def no_reads(self):
        """The daemon gets no READ in the block."""
        before = self.reads()
        yield
        self.assertEqual(self.reads(), before)

    def write_pieces(self, path, pieces, sync=False):
        """Writes (offset, bytes); returns the content."""
        expected = bytearray(max(at + len(data) for at, data in pieces))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            for at, data in pieces:
                self.assertEqual(os.pwrite(descriptor, data, at), len(data))
                expected[at:at + len(data)] = data
                if sync:
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return bytes(expected)


def loops():
    """The loop devices that exist, with the files behind them."""
    table = run("losetup", "--noheadings", "--list", "--output", "NAME,BACK-FILE").stdout
    return set(table.splitlines())


def read_in_blocks(path, flags, block):
    descriptor = os.open(path, flags)
    try:
        found = bytearray()
        with mmap.mmap(-1, block) as buffer:
            while length := os.preadv(descriptor, [buffer], len(found)):
                found += buffer[:length]
        return bytes(found)
    finally:
        os.close(descriptor)


def read_mapped(path, flags, protection):
    """The content of a mapping; from the end of the file to the end of the page it must be zeros.
    """
    with open(path, "rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, flags, protection)
    with mapping:
        found = mapping[:]
        if protection & mmap.PROT_WRITE:
            start = ctypes.c_char.from_buffer(mapping)
            rest = ctypes.string_at(ctypes.addressof(start) + len(found), -len(found) % mmap.PAGESIZE)
            del start
            found += rest.lstrip(b"\0")
        return found


def read_by_sendfile(path):
    left, right = socket.socketpair()
    found = bytearray()

    def receive():
        while block := right.recv(MIB):
            found.extend(block)

    receiver = threading.Thread(target=receive)
    receiver.start()
    with left, open(path, "rb") as file:
        at = 0
        while sent := os.sendfile(left.fileno(), file.fileno(), at, MIB):
            at += sent
        left.shutdown(socket.SHUT_WR)
        receiver.join()
    right.close()
    return bytes(found)


def read_by_splice(path):
    found = bytearray()
    out, into = os.pipe()
    try:
        with open(path, "rb") as file:
            while length := os.splice(file.fileno(), into, 1 << 16):
                found += os.read(out, length)
    finally:
        os.close(out)
        os.close(into)
    return bytes(found)


WAYS = {
    "4k": lambda path: read_in_blocks(path, os.O_RDONLY, 4096),
    "1M": lambda path: read_in_blocks(path, os.O_RDONLY, MIB),
    "direct": lambda path: read_in_blocks(path, os.O_RDONLY | os.O_DIRECT, 1 << 16),
    "shared": lambda path: read_mapped(path, mmap.MAP_SHARED, mmap.PROT_READ),
    "private": lambda path: read_mapped(path, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE),
    "sendfile": read_by_sendfile,
    "splice": read_by_splice,
    "cat": lambda path: subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True).stdout,
    "dd": lambda path: subprocess.run(["dd", f"if={path}", "bs=3584", "iflag=direct", "status=none"],
                                      stdout=subprocess.PIPE, check=True).stdout,
}


class InFile(NativeTest):
    """A pool in a file."""

    def directories(self):
        return [self.root]

    def make_files(self):
        """Files of every size and kind that the kernel can read natively; returns path: content."""
        files = {}
        for directory in self.directories():
            for name, size in SIZES.items():
                (directory / name).write_bytes(content(name, size))
                files[directory / name] = content(name, size)
            # Pages of zeros between, within a zone and over several.
            pieces = [(at, content(at, length)) for at, length in
                      ((4096, 4096), (64 << 10, 8192), (5 * MIB, 300 << 10), (9 * MIB, 10))]
            files[directory / "holes"] = self.write_pieces(directory / "holes", pieces)
            data = content("synced", 3 * MIB + 5)
            cuts = [0, 4096, MIB + 8192, 2 * MIB, len(data)]
            pieces = [(begin, data[begin:end]) for begin, end in zip(cuts, cuts[1:])]
            files[directory / "synced"] = self.write_pieces(directory / "synced", pieces, sync=True)
        return files

    def check_all_ways(self, files):
        for path, expected in files.items():
            for name, read in WAYS.items():
                with self.subTest(f"{path.parent.name}/{path.name} {name}"):
                    self.assertEqual("none", harness.differences(expected, read(path)))

    def test_committed(self):
        """committed files become native, and are read in every way without the daemon"""
        files = self.make_files()
        self.mnt.wait_for_native(*files)
        with self.no_reads():
            self.check_all_ways(files)

    def test_earlier(self):
        """files of an earlier mount are native from the start"""
        files = self.make_files()
        self.mnt.remount()
        with self.no_reads():
            for path in files:
                self.assertTrue(self.mnt.is_native(path), path)
            self.check_all_ways(files)
        self.assertEqual(self.native()["served_opens"], 0)

    def test_at_depth(self):
        """many direct reads in flight, by libaio and io_uring"""
        path = self.root / "f"
        depth.write_by_fio(path, "libaio")
        self.mnt.wait_for_native(path)
        with self.no_reads():
            for engine in ("libaio", "io_uring"):
                depth.fio(path, f"--ioengine={engine}", "--rw=randread", "--bs=4k", "--direct=1", "--numjobs=2")
            depth.fio(path, "--ioengine=io_uring", "--rw=read", "--bs=256k", "--direct=1", "--verify_interval=4k")

    def test_served(self):
        """files whose pages are not aligned with those of a device: the daemon reads them"""
        files = {}
        for name, cuts in (("odd", [0, 1, 5000, MIB + 123, 2 * MIB]), ("end", [0, MIB, MIB + 5000, MIB + 9000])):
            # An mblock with a gap at an fsync is finished: the gap is written to another one.
            pieces = self.pieces(name, cuts)[::-1]
            files[self.root / name] = self.write_pieces(self.root / name, pieces, sync=True)
        (self.root / "empty").write_bytes(b"")
        self.append_file("log", b"line")
        files |= {self.root / "empty": b"", self.root / "log": b"line"}
        marker = self.write_file("marker", b"x")
        self.mnt.wait_for_native(marker)
        for path, expected in files.items():
            self.assertFalse(self.mnt.is_native(path), path)
            self.assertEqual("none", harness.differences(expected, path.read_bytes()), path)

    def pieces(self, name, cuts):
        data = content(name, cuts[-1])
        return [(begin, data[begin:end]) for begin, end in zip(cuts, cuts[1:])]

    def test_fsynced(self):
        """what is written in order has its pages in their places, with fsyncs in between"""
        path = self.root / "f"
        expected = self.write_pieces(path, self.pieces("f", [0, MIB + 1, MIB + 5000, 2 * MIB + 123, 3 * MIB]), sync=True)
        self.mnt.wait_for_native(path)
        with self.no_reads():
            self.assertEqual("none", harness.differences(expected, path.read_bytes()))

    def test_open_flags(self):
        """O_CREAT, O_NONBLOCK, O_NOATIME, O_SYNC, O_APPEND for reading, and a second name"""
        path = self.write_file("f", content(1, 100_000))
        os.link(path, self.root / "second")
        self.mnt.wait_for_native(path)
        with self.no_reads():
            for flags in (os.O_CREAT, os.O_NONBLOCK, os.O_NOATIME, os.O_SYNC, os.O_APPEND, os.O_DIRECT | os.O_SYNC):
                harness.drop_caches()  # O_CREAT of a name the kernel knows is a plain open
                descriptor, native = self.mnt.open_counted(self.root / "second", flags)
                with open(descriptor, "rb", buffering=0) as file, mmap.mmap(-1, MIB) as buffer:
                    self.assertTrue(native, flags)
                    self.assertEqual(os.preadv(file.fileno(), [buffer], 0), 100_000)
                    self.assertEqual(buffer[:100_000], content(1, 100_000))

    def test_programs(self):
        """programs that use files in their own ways: cp, tail, exec, a loop device"""
        path = self.write_file("f", content(1, 3 * MIB + 99))
        program = self.root / "program"
        run("cp", "/bin/true", program)
        image = self.root / "image"
        outside = harness.temporary_directory()
        with open(outside / "image", "wb") as file:
            file.truncate(16 * MIB)
        run("/sbin/mkfs.ext4", "-q", "-d", "/etc/default", outside / "image")
        run("cp", "--sparse=never", outside / "image", image)
        self.mnt.wait_for_native(path, program, image)
        with self.no_reads():
            for reflink in ("auto", "never"):
                run("cp", f"--reflink={reflink}", path, outside / reflink)
                run("cmp", path, outside / reflink)
            self.assertEqual(subprocess.run(["tail", "-c", "5000", path], stdout=subprocess.PIPE, check=True).stdout,
                             content(1, 3 * MIB + 99)[-5000:])
            run(program)
            (outside / "mnt").mkdir()
            run("mount", "-o", "ro,loop", image, outside / "mnt")
            try:
                run("diff", "-r", "--exclude=lost+found", "/etc/default", outside / "mnt")
            finally:
                run("umount", outside / "mnt")
        run("cp", path, self.root / "copied")
        run("cmp", path, self.root / "copied")

    def test_open_before(self):
        """a file opened before a view shows it is read by the daemon until its last close"""
        for number in range(20):
            path = self.write_file(f"f{number}", content(number, 2 * MIB + number))
            first, native = self.mnt.open_counted(path)
            try:
                if native:
                    continue
                shown = self.write_file(f"later{number}", b"x")
                self.mnt.wait_for_native(shown)
                second, native = self.mnt.open_counted(path)
                try:
                    self.assertFalse(native)
                    for descriptor in (first, second):
                        with mmap.mmap(descriptor, 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
                            self.assertEqual(mapping[:], content(number, 2 * MIB + number))
                        self.assertEqual(os.pread(descriptor, 3 * MIB, 0), content(number, 2 * MIB + number))
                finally:
                    os.close(second)
            finally:
                os.close(first)
            self.mnt.wait_for_native(path)
            self.check_all_ways({path: content(number, 2 * MIB + number)})
            return
        self.fail("no file could be opened before the kernel could read it")


class OnDevices(InFile):
    """A pool on two loop devices, one for each media class."""

    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        devices = harness.pool_of_two_devices(directory)
        cls.mnt = harness.Mount(pool=",".join(devices), directory=directory, native="on")

    def directories(self):
        (self.root / "fast").mkdir()
        os.setxattr(self.root / "fast", "user.mpool.class", b"staging")
        return [self.root, self.root / "fast"]


class Concurrent(NativeTest):
    def test_views_come_and_go(self):
        """processes write, replace, remove, open, read and map files while views are made of them
        """
        seed = harness.seed()
        with Load([self.mnt]) as workers:
            workers.start("replace", self.root, "s", 4, seed=seed)
            workers.start("replace", self.root, "t", 40, seed=seed)
            workers.start("churn", self.root, seed=seed)
            for mode in ("buffered", "direct", "map") * 2:
                workers.start("read", self.root, mode, seed=seed)
            workers.watch_until(CONCURRENT_STEPS)
            workers.stop()
        self.assertGreater(self.native()["opens"], 0)
        self.assertGreater(self.native()["served_opens"], 0)
        harness.wait_until(lambda: self.native()["kept"] == 0, "all are let go of")

    def test_many_at_once(self):
        """thousands of files open at a time, more than a process starts with descriptors for"""
        for number in range(1500):
            (self.root / f"{number}").write_bytes(b"%d" % number * 100)
        self.mnt.wait_for_native(self.root / "1499")
        script = """
            import os, resource, sys
            resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
            files = [os.open(f"{sys.argv[1]}/{number}", os.O_RDONLY) for number in range(1500)]
            for number, file in enumerate(files):
                assert os.pread(file, 4096, 0) == b"%d" % number * 100
        """
        with self.no_reads():
            run(sys.executable, "-c", "if True:" + script, self.root)
        harness.wait_until(lambda: self.native()["kept"] == 0, "all are let go of")


class Ends(unittest.TestCase):
    def test_nothing_is_left(self):
        """after umount and after kill -9 no loop device is left; views are in no mount table"""
        def no_erofs():
            return "erofs" not in pathlib.Path(f"/proc/{mnt.daemon.pid}/mountinfo").read_text()

        before = loops()
        mnt = harness.Mount(native="on")
        for number, end in enumerate((mnt.umount, mnt.kill)):
            mnt.path(f"f{number}").write_bytes(content(number, MIB))
            harness.wait_until(lambda: mnt.status()["native"]["files"] == number + 1, "shown")
            with open(mnt.path(f"f{number}"), "rb") as file:
                self.assertEqual(file.read(), content(number, MIB))
                self.assertGreaterEqual(len(loops() - before), 2)
                self.assertTrue(no_erofs())
                # The devices through which the kernel reads must not be found as devices of a pool.
                uuid = mnt.status()["pool"]["uuid"]
                refusal = run(MPOOL, "dump", f"UUID={uuid}", check=False).stderr
                self.assertIn(f"{mnt.pool}: in use", refusal)
                self.assertNotIn("/dev/loop", refusal)
            end()
            harness.wait_until(lambda: not loops() - before, "no loop device is left")
            self.assertNotIn("erofs", pathlib.Path("/proc/self/mountinfo").read_text())
            mnt.mount()
        mnt.umount()


class Possible(harness.PoolTest):
    """Where native reads are possible and where not, and the messages of -o native=."""

    def tearDown(self):
        self.remove_mount()
        self.daemons_ended()

    def native_of(self, native, as_user=()):
        """Mounts, and returns the part of the status about native reads."""
        options = harness.data_path_options(native=native)
        run(*as_user, MPOOLFS, *options, self.image, self.point, timeout=60)
        run(*as_user, "dd", "if=/dev/zero", f"of={self.point / native}", "bs=1M", "count=1")
        self.assertEqual(run(*as_user, "sha256sum", self.point / native).stdout.split()[0],
                         "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58")
        def found():
            return json.loads(run(*as_user, "cat", self.point / ".mpool/status.json").stdout)["native"]

        if found()["state"] == "on":
            harness.wait_until(lambda: found()["files"] > 0, "shown")
        last = found()
        run(*as_user, "fusermount3", "-u", self.point)
        harness.wait_until(lambda: harness.daemon_of(self.point) is None, "the daemon ended")
        return last

    def refused(self, *command):
        done = run(*command, self.image, self.point, check=False, timeout=60)
        print("  " + done.stderr.strip(), file=sys.stderr)
        self.assertIsNone(harness.mounted_type(self.point))
        return done.returncode, done.stderr

    def test_choices(self):
        """on, auto and off as root"""
        for native, state in (("on", "on"), ("auto", "on"), ("off", "off")):
            found = self.native_of(native)
            self.assertEqual(found["state"], state)
            self.assertEqual(found["reason"], "" if state == "on" else "native=off")

    def test_bad_choice(self):
        """other values are a wrong command line"""
        status, message = self.refused(MPOOLFS, "-o", "native=maybe")
        self.assertEqual(status, 2)
        self.assertIn("auto, on and off", message)

    def test_without_privilege(self):
        """without CAP_SYS_ADMIN: on fails with a message, auto and off work, the status has the
        reason"""
        nobody = harness.as_nobody()
        mnt = harness.Mount(pool=self.image, directory=self.directory)
        self.point.chmod(0o777)
        mnt.umount()
        for path in (self.image, self.point):
            os.chown(path, harness.NOBODY, harness.NOBODY)
        status, message = self.refused(*nobody, MPOOLFS, *harness.data_path_options(native="on"))
        self.assertEqual(status, 1)
        self.assertIn("native=on: not possible here", message)
        self.assertRegex(message, "denied|not permitted")
        found = self.native_of("auto", nobody)
        self.assertEqual(found["state"], "off")
        self.assertRegex(found["reason"], "denied|not permitted")
        self.assertEqual(self.native_of("off", nobody)["reason"], "native=off")

    def test_without_leases(self):
        """the system grants no leases, by which the daemon detects readers"""
        leases = pathlib.Path("/proc/sys/fs/leases-enable")
        harness.on_exit(leases.write_text, leases.read_text())
        leases.write_text("0")
        try:
            status, message = self.refused(MPOOLFS, *harness.data_path_options(native="on"))
            self.assertEqual(status, 1)
            self.assertIn("fs.leases-enable", message)
            self.assertIn("fs.leases-enable", self.native_of("auto")["reason"])
        finally:
            leases.write_text("1")

    def test_read_only_twice(self):
        """two read-only mounts have native reads at the same time"""
        data = content(1, 3 * MIB)
        first = harness.Mount(pool=self.image, directory=self.directory, native="on")
        first.path("f").write_bytes(data)
        first.remount("ro")
        second = harness.Mount(pool=self.image, native="on", mount_options="ro")
        for mnt in (first, second):
            self.assertTrue(mnt.is_native(mnt.path("f")))
            self.assertEqual(mnt.path("f").read_bytes(), data)
        for mnt in (first, second):
            mnt.umount()

    def test_no_direct_io(self):
        """a pool in a file of a file system without direct I/O: as without privilege"""
        memory = self.directory / "memory"
        memory.mkdir()
        run("mount", "-t", "ramfs", "ramfs", memory)
        try:
            run("cp", "--sparse=always", self.image, memory / "pool.img")
            self.image = memory / "pool.img"
            status, message = self.refused(MPOOLFS, *harness.data_path_options(native="on"))
            self.assertEqual(status, 1)
            self.assertIn("direct I/O", message)
            found = self.native_of("auto")
            self.assertEqual(found["state"], "off")
            self.assertIn("direct I/O", found["reason"])
        finally:
            run("umount", memory)

    def test_few_descriptors(self):
        """with few descriptors for the daemon it reads the rest of the files, and nothing fails"""
        mnt = harness.Mount(pool=self.image, directory=self.directory, native="on",
                            start_with=["prlimit", "--nofile=80:80"])
        for number in range(200):
            mnt.path(f"{number}").write_bytes(content(number, 5000))
        harness.wait_until(lambda: mnt.status()["native"]["files"] == 200, "all are shown")
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(mnt.path(f"{number}"), "rb", buffering=0)) for number in range(200)]
            for number, file in enumerate(files):
                self.assertEqual(file.read(), content(number, 5000))
            native = mnt.status()["native"]
            self.assertGreater(native["opens"], 0)
            self.assertGreater(native["served_opens"], 0)
            # A view of these cannot be made as long as all descriptors are in use.
            mnt.path("late").write_bytes(content("late", 5000))
            self.assertEqual(mnt.path("late").read_bytes(), content("late", 5000))
        mnt.umount()


if __name__ == "__main__":
    harness.main()

"""Zones that the kernel reads natively belong to one file: no zone of a file with a reader is
reused.

Readers hold a committed file open, open for direct reads, or mapped only, while the file is removed
or replaced, the pool filled with other data, and the daemon killed, ended and restarted, in many
orders. A reader must find the old bytes, or get an error where the daemon that served it is gone.
After the last reader the space becomes free.
"""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import unittest

import harness
from harness import MIB, content, run

harness.give_files_zones()

POOL_SIZE = 128 * MIB
SIZE = 3 * MIB + 5000
KINDS = ("open", "direct", "map")
RANDOM_ROUNDS = 30 if harness.LONG else 1
RANDOM_STEPS = 25

# Holds a file in one of three ways. On each request it reads all of the file and prints "old" when
# that has the expected digest, "error", or the content it found. Python's own mappings keep the
# file open, too.
READER = """
import ctypes, hashlib, mmap, os, sys

path, kind, digest = sys.argv[1:]
descriptor = os.open(path, os.O_RDONLY | (os.O_DIRECT if kind == "direct" else 0))
size = os.fstat(descriptor).st_size
buffer = mmap.mmap(-1, size + 4096)
if kind == "map":
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    assert start != ctypes.c_void_p(-1).value
    os.close(descriptor)

def read():
    if kind == "map":
        assert libc.madvise(start, size, mmap.MADV_DONTNEED) == 0
        return ctypes.string_at(start, size)
    return buffer[:os.preadv(descriptor, [buffer], 0)]

print("ready", flush=True)
for line in sys.stdin:
    try:
        found = read()
        print("old" if hashlib.sha256(found).hexdigest() == digest else f"other bytes, {found[:8]}", flush=True)
    except OSError as error:
        print("error", flush=True)
"""


class Reader:
    def __init__(self, mnt, path, kind, data):
        self.name = f"{path.name} {kind}"
        before = mnt.status()["native"]["opens"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, path, kind, hashlib.sha256(data).hexdigest()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n", self.name
        self.native = mnt.status()["native"]["opens"] > before
        # Only the kernel serves beyond the end of the daemon.
        self.daemon = None if self.native else mnt.daemon

    def look(self):
        with contextlib.suppress(BrokenPipeError):  # a signal ended it
            print("look", file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline().strip()
        if not answer and self._process.wait() == -signal.SIGBUS:
            return "error"
        return answer

    def release(self, kill=False):
        if kill:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class PinTest(unittest.TestCase):
    """A mount whose changes are all durable at once: a killed daemon loses none."""

    on_device = False

    @classmethod
    def setUpClass(cls):
        directory = harness.temporary_directory()
        pool = directory / "pool.img"
        if cls.on_device:
            with open(pool, "wb") as file:
                file.truncate(POOL_SIZE)
            pool = harness.loop_device(pool)
            run(harness.MPOOL, "create", cls.__name__, pool)
        else:
            harness.create_image(pool, cls.__name__, POOL_SIZE)
        cls.mnt = harness.Mount(pool=pool, directory=directory, mount_options="sync", native="on")

    @classmethod
    def tearDownClass(cls):
        cls.mnt.umount()

    def setUp(self):
        self.readers = []
        self.files = {}
        self.made = 0
        self.addCleanup(self.end)

    def end(self):
        self.release_all()
        if self.mnt.daemon is None:
            self.start()

    def free(self):
        return self.mnt.status()["classes"][0]["free"]

    # Steps. A step for a file or a reader chooses any if none is given.

    def write(self, name=None):
        self.made += 1
        name = name or f"file-{self.made}"
        data = content(self.made, SIZE + self.made)
        path = self.mnt.path("new")
        try:
            path.write_bytes(data)
            os.getxattr(path, "user.mpool.committed")  # waits for the commit
        except OSError:
            path.unlink(missing_ok=True)  # no space
            return None
        os.rename(path, self.mnt.path(name))
        self.files[name] = data
        return name

    def hold(self, name, kinds):
        for kind in kinds:
            self.readers.append(Reader(self.mnt, self.mnt.path(name), kind, self.files[name]))

    def unlink(self, name):
        self.mnt.path(name).unlink()
        del self.files[name]

    def fill(self):
        """Fills all free zones with other data."""
        self.made += 1
        number = 0
        for size in (16 * MIB, MIB):
            path = None
            while path is None or path.exists():
                number += 1
                path = self.mnt.path(f"fill-{self.made}-{number}")
                try:
                    path.write_bytes(b"%8d" % self.made * (size // 8))
                    os.getxattr(path, "user.mpool.committed")
                except OSError:
                    path.unlink(missing_ok=True)  # no space

    def empty(self):
        for path in self.mnt.point.glob("fill-*"):
            path.unlink()

    def kill(self):
        """Kills the daemon; removes the dead mount, which may still be in use."""
        self.mnt.kill_daemon()
        run("umount", "--lazy", self.mnt.point)

    def detach_and_kill(self):
        run("umount", "--lazy", self.mnt.point)
        self.mnt.kill_daemon()

    def terminate(self):
        self.mnt.daemon.terminate()
        self.mnt.wait_for_end()

    def start(self, native="on"):
        self.mnt.native = native
        self.mnt.mount()

    def check(self):
        """Readers find the old bytes, past the caches, and files their present content."""
        harness.drop_caches()
        for reader in self.readers:
            answer = reader.look()
            if answer == "error" and reader.daemon not in (None, self.mnt.daemon):
                continue
            self.assertEqual(answer, "old", reader.name)
        if self.mnt.daemon is not None:
            for name, data in self.files.items():
                self.assertEqual("none", harness.differences(data, self.mnt.path(name).read_bytes()), name)

    def release(self, number):
        self.readers.pop(number).release(kill=number % 2 == 1)

    def release_all(self):
        while self.readers:
            self.release(0)

    def back_to(self, free):
        """Without readers and files all space becomes free, and native reads continue."""
        self.release_all()
        self.empty()
        for name in list(self.files):
            self.unlink(name)
        harness.wait_until(lambda: self.free() >= free, f"{free} zones are free")
        if self.mnt.native != "on":
            self.terminate()
            self.start()
        harness.wait_until(lambda: self.mnt.status()["native"]["state"] == "on", "native reads go on")
        name = self.write()
        self.mnt.wait_for_native(self.mnt.path(name))
        self.check()
        self.unlink(name)
        harness.wait_until(lambda: self.free() >= free, f"{free} zones are free")

    def take(self, *steps, kinds=KINDS):
        free = self.free()
        name = self.write()
        self.mnt.wait_for_native(self.mnt.path(name))
        self.hold(name, kinds)
        self.assertTrue(all(reader.native for reader in self.readers))
        for step in steps:
            if step == "replace":
                self.write(name)
            elif step == "unlink":
                self.unlink(name)
            elif step == "start native=off":
                self.start("off")
            else:
                getattr(self, step)()
            if step != "unlink":
                self.check()
        self.back_to(free)


class Orders(PinTest):
    """A pool in a file, a reader of each kind, and steps in an order that each test chooses."""

    def test_unlink(self):
        """removed, then all other zones are filled, freed and filled again"""
        self.take("unlink", "fill", "empty", "fill")

    def test_mapped(self):
        """the same without an open descriptor: the file is only mapped"""
        self.take("unlink", "fill", "empty", "fill", kinds=["map"])
        self.take("unlink", "fill", "terminate", "start", "empty", "fill", kinds=["map"])

    def test_replace(self):
        """replaced by renaming"""
        self.take("replace", "fill", "empty", "fill")

    def test_fill_and_unlink(self):
        """removed from a full pool"""
        self.take("fill", "unlink", "fill")

    def test_unlink_and_kill(self):
        """removed, and the daemon killed and started again"""
        self.take("unlink", "kill", "start", "fill", "empty", "fill")

    def test_kill_and_unlink(self):
        """the daemon killed and started again, then removed"""
        self.take("kill", "start", "unlink", "fill", "kill", "start", "empty", "fill")

    def test_detach_and_kill(self):
        """the mount detached before the daemon is killed"""
        self.take("unlink", "detach_and_kill", "start", "fill")

    def test_without_native(self):
        """started again without native reads"""
        self.take("unlink", "kill", "start native=off", "fill", "kill", "start", "fill")

    def test_unlink_and_terminate(self):
        """removed, and the daemon ended and started again"""
        self.take("unlink", "terminate", "start", "fill", "empty", "fill")

    def test_terminate_and_unlink(self):
        """the daemon ended and started again, then replaced"""
        self.take("terminate", "start native=off", "replace", "fill", "terminate", "start", "fill")


    def test_other_device(self):
        """the pool mounted by way of a loop device over its file, and by the file again"""
        file, device = self.mnt.pool, harness.loop_device(self.mnt.pool)
        self.on_file = lambda: setattr(self.mnt, "pool", file)
        self.on_loop = lambda: setattr(self.mnt, "pool", device)
        self.addCleanup(self.on_file)
        self.take("unlink", "kill", "on_loop", "start", "fill", "kill", "on_file", "start", "empty", "fill")
        self.take("terminate", "on_loop", "start", "unlink", "fill", "terminate", "on_file", "start")


class OtherUser(PinTest):
    def test_other_user(self):
        """the next daemon's user may not even open the devices that the reader reads"""
        name = self.write()
        path = self.mnt.path(name)
        self.mnt.wait_for_native(path)
        self.mnt.point.chmod(0o777)
        self.hold(name, KINDS)
        self.kill()
        for owned in (self.mnt.pool, self.mnt.point):
            os.chown(owned, harness.NOBODY, harness.NOBODY)
        nobody = harness.as_nobody()
        options = harness.data_path_options(native="auto")
        run(*nobody, harness.MPOOLFS, *options, self.mnt.pool, self.mnt.point, timeout=60)
        fill = f"for i in $(seq {POOL_SIZE // MIB}); do head -c {MIB} /dev/zero > fill-$i || exit; done"
        done = run(*nobody, "sh", "-c", f"cd {self.mnt.point} && rm {name} && {fill}", check=False)
        self.assertIn("No space left", done.stderr)
        self.check()
        run(*nobody, "fusermount3", "-u", self.mnt.point)
        harness.wait_until(lambda: harness.daemon_of(self.mnt.point) is None, "the daemon ended")
        self.check()


class OrdersOnDevice(PinTest):
    """The same where the kernel reads the device of the pool itself."""

    on_device = True

    def test_unlink(self):
        """removed, the rest taken, the daemon killed and started with native reads and without"""
        self.take("unlink", "fill", "kill", "start", "empty", "fill", "kill", "start native=off", "empty", "fill")

    def test_kill(self):
        """the daemon killed with the pool full, then replaced and removed"""
        self.take("fill", "kill", "start", "empty", "replace", "unlink", "fill")

    def test_terminate(self):
        """the daemon ended, started, killed and started"""
        self.take("unlink", "terminate", "start", "fill", "detach_and_kill", "start", "empty", "fill")


class AnyOrder(PinTest):
    def test_any_order(self):
        """steps in random order, several files and readers"""
        choice = random.Random(harness.seed())
        for _ in range(RANDOM_ROUNDS):
            free = self.free()
            for _ in range(RANDOM_STEPS):
                self.any_step(choice)
            if self.mnt.daemon is None:
                self.start()
            self.back_to(free)

    def any_step(self, choice):
        if self.mnt.daemon is None:
            return self.start(choice.choice(("on", "on", "off")))
        steps = [self.write] * 2 + [self.fill, self.empty, self.kill, self.detach_and_kill, self.terminate]
        if self.files:
            name = choice.choice(list(self.files))
            steps += [lambda: self.unlink(name), lambda: self.write(name)]
            if len(self.readers) < 10:
                steps += [lambda: self.hold(name, [choice.choice(KINDS)])] * 3
        if self.readers:
            steps += [lambda: self.release(choice.randrange(len(self.readers)))] * 2
        choice.choice(steps)()
        return self.check()


class AnyOrderOnDevice(AnyOrder):
    on_device = True


if __name__ == "__main__":
    harness.main()

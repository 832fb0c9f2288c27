"""Maps: committed mblocks as one file, .mpool/map/NAME."""

import ctypes
import errno
import hashlib
import json
import mmap
import os
import random
import stat
import struct
import subprocess
import sys
import unittest

import harness
from harness import MIB, MPOOL, content, sync_directory
from objects import COMMIT, DELETE, Session, as_user

harness.give_files_zones()

ZONE = MIB
PAGE = 4096

# mpool/ioctl.h
_WRITE, _READ = 1, 2
CREATE = (0xa0, _READ | _WRITE, "64sQIIIIQ32x")
SHOW = (0xa1, _READ | _WRITE, "64sQQQIII4x40x")
RANGE = (0xa3, _WRITE, "64sQQII40x")
RESIDENCY = (0xa4, _READ | _WRITE, "64sQQI44x448I")
NATIVE_MAP = 1
PURGE, WILLNEED = 1, 2

# Maps a file, closes it, and prints the digest of what it sees whenever it is asked.
READER = """
import ctypes, hashlib, mmap, os, sys

descriptor = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(descriptor).st_size
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
start = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
assert start != ctypes.c_void_p(-1).value
os.close(descriptor)
print("ready", flush=True)
for line in sys.stdin:
    print(hashlib.sha256(ctypes.string_at(start, size)).hexdigest(), flush=True)
"""


class Reader:
    """Another process that has a map mapped, and not open."""

    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", READER, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def digest(self):
        print("look", file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait() == 0


def cached_pages(descriptor):
    """cachestat(2)"""
    result = (ctypes.c_uint64 * 5)()
    if ctypes.CDLL(None).syscall(451, descriptor, (ctypes.c_uint64 * 2)(0, 0), result, 0) != 0:
        raise OSError("cachestat")
    return result[0]


def digest(data):
    return hashlib.sha256(data).hexdigest()


class MapSession(Session):
    def create(self, name, *members, advice=0, flags=0):
        """members: ids of mblocks (int) or paths of files. Returns members and stride."""
        entries = [struct.pack("QII", member, 0, 0) if isinstance(member, int)
                   else struct.pack("QII", os.stat(member).st_ino, 1, 0) for member in members]
        os.pwrite(self.descriptor, b"".join(entries), 0)
        fields = self.call(CREATE, name.encode(), 0, len(entries), flags, advice, 0, 0)
        return fields[5], fields[6]

    def show(self, name):
        fields = self.call(SHOW, name.encode(), 0, 0, 0, 0, 0, 0)
        return dict(zip(("stride", "written", "resident", "members", "advice", "flags"), fields[1:]))

    def range(self, name, action, offset=0, length=0, value=0):
        self.call(RANGE, name.encode(), offset, length, action, value)

    def residency(self, name, step, count):
        fields = self.call(RESIDENCY, name.encode(), 0, step, count, *448 * [0])
        return list(fields[4:4 + count])


class Maps(harness.MountTest):
    mount_arguments = {"create_options": ("--zone-size", "1M")}

    def setUp(self):
        super().setUp()
        self.session = MapSession(self.mnt.point)
        self.addCleanup(self.session.close)
        self.maps = self.mnt.path(".mpool", "map")
        self.addCleanup(self.remove_maps)

    def remove_maps(self):
        for name in os.listdir(self.maps):
            os.unlink(self.maps / name)

    def file(self, name, size, key=None):
        path = self.write_file(name, content(name if key is None else key, size))
        return path

    @staticmethod
    def laid_out(stride, *parts):
        return b"".join(part + bytes(stride - len(part)) for part in parts)

    def is_native(self, name):
        return self.session.show(name)["flags"] & NATIVE_MAP != 0

    def test_content(self):
        """members one after the other, zeros behind each, for reads and mappings of any part"""
        sizes = (ZONE, 5, 3 * PAGE, 700_001, ZONE, PAGE)
        paths = [self.file(f"f{size}-{i}", size) for i, size in enumerate(sizes)]
        expected = self.laid_out(ZONE, *(path.read_bytes() for path in paths))
        members, stride = self.session.create("m", *paths)
        self.assertEqual((members, stride), (len(sizes), ZONE))
        path = self.maps / "m"
        self.assertEqual(path.stat().st_size, len(expected))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o400)
        self.assertEqual(path.read_bytes(), expected)
        randomly = random.Random(harness.seed())
        with open(path, "rb", buffering=0) as file:
            with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
                for _ in range(200):
                    offset = randomly.randrange(len(expected))
                    size = randomly.randrange(3 * PAGE)
                    self.assertEqual(os.pread(file.fileno(), size, offset), expected[offset:offset + size])
                    self.assertEqual(mapping[offset:offset + size], expected[offset:offset + size])
            self.assertEqual(os.pread(file.fileno(), 10, len(expected)), b"")
        self.assertEqual(self.is_native("m"), harness.NATIVE != "off")

    def test_members_by_id(self):
        """in any order, more than once, and by the side of files"""
        path = self.file("f", 2 * ZONE + 10_000)
        sync_directory(self.root)
        ids = [int(each, 16) for each in self.xattr(path, "user.mpool.objects").split()]
        data = path.read_bytes()
        parts = [data[:ZONE], data[ZONE:2 * ZONE], data[2 * ZONE:]]
        self.session.create("m", ids[2], ids[0], ids[2], path)
        order = (2, 0, 2, 0, 1, 2)
        self.assertEqual((self.maps / "m").read_bytes(),
                         self.laid_out(ZONE, *(parts[i] for i in order)))

    def test_refusals(self):
        """names that are taken, members that are not there, not committed or of another type"""
        path = self.file("f", 10)
        log = self.append_file("log", b"line")
        uncommitted = self.session.alloc(1)
        self.session.create("taken", path)
        for code, name, member in ((errno.EEXIST, "taken", path), (errno.EINVAL, "a/b", path),
                                   (errno.EINVAL, "m", log), (errno.EINVAL, "m", self.root),
                                   (errno.EAGAIN, "m", uncommitted), (errno.ENOENT, "m", 0x7700100101),
                                   (errno.EINVAL, "m", 0x201)):
            with self.fails_with(code):
                self.session.create(name, member)
        with self.fails_with(errno.E2BIG):
            self.session.create("m", *5 * [path] + 1025 * [self.file("zone", ZONE)])
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            with self.fails_with(errno.EACCES):
                os.open(self.maps / "taken", flags)
        with open(self.maps / "taken", "rb") as file:
            with self.fails_with(errno.EACCES):
                mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with self.fails_with(errno.EACCES):
            os.execv(self.maps / "taken", ["taken"])
        for change in (lambda: os.rename(self.maps / "taken", self.maps / "x"),
                       lambda: os.open(self.maps / "new", harness.NEW), lambda: os.rmdir(self.maps)):
            with self.fails_with(errno.EPERM):
                change()

    def test_mapping_for_execution(self):
        """is the choice of the mount, as for every file that can be read"""
        self.session.create("m", self.file("f", 10))
        executable = mmap.PROT_READ | mmap.PROT_EXEC
        for flag, code in (("noexec", errno.EPERM), ("exec", 0)):
            subprocess.run(["mount", "-o", f"remount,bind,{flag}", self.mnt.point], check=True)
            with open(self.maps / "m", "rb") as file:
                if code == 0:
                    mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, executable).close()
                    continue
                with self.fails_with(code):
                    mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, executable)

    def test_other_users(self):
        """see neither names nor content"""
        self.session.create("m", self.file("f", 10))
        for command in (("ls", self.maps), ("cat", self.maps / "m"), ("rm", "-f", self.maps / "m")):
            self.assertNotEqual(as_user(12345, *command, check=False).returncode, 0)
        self.assertEqual(os.listdir(self.maps), ["m"])

    def test_life(self):
        """members stay until the last user has closed and unmapped the map, then space is free"""
        data = content("f", 3 * ZONE)
        path = self.write_file("f", data)
        sync_directory(self.root)
        free = self.mnt.free_blocks()
        self.session.create("m", path)
        expected = digest(data)
        reader = Reader(self.maps / "m")
        self.assertEqual(reader.digest(), expected)
        path.unlink()
        sync_directory(self.root)
        with open(self.maps / "m", "rb") as file:
            os.unlink(self.maps / "m")
            self.assertEqual(os.listdir(self.maps), [])
            with self.fails_with(errno.ENOENT):
                self.session.show("m")
            self.assertEqual(file.read(), data)
            self.assertEqual(os.fstat(file.fileno()).st_size, len(data))
        for number in range(8):  # zones that were freed would be used
            self.write_file(f"g{number}", bytes(ZONE))
        sync_directory(self.root)
        harness.drop_caches()
        self.assertEqual(reader.digest(), expected)
        for number in range(8):
            os.unlink(self.root / f"g{number}")
        reader.end()
        self.mnt.wait_for_free_blocks(free + 3)

    def test_objects_of_programs(self):
        """cannot be deleted before their map ends"""
        objid = self.session.make_mblock(content(1, ZONE))
        self.session.on_object(COMMIT, objid)
        self.session.create("m", objid)
        with self.fails_with(errno.EBUSY):
            self.session.on_object(DELETE, objid)
        self.assertEqual((self.maps / "m").read_bytes(), content(1, ZONE))
        os.unlink(self.maps / "m")
        self.session.delete(objid)

    def test_of_a_session(self):
        """maps of a session end with its process, whether it closes it or not"""
        path = self.file("f", 10)
        other = MapSession(self.mnt.point)
        other.create("m", path, flags=1)
        self.session.create("stays", path)
        other.close()
        harness.wait_until(lambda: os.listdir(self.maps) == ["stays"], "the map of the session is gone")

    def test_residency_and_purge(self):
        """what is in memory is shown by part; a purge drops it, and all stays readable"""
        data = content("f", 4 * ZONE)
        self.session.create("m", self.write_file("f", data))
        path = self.maps / "m"
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            self.assertEqual(os.pread(file.fileno(), ZONE, ZONE), data[ZONE:2 * ZONE])
            if not self.is_native("m"):
                self.purge_served(file, data)
                return
            found = self.session.residency("m", ZONE, 6)
            self.assertEqual(found[1], ZONE // PAGE)
            self.assertEqual(found[3:], [0, 0, 0])
            self.assertGreaterEqual(self.session.show("m")["resident"], ZONE // PAGE)
            self.session.range("m", PURGE)
            self.assertEqual(sum(self.session.residency("m", ZONE, 4)), 0)
            self.assertEqual(os.pread(file.fileno(), ZONE, 3 * ZONE), data[3 * ZONE:])
            self.session.range("m", PURGE, 3 * ZONE, ZONE // 2)
            self.assertEqual(self.session.residency("m", ZONE // 2, 8)[6:], [0, ZONE // 2 // PAGE])
            self.session.range("m", PURGE)
            self.session.range("m", WILLNEED, 2 * ZONE, 64 * PAGE)
            harness.wait_until(lambda: self.session.residency("m", ZONE, 4) == [0, 0, 64, 0],
                               "a part was read ahead")

    def purge_served(self, file, data):
        with self.fails_with(errno.EOPNOTSUPP):
            self.session.residency("m", ZONE, 4)
        with mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            self.assertGreaterEqual(cached_pages(file.fileno()), ZONE // PAGE)
            self.session.range("m", PURGE)
            harness.wait_until(lambda: cached_pages(file.fileno()) == 0, "the pages are dropped")
            self.assertEqual(mapping[:], data)

    def test_many(self):
        """more maps than a view has room for, all mapped at once, show their content"""
        data = content("f", 4 * PAGE)
        paths = [self.write_file(f"f{i}", data[i * PAGE:(i + 1) * PAGE]) for i in range(4)]
        mappings = []
        for number in range(600):
            self.session.create(f"m{number}", *(paths[(number + i) % 4] for i in range(4)))
            with open(self.maps / f"m{number}", "rb") as file:
                mappings.append(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
        self.assertEqual(len(os.listdir(self.maps)), 600)
        for number in range(0, 600, 37):
            expected = b"".join(data[(number + i) % 4 * PAGE:][:PAGE] for i in range(4))
            self.assertEqual(mappings[number][:], expected)
        self.remove_maps()
        for number in (0, 599):
            self.assertEqual(len(mappings[number][:]), 4 * PAGE)
        for mapping in mappings:
            mapping.close()


class Command(harness.MountTest):
    mount_arguments = {"create_options": ("--zone-size", "1M")}

    def map(self, verb, *arguments, code=0, where=None):
        result = subprocess.run([MPOOL, "map", verb, where or self.mnt.point, *arguments],
                                capture_output=True, text=True,
                                env=dict(os.environ, LC_ALL="C.UTF-8", COLUMNS="100"))
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout if code == 0 else result.stderr

    def test_map(self):
        """mpool map makes, lists, draws, purges, advises and removes maps"""
        path = self.write_file("f", content("f", ZONE + 5000))
        name = str(path.relative_to(self.mnt.point))
        made = self.map("create", "m", path, name, "--advice", "hot")
        self.assertEqual(made, f"{self.mnt.point}/.mpool/map/m\n")
        data = (self.mnt.path(".mpool", "map", "m")).read_bytes()
        self.assertEqual(data[:ZONE + 5000], path.read_bytes())
        by_pool = json.loads(self.map("list", "--json", where=self.mnt.pool))
        [facts] = json.loads(self.map("list", "--json"))
        self.assertEqual(by_pool[0]["name"], facts["name"])
        self.assertEqual((facts["members"], facts["stride"], facts["advice"]), (4, ZONE, "hot"))
        self.assertEqual(facts["native"], harness.NATIVE != "off")
        self.assertGreaterEqual(facts["resident_pages"], (ZONE + 8192) // PAGE)
        picture = self.map("show", "m")
        self.assertIn("|" + 32 * "█" + "| 100%", picture)
        self.assertIn("Advice:    hot", picture)
        self.map("purge", "m")
        harness.wait_until(lambda: "Total:     0 of" in self.map("show", "m"), "the pages are dropped")
        self.map("advise", "m", "willneed")
        harness.wait_until(lambda: "(100%)" in self.map("show", "m"), "all is read")
        self.map("advise", "m", "pinned")
        self.assertEqual(json.loads(self.map("show", "m", "--json"))["advice"], "pinned")
        self.assertIn("there is such a map", self.map("create", "m", path, code=1))
        self.assertIn("not in the mount", self.map("create", "x", "/etc/passwd", code=1))
        self.assertIn("no such map", self.map("show", "x", code=1))
        self.map("rm", "m")
        self.assertEqual(self.map("list"), "")


class EndOfTheMount(unittest.TestCase):
    def test_maps_end_with_the_mount(self):
        """a reader goes on, its zones stay; the next mount has no maps"""
        mnt = harness.Mount()
        data = content("f", 3 * MIB)
        (mnt.point / "f").write_bytes(data)
        session = MapSession(mnt.point)
        session.create("m", mnt.point / "f")
        session.close()
        reader = Reader(mnt.path(".mpool", "map", "m")) if harness.NATIVE != "off" else None
        mnt.daemon.terminate()
        mnt.wait_for_end()
        if reader is not None:
            harness.drop_caches()
            self.assertEqual(reader.digest(), digest(data))
        mnt.mount()
        self.assertEqual(os.listdir(mnt.path(".mpool", "map")), [])
        if reader is not None:
            (mnt.point / "f").unlink()
            (mnt.point / "g").write_bytes(bytes(3 * MIB))
            harness.drop_caches()
            self.assertEqual(reader.digest(), digest(data))
            reader.end()
        mnt.umount()


if __name__ == "__main__":
    harness.main()

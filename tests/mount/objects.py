"""Objects by their ids: .mpool/mblock and .mpool/mlog."""

import errno
import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys

import harness
from harness import MIB, MPOOL, NOBODY, content, run, status_of, sync_directory

harness.give_files_zones()

ZONE = MIB

# mpool/ioctl.h: the direction and size of each structure, and its fields.
_WRITE, _READ = 1, 2
_OBJECT, _HANDLE = "QQQQ", "IIQQQ"
_ALLOC, _PROPERTIES = "IIIIQQ32x", "QQQQ16sIIII32x"
_OPEN, _APPEND, _READING = "QQIIQ32x", "IIQQQ480s", "IIQQQQII464s"
ALLOC, COMMIT, ABORT, DELETE, PROPERTIES, OPEN, CLOSE, APPEND, READ, REWIND, SYNC, LENGTH, ERASE, CSTART, CEND = (
    (number, direction, layout) for number, direction, layout in (
        (0x81, _READ | _WRITE, _ALLOC), (0x82, _WRITE, _OBJECT), (0x83, _WRITE, _OBJECT),
        (0x84, _WRITE, _OBJECT), (0x85, _READ | _WRITE, _PROPERTIES), (0x86, _READ | _WRITE, _OPEN),
        (0x87, _WRITE, _HANDLE), (0x88, _WRITE, _APPEND), (0x89, _READ | _WRITE, _READING),
        (0x8a, _WRITE, _HANDLE), (0x8b, _WRITE, _HANDLE), (0x8c, _READ | _WRITE, _HANDLE),
        (0x8d, _READ | _WRITE, _HANDLE), (0x8e, _WRITE, _HANDLE), (0x8f, _WRITE, _HANDLE)))
USE = (0x93, _WRITE, "II24x")
SHARED = 1
MBLOCK, MLOG = 1, 2


class Session:
    """An open .mpool/ctl."""

    def __init__(self, point, flags=os.O_RDWR):
        self.control = point / ".mpool"
        self.descriptor = os.open(self.control / "ctl", flags)

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None

    def call(self, request, *fields):
        number, direction, layout = request
        data = bytearray(struct.pack(layout, *fields))
        fcntl.ioctl(self.descriptor, direction << 30 | len(data) << 16 | ord("m") << 8 | number, data)
        return struct.unpack(layout, data)

    def alloc(self, kind):
        return self.call(ALLOC, kind, 1, 0, 0, 0, 0)[5]

    def on_object(self, request, objid):
        self.call(request, objid, 0, 0, 0)

    def delete(self, objid):
        """Its file may be closed a moment after close(2)."""
        def deleted():
            try:
                self.on_object(DELETE, objid)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                return False
            return True
        harness.wait_until(deleted, "the object is not open any more")

    def on_handle(self, request, handle, value=0):
        return self.call(request, handle, 0, value, 0, 0)[2]

    def open(self, first, second=0):
        return self.call(OPEN, first, second, 0, 0, 0)[3]

    def append(self, handle, record):
        self.call(APPEND, handle, 0, 0, len(record), 0, record)

    def read(self, handle):
        fields = self.call(READ, handle, 0, 0, 0, 464, 0, 0, 0, b"")
        return fields[8][:fields[5]]

    def path(self, kind, objid):
        return self.control / kind / f"{objid:#x}"

    def make_mblock(self, data):
        objid = self.alloc(MBLOCK)
        descriptor = os.open(self.path("mblock", objid), os.O_WRONLY)
        try:
            self.check_written(descriptor, data)
        finally:
            os.close(descriptor)
        return objid

    @staticmethod
    def check_written(descriptor, data):
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view):]

    def make_log(self):
        objid = self.alloc(MLOG)
        self.on_object(COMMIT, objid)
        return objid


def as_user(number, *command, check=True):
    return run("setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", *command,
               check=check)


class Objects(harness.MountTest):
    mount_arguments = {"create_options": ("--zone-size", "1M")}

    @property
    def control(self):
        return self.mnt.path(".mpool")

    def objects_of(self, path):
        return self.xattr(path, "user.mpool.objects").split()

    def test_mblocks_of_a_file(self):
        """their contents one after the other are the file's, at any offset, with O_DIRECT, too"""
        data = content(1, 3 * ZONE + 12345)
        path = self.write_file("f", data)
        sync_directory(self.root)
        objects = [self.control / "mblock" / name for name in self.objects_of(path)]
        self.assertEqual(len(objects), 4)
        together = b"".join(each.read_bytes() for each in objects)
        self.assertEqual(together[:len(data)], data)
        self.assertEqual([each.stat().st_size for each in objects[:3]], 3 * [ZONE])
        self.assertEqual(objects[3].stat().st_size, 16384)
        self.assertEqual(objects[3].stat().st_blocks * 512, ZONE)
        with open(objects[1], "rb", buffering=0) as file:
            self.assertEqual(os.pread(file.fileno(), 1000, 777), data[ZONE + 777:ZONE + 1777])
            self.assertEqual(os.pread(file.fileno(), 10, 2 * ZONE), b"")
        copied = subprocess.run(["dd", f"if={objects[2]}", "iflag=direct", "bs=64K", "status=none"],
                                check=True, capture_output=True).stdout
        self.assertEqual(copied, data[2 * ZONE:3 * ZONE])

    def test_mlogs_of_a_file(self):
        """an append-only file is the concatenation of its mlogs' records"""
        path = self.append_file("log", b"one ")
        self.append_file("log", b"two ")
        self.append_file("log", b"three")
        sync_directory(self.root)
        [name] = self.objects_of(path)
        self.assertEqual((self.control / "mlog" / name).read_bytes(), b"one two three")
        self.assertFalse((self.control / "mblock" / name).exists())

    def test_listing(self):
        """every committed object is listed once, in ascending order, and can be read"""
        for number in range(300):
            self.write_file(f"f{number}", b"x")
        sync_directory(self.root)
        for kind in ("mblock", "mlog"):
            names = os.listdir(self.control / kind)
            self.assertEqual(len(names), status_of(self.mnt.point)["objects"][f"{kind}s"])
            numbers = [int(name, 16) for name in names]
            self.assertEqual(numbers, sorted(set(numbers)))
        self.assertIn("0x201", os.listdir(self.control / "mlog"))
        listed = run("ls", "-ln", self.control / "mblock").stdout.splitlines()[1:]
        self.assertTrue(all(line.startswith("-r-------- 1 0 0 4096 ") for line in listed), listed[:3])

    def test_cannot_be_changed(self):
        """not written, removed, renamed, linked nor made"""
        path = self.write_file("f", b"data")
        sync_directory(self.root)
        [name] = self.objects_of(path)
        of_file = self.control / "mblock" / name
        with self.fails_with(errno.EACCES):
            os.open(of_file, os.O_WRONLY)
        for change in (lambda: os.unlink(of_file), lambda: os.rename(of_file, self.root / "x"),
                       lambda: os.link(of_file, self.root / "x"), lambda: os.chmod(of_file, 0o644),
                       lambda: os.open(self.control / "mblock/0x999", harness.NEW),
                       lambda: os.rmdir(self.control / "mblock")):
            with self.fails_with(errno.EPERM):
                change()
        with self.fails_with(errno.ENOENT):
            os.stat(self.control / "mblock/0x999")
        self.assertEqual(path.read_bytes(), b"data")

    def test_open_object_outlives_its_file(self):
        """an object that is open is readable after its file was removed, then its space is free"""
        path = self.write_file("f", content(3, ZONE))
        sync_directory(self.root)
        free = self.mnt.free_blocks()
        [name] = self.objects_of(path)
        with open(self.control / "mblock" / name, "rb") as file:
            path.unlink()
            sync_directory(self.root)
            self.assertEqual(file.read(), content(3, ZONE))
        self.write_file("g", b"")  # a batch, which deletes what waits
        sync_directory(self.root)
        self.mnt.wait_for_free_blocks(free + 1)
        self.assertFalse((self.control / "mblock" / name).exists())

    def test_other_users(self):
        """see neither the names nor the content, whatever the mode of the file"""
        path = self.write_file("f", b"secret", mode=0o644)
        sync_directory(self.root)
        [name] = self.objects_of(path)
        self.mnt.remount("allow_other")
        try:
            self.assertEqual(as_user(NOBODY, "cat", path).stdout, "secret")
            for command in (("ls", self.control / "mblock"), ("cat", self.control / "mblock" / name),
                            ("stat", self.control / "mlog/0x201")):
                self.assertIn("Permission denied", as_user(NOBODY, *command, check=False).stderr)
        finally:
            self.mnt.remount()


class Calls(harness.MountTest):
    mount_arguments = {"create_options": ("--zone-size", "1M")}

    def setUp(self):
        super().setUp()
        self.session = Session(self.mnt.point)
        self.addCleanup(lambda: self.session.close())

    def test_mblock(self):
        """allocated, written by its file, committed, read, there after a remount, deleted"""
        data = content(5, ZONE)
        objid = self.session.make_mblock(data)
        path = self.session.path("mblock", objid)
        with self.fails_with(errno.EACCES):
            os.open(path, os.O_RDONLY)
        self.session.on_object(COMMIT, objid)
        self.assertEqual(path.read_bytes(), data)
        with self.fails_with(errno.EACCES):
            os.open(path, os.O_WRONLY)
        self.session.close()
        self.mnt.remount()
        self.session = Session(self.mnt.point)
        self.assertEqual(path.read_bytes(), data)
        self.assertEqual(self.session.call(PROPERTIES, objid, 0, 0, 0, b"", 0, 0, 0, 0)[7], 1)
        self.session.delete(objid)
        self.assertFalse(path.exists())

    def test_incomplete_page(self):
        """what is less than a page at the end is no part of the object, and close says so"""
        objid = self.session.alloc(MBLOCK)
        path = self.session.path("mblock", objid)
        descriptor = os.open(path, os.O_WRONLY)
        os.write(descriptor, content(9, 4096 + 10))
        with self.fails_with(errno.EINVAL):
            os.close(descriptor)
        self.session.on_object(COMMIT, objid)
        self.assertEqual(path.read_bytes(), content(9, 4096))
        self.session.delete(objid)

    def test_log_and_mdc(self):
        """records are appended and read, one by one and by the file"""
        objid = self.session.make_log()
        log = self.session.open(objid)
        for record in (b"one", b"two", content(1, 480)):
            self.session.append(log, record)
        self.assertEqual([self.session.read(log) for _ in range(2)], [b"one", b"two"])
        self.session.on_handle(SYNC, log)
        path = self.session.path("mlog", objid)
        self.assertEqual(path.read_bytes(), b"onetwo" + content(1, 480))
        self.session.on_handle(ERASE, log)
        self.session.on_handle(CLOSE, log)
        harness.shell(f"echo line >> {path}")
        self.assertEqual(path.read_bytes(), b"line\n")
        self.session.delete(objid)

        pair = self.session.make_log(), self.session.make_log()
        mdc = self.session.open(*pair)
        self.session.append(mdc, b"old")
        self.session.on_handle(CSTART, mdc)
        self.session.append(mdc, b"new")
        self.session.on_handle(CEND, mdc)
        self.session.on_handle(CLOSE, mdc)
        mdc = self.session.open(*pair)
        self.assertEqual((self.session.read(mdc), self.session.read(mdc)), (b"new", b""))

    def test_long_record(self):
        """a record of several requests goes through the buffer of the session"""
        record = content(7, 700_000)
        log = self.session.open(self.session.make_log())
        self.assertEqual(os.pwrite(self.session.descriptor, record, 0), len(record))
        self.session.call(APPEND, log, 1, 0, len(record), 0, b"")
        fields = self.session.call(READ, log, 1, 0, MIB, MIB, 0, 0, 0, b"")
        self.assertEqual(fields[5:7], (len(record), 0))
        self.assertEqual(os.pread(self.session.descriptor, len(record), MIB), record)

    def test_end_of_a_process(self):
        """uncommitted objects of a killed process are gone, its logs can be deleted"""
        log = self.session.make_log()
        free = self.mnt.free_blocks()
        script = (f"import sys, pathlib; sys.path.insert(0, {os.path.dirname(__file__)!r}); import objects, time\n"
                  f"session = objects.Session(pathlib.Path({str(self.mnt.point)!r}))\n"
                  f"session.open({log})\n"
                  "print(session.make_mblock(bytes(4096)), flush=True)\n"
                  "time.sleep(1000)\n")
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        objid = int(process.stdout.readline())
        process.stdout.close()
        path = self.session.path("mblock", objid)
        self.assertTrue(path.exists())
        with self.fails_with(errno.EBUSY):
            self.session.on_object(DELETE, log)
        with self.fails_with(errno.ENOENT):
            self.session.on_object(COMMIT, objid)  # it is the other session's
        process.send_signal(signal.SIGKILL)
        process.wait()
        harness.wait_until(lambda: not path.exists(), "the mblock is aborted")
        self.mnt.wait_for_free_blocks(free)
        self.session.delete(log)

    def test_use_beside_changes(self):
        """sessions begin, and each waits for closes on their way, while the journal does too"""
        script = """if True:
            import os, sys
            for number in range(300):
                with open(f"{sys.argv[1]}/{number % 8}.new", "wb") as file:
                    file.write(b"x")
                os.rename(file.name, f"{sys.argv[1]}/{number % 8}")
                os.sync()
            """
        directory = self.mnt.path("changing")
        directory.mkdir()
        changing = subprocess.Popen([sys.executable, "-c", script, directory])
        self.addCleanup(changing.wait)
        self.addCleanup(changing.kill)
        while changing.poll() is None:
            session = Session(self.mnt.point)
            session.call(USE, SHARED, 0)
            session.close()
        self.assertEqual(changing.returncode, 0)

    def test_objects_of_the_tree(self):
        """can be read, never deleted, opened or appended to"""
        file, log = self.write_file("f", b"data"), self.append_file("log", b"line")
        sync_directory(self.root)
        for path in (file, log):
            with self.fails_with(errno.EPERM):
                self.session.on_object(DELETE, int(self.xattr(path, "user.mpool.objects"), 16))
        with self.fails_with(errno.EPERM):
            self.session.open(int(self.xattr(log, "user.mpool.objects"), 16))
        with self.fails_with(errno.EPERM):
            self.session.open(0x201, 0x1201)
        with self.fails_with(errno.ENOTTY):
            fcntl.ioctl(self.session.descriptor, 0x6d7f)
        self.assertEqual((file.read_bytes(), log.read_bytes()), (b"data", b"line"))

    def test_other_users_and_read_only(self):
        """other users cannot open it; a read-only mount changes nothing"""
        objid = self.session.make_log()
        self.session.close()
        self.mnt.remount("allow_other")
        self.assertIn("Permission denied",
                      as_user(NOBODY, "cat", self.mnt.path(".mpool/ctl"), check=False).stderr)
        self.mnt.remount("ro")
        self.session = Session(self.mnt.point, os.O_RDONLY)
        for change in (lambda: self.session.alloc(MBLOCK),
                       lambda: self.session.on_object(DELETE, objid),
                       lambda: self.session.open(objid)):
            with self.fails_with(errno.EROFS):
                change()
        self.session.close()
        self.mnt.remount()
        self.session = Session(self.mnt.point)


class Commands(harness.MountTest):
    mount_arguments = {"create_options": ("--zone-size", "1M")}

    def mpool(self, command, verb, *arguments, check=True, **more):
        return run(MPOOL, command, verb, self.mnt.pool, *arguments, check=check, **more)

    def test_objects(self):
        """mpool object works on a mounted pool"""
        data = self.mnt.directory / "data"
        data.write_bytes(content(1, 5 * 4096))
        objid = self.mpool("object", "write", data).stdout.strip()
        self.assertEqual(self.mnt.path(".mpool/mblock", objid).read_bytes(), data.read_bytes())
        shown = self.mpool("object", "show", objid).stdout
        self.assertRegex(shown, r"length: *20480\n")
        self.assertRegex(shown, r"owner: *program\n")
        file = self.write_file("f", b"content")
        sync_directory(self.root)
        [of_tree] = self.xattr(file, "user.mpool.objects").split()
        listed = self.mpool("object", "list").stdout
        self.assertRegex(listed, rf"{objid} .*program\n")
        self.assertRegex(listed, rf"{of_tree} .*tree\n")
        self.assertEqual(self.mpool("object", "read", of_tree).stdout[:7], "content")
        refused = self.mpool("object", "delete", of_tree, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("belongs to the named tree", refused.stderr)
        steps = f"alloc\nwrite - {data}\ncommit -\ndelete -\nalloc\n"
        last = self.mpool("object", "run", input=steps).stdout.split()[-1]
        harness.wait_until(lambda: not self.mnt.path(".mpool/mblock", last).exists(), "the abort")
        self.mpool("object", "delete", objid)

    def test_records(self):
        """mpool log and mpool mdc, too"""
        log = self.mpool("log", "create").stdout.strip()
        self.mpool("log", "append", log, "--lines", input="one\ntwo\n" + 1000 * "x" + "\n")
        self.assertEqual(self.mpool("log", "read", log, "--records").stdout,
                         "3\none\n3\ntwo\n1000\n" + 1000 * "x" + "\n")
        self.mpool("log", "erase", log)
        self.assertEqual(self.mpool("log", "read", log).stdout, "")
        self.mpool("log", "delete", log)
        pair = self.mpool("mdc", "create").stdout.strip()
        self.mpool("mdc", "append", pair, input="before")
        self.mpool("mdc", "replace", pair, "--lines", input="a\nb\n")
        self.assertEqual(self.mpool("mdc", "read", pair).stdout, "ab")
        self.assertIn("named tree", self.mpool("mdc", "append", "root", check=False, input="x").stderr)
        self.mpool("mdc", "delete", pair)


class PoolOwner(harness.PoolTest):
    def test_may_read(self):
        """the owner of the pool reads its objects, and uid= of the mount says the owner"""
        run(MPOOL, "set", self.image, f"uid={NOBODY}")
        mount = harness.Mount(pool=self.image, directory=self.directory, mount_options="allow_other")
        directory = mount.path(".mpool/mlog")
        facts = directory.stat()
        self.assertEqual((stat.S_IMODE(facts.st_mode), facts.st_uid), (0o500, NOBODY))
        as_user(NOBODY, "wc", directory / "0x201")
        self.assertIn("Permission denied", as_user(1, "ls", directory, check=False).stderr)
        mount.remount("allow_other,uid=1")
        as_user(1, "wc", directory / "0x201")
        self.assertIn("Permission denied", as_user(NOBODY, "ls", directory, check=False).stderr)
        mount.umount()


class ForeignPool(harness.PoolTest):
    def test_user_type_of_another_program(self):
        """such a pool is not taken: the mount is empty and read-only, the objects can be read"""
        user_type = "01234567-89ab-cdef-0123-456789abcdef"
        run(MPOOL, "set", self.image, f"user_type={user_type}")
        mount = harness.Mount(pool=self.image, directory=self.directory)
        self.assertTrue(mount.status()["pool"]["foreign"])
        self.assertEqual(os.listdir(mount.point), [])
        with self.assertRaises(OSError) as caught:
            mount.path("d").mkdir()
        self.assertEqual(caught.exception.errno, errno.EROFS)
        self.assertEqual(mount.path(".mpool/mlog/0x201").read_bytes(), b"")
        session = Session(mount.point)
        root = session.open(0x201, 0x1201)
        session.append(root, b"mine")
        objid = session.make_mblock(content(1, MIB))
        session.on_object(COMMIT, objid)
        session.close()
        mount.remount()
        self.assertEqual(session.path("mblock", objid).read_bytes(), content(1, MIB))
        session = Session(mount.point)
        self.assertEqual(session.read(session.open(0x201, 0x1201)), b"mine")
        session.close()
        mount.umount()
        self.assertEqual(run(MPOOL, "get", self.image, "user_type").stdout.strip(), user_type)

    def test_first_mount_marks_the_pool(self):
        """a pool without user type has that of mpoolfs after its first mount"""
        mount = harness.Mount(pool=self.image, directory=self.directory)
        mount.umount()
        self.assertEqual(run(MPOOL, "get", self.image, "user_type").stdout.strip(),
                         "6d706f6f-6c66-4373-9b1e-52c7d0a4e683")
        run(MPOOL, "check", self.image)


if __name__ == "__main__":
    harness.main()

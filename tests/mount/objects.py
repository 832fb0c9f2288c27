"""Objects by their ids: .mpool/mblock and .mpool/mlog."""

import errno
import os
import stat
import subprocess

import harness
from harness import MIB, MPOOL, NOBODY, content, run, status_of, sync_directory

ZONE = MIB


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

"""The beginning and end of a mount."""

import errno
import os
import pathlib
import signal
import subprocess
import time

import harness
from harness import MIB, MPOOLFS, content, run


class Lifecycle(harness.PoolTest):
    POOL_SIZE = "256M"

    def tearDown(self):
        if harness.mounted_type(self.point) is not None:
            run("umount", self.point)
        self.daemons_ended()

    def mount(self, *arguments):
        return harness.Mount(pool=self.image, directory=self.directory, mount_options=",".join(arguments))

    def test_background(self):
        """mpoolfs returns when the mount is usable; umount ends it; the image mounts again"""
        for number in range(5):
            done = run(MPOOLFS, *harness.data_path_options(), self.image, self.point, timeout=60)
            self.assertEqual((done.stdout, done.stderr), ("", ""))
            self.assertEqual(harness.mounted_type(self.point), "fuse.mpoolfs")
            self.assertEqual(harness.status_of(self.point)["transport"]["name"], harness.TRANSPORT)
            for old in range(number):
                self.assertEqual((self.point / f"f{old}").read_bytes(), content(old, 3 * MIB))
            (self.point / f"f{number}").write_bytes(content(number, 3 * MIB))
            daemon = harness.daemon_of(self.point)
            self.assertIsNotNone(daemon)
            self.assertEqual(os.readlink(f"/proc/{daemon}/cwd"), "/")
            run("umount", self.point)
        self.daemons_ended()

    def test_table_of_mounts(self):
        """the mount shows its pool and type"""
        mnt = self.mount()
        line = run("findmnt", "-n", "-o", "SOURCE,FSTYPE", self.point).stdout.split()
        self.assertEqual(line, [str(self.image), "fuse.mpoolfs"])
        mnt.umount()

    def test_signals(self):
        """SIGTERM, SIGINT and SIGHUP end the daemon with 0, everything durable, no mount left"""
        mnt = self.mount()
        for number, name in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
            (self.point / f"f{number}").write_bytes(content(number, MIB))
            mnt.daemon.send_signal(name)
            mnt.wait_for_end(0)
            self.assertIsNone(harness.mounted_type(self.point))
            mnt.mount()
            self.assertEqual((self.point / f"f{number}").read_bytes(), content(number, MIB))
        mnt.umount()

    def test_end_with_open_files(self):
        """SIGTERM with open files ends the daemon; users get errors; committed files are intact"""
        mnt = self.mount()
        (self.point / "whole").write_bytes(content(1, MIB))
        reader = os.open(self.point / "whole", os.O_RDONLY)
        writer = os.open(self.point / "writing", os.O_WRONLY | os.O_CREAT)
        log = os.open(self.point / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(writer, content(2, MIB))
        os.write(log, b"record")
        mnt.daemon.terminate()
        mnt.wait_for_end(0)
        for descriptor in (writer, log):
            with self.assertRaises(OSError):
                os.write(descriptor, b"more")
        for descriptor in (reader, writer, log):
            harness.close_after_kill(descriptor)
        self.assertIsNone(harness.mounted_type(self.point))
        mnt.mount()
        self.assertEqual((self.point / "whole").read_bytes(), content(1, MIB))
        self.assertEqual((self.point / "log").read_bytes(), b"record")
        mnt.umount()

    def test_lazy_umount(self):
        """after umount -l the daemon serves open files until they are closed"""
        mnt = self.mount()
        with open(self.point / "f", "wb", buffering=0) as file:
            file.write(content(1, MIB))
            run("umount", "--lazy", self.point)
            self.assertIsNone(mnt.daemon.poll())
            file.write(content(2, MIB))
        mnt.wait_for_end(0)
        mnt.mount()
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB) + content(2, MIB))
        mnt.umount()

    def test_busy_umount(self):
        """umount with open files is refused, without effect on the mount"""
        mnt = self.mount()
        (self.point / "f").write_bytes(b"data")
        with open(self.point / "f", "rb"):
            self.assertNotEqual(run("umount", self.point, check=False).returncode, 0)
            self.assertEqual((self.point / "f").read_bytes(), b"data")
        mnt.umount()

    def test_kill(self):
        """umount removes the mount of a killed daemon; the pool mounts again without repair"""
        mnt = self.mount()
        (self.point / "f").write_bytes(content(1, MIB))
        harness.sync_directory(self.point)
        mnt.kill_daemon()
        with self.assertRaises(OSError) as caught:
            os.stat(self.point / "f")
        self.assertEqual(caught.exception.errno, errno.ENOTCONN)
        run("umount", self.point)
        mnt.mount()
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB))
        mnt.umount()

    def test_early_kill(self):
        """a daemon killed at any moment of its start and first requests ends at once"""
        for number in range(20):
            daemon = subprocess.Popen([MPOOLFS, "-f", *harness.data_path_options(), self.image, self.point],
                                      stderr=subprocess.DEVNULL)
            harness.wait_until(lambda: harness.mounted_type(self.point) is not None, "mounted")
            time.sleep(number * 0.001)
            if number % 2:
                os.statvfs(self.point)
            daemon.kill()
            self.assertEqual(daemon.wait(30), -signal.SIGKILL)
            run("umount", self.point)

    def test_read_only(self):
        """-o ro: everything can be read, nothing changed, and no byte of the image is written"""
        mnt = self.mount()
        (self.point / "d").mkdir()
        (self.point / "d/f").write_bytes(content(1, MIB))
        with open(self.point / "log", "ab") as log:
            log.write(b"record")
        mnt.umount()
        before = harness.sha256(self.image)
        mnt.mount("ro")
        self.assertEqual((self.point / "d/f").read_bytes(), content(1, MIB))
        self.assertEqual((self.point / "log").read_bytes(), b"record")
        for change in (lambda: (self.point / "new").write_bytes(b""), (self.point / "d/f").unlink,
                       (self.point / "new").mkdir, lambda: (self.point / "d").rename(self.point / "e"),
                       lambda: (self.point / "d").chmod(0o700), lambda: open(self.point / "log", "ab"),
                       lambda: os.truncate(self.point / "log", 0)):
            with self.assertRaises(OSError) as caught:
                change()
            self.assertEqual(caught.exception.errno, errno.EROFS)
        mnt.umount()
        self.assertEqual(harness.sha256(self.image), before)

    def test_read_only_after_crash(self):
        """-o ro after a crash recovers in memory only"""
        mnt = self.mount()
        (self.point / "f").write_bytes(content(1, MIB))
        harness.sync_directory(self.point)
        writer = os.open(self.point / "unfinished", os.O_WRONLY | os.O_CREAT)
        os.write(writer, content(2, 5 * MIB))
        mnt.kill_daemon()
        harness.close_after_kill(writer)
        mnt.kill()
        before = harness.sha256(self.image)
        mnt.mount("ro")
        self.assertEqual(os.listdir(self.point), ["f"])
        self.assertEqual((self.point / "f").read_bytes(), content(1, MIB))
        mnt.umount()
        self.assertEqual(harness.sha256(self.image), before)

    def test_sync(self):
        """-o sync: closed files and changes survive kill -9 at once"""
        mnt = self.mount("sync")
        for number in range(5):
            (self.point / f"d{number}").mkdir()
            (self.point / f"d{number}/f").write_bytes(content(number, 100_000))
            # The last close returns before the commit; the next lookup of a fact waits for it.
            os.getxattr(self.point / f"d{number}/f", "user.mpool.committed")
            os.rename(self.point / f"d{number}", self.point / f"e{number}")
            mnt.crash()
            self.assertEqual((self.point / f"e{number}/f").read_bytes(), content(number, 100_000))
        mnt.umount()

    def test_owner_options(self):
        """-o uid=,gid= show all files as owned by them"""
        mnt = self.mount("uid=1234", "gid=2345")
        (self.point / "f").write_bytes(b"1")
        for path in (self.point, self.point / "f"):
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (1234, 2345))
        mnt.umount()
        mnt.mount("")
        self.assertEqual((self.point / "f").stat().st_uid, 0)
        mnt.umount()

    def test_kernel_options(self):
        """nosuid, nodev, noexec, noatime reach the kernel; options for fstab are accepted"""
        mnt = self.mount("rw,defaults,noauto,nofail,_netdev,x-systemd.automount,noexec,nosuid,nodev,noatime")
        options = run("findmnt", "-n", "-o", "OPTIONS", self.point).stdout.strip().split(",")
        self.assertLessEqual({"rw", "nosuid", "nodev", "noexec", "noatime", "default_permissions",
                              "allow_other"}, set(options))
        mnt.umount()

    def test_read_ahead(self):
        """read-ahead of the mount is raised to 8 MiB"""
        mnt = self.mount()
        device = run("findmnt", "-n", "-o", "MAJ:MIN", self.point).stdout.strip()
        setting = pathlib.Path(f"/sys/class/bdi/{device}/read_ahead_kb")
        harness.wait_until(lambda: setting.read_text().strip() == "8192", "read-ahead raised")
        mnt.umount()

    def test_helper(self):
        """as mount.mpoolfs, the way mount(8) calls it"""
        helper = self.directory / "mount.mpoolfs"
        helper.symlink_to(MPOOLFS)
        run(helper, self.image, self.point, "-s", "-n", "-v", "-f", "-o", "rw")
        self.assertIsNone(harness.mounted_type(self.point))
        run(helper, self.image, self.point, "-n", "-o", "rw,noauto,user", *harness.data_path_options())
        (self.point / "f").write_bytes(b"data")
        run("umount", self.point)
        self.wait_for_helper(helper)

    def wait_for_helper(self, helper):
        def gone():
            found = subprocess.run(["pgrep", "-f", str(helper)], stdout=subprocess.PIPE, check=False)
            return not found.stdout
        harness.wait_until(gone, "the daemon of the helper ended", 60)

    def test_relative_paths(self):
        """relative paths of the pool and of the mount point"""
        run(MPOOLFS, *harness.data_path_options(), "pool.img", "mnt", cwd=self.directory)
        (self.point / "f").write_bytes(b"data")
        run("umount", self.point)
        run(MPOOLFS, *harness.data_path_options(), "./pool.img", "./mnt", cwd=self.directory)
        self.assertEqual((self.point / "f").read_bytes(), b"data")
        run("umount", self.point)
        harness.wait_until(lambda: not self.image_in_use(), "the daemon ended", 60)

    def image_in_use(self):
        return run(harness.MPOOL, "dump", self.image, check=False).returncode != 0


if __name__ == "__main__":
    harness.main()

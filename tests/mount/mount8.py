"""mount(8) and the mount table: helpers, remounting, options of users, fstab, other mount
namespaces.

The program runs in a mount namespace of its own, in which the directory of mount(8)'s helpers is
overlaid.
"""

import contextlib
import errno
import os
import pathlib
import signal
import subprocess

import harness
import private_mounts
from harness import MIB, MPOOL, MPOOLFS, content, run, shell

HELPERS = ("mount.mpoolfs", "mount.mpool", "mount.fuse.mpoolfs")


def overlay(target, directory):
    """Makes changes of `target` visible in this namespace only; returns their directory."""
    for name in ("upper", "work"):
        (directory / name).mkdir(parents=True)
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir={target},upperdir={directory / 'upper'},workdir={directory / 'work'}", target)
    return directory / "upper"


def install_helpers():
    place = harness.temporary_directory() / "overlay"
    place.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", place)
    overlay("/usr/sbin", place)
    for name in HELPERS:
        link = pathlib.Path("/usr/sbin") / name
        link.unlink(missing_ok=True)
        link.symlink_to(MPOOLFS)


class Mount8(harness.PoolTest):
    POOL_SIZE = "512M"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not pathlib.Path("/usr/sbin/mount.mpool").exists():
            install_helpers()

    def setUp(self):
        self.directory = harness.temporary_directory()
        self.image = self.directory / "pool.img"
        # Pools on block devices have names of their own.
        harness.create_image(self.image, f"mount8-{self.directory.name[-8:]}", self.POOL_SIZE)
        self.point = self.directory / "mnt"
        self.point.mkdir()
        harness.on_exit(self.remove_mount)

    def tearDown(self):
        self.umount()

    def loop_device(self, image, *options):
        """For the time of the test."""
        device = run("losetup", *options, "--find", "--show", image).stdout.strip()
        self.addCleanup(run, "losetup", "--detach", device)
        return device

    def mount(self, *arguments, options="", check=True, source=None, pool_type="mpoolfs"):
        chosen = ",".join(filter(None, [harness.data_path_options()[1], options]))
        types = ["-t", pool_type] if pool_type else []
        return run("mount", *types, "-o", chosen, *arguments, source or self.image, self.point, check=check)

    def remount(self, options, check=True):
        return run("mount", "-o", f"remount,{options}", self.point, check=check)

    def umount(self, point=None):
        """Unmounts all mounts there, and waits for the daemons to end."""
        point = point or self.point
        daemon = harness.daemon_of(point)
        while harness.mounted_type(point) is not None:
            run("umount", point)
        if daemon is not None:
            harness.wait_until(lambda: not pathlib.Path(f"/proc/{daemon}").exists(), "the daemon ended", 60)

    def options(self, column="OPTIONS"):
        return set(run("findmnt", "-n", "-o", column, self.point).stdout.strip().split(","))

    def assert_refused(self, done, *words):
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)


class Types(Mount8):
    def test_types(self):
        """the helper is found by mpoolfs, by mpool, and by the type that blkid reports"""
        device = self.loop_device(self.image)
        for pool_type, source in (("mpoolfs", self.image), ("mpool", self.image), (None, device)):
            with self.subTest(pool_type):
                self.mount(source=source, pool_type=pool_type)
                self.assertEqual(harness.mounted_type(self.point), "fuse.mpoolfs")
                self.umount()

    def test_installed_helpers(self):
        """meson install puts the helpers into mount(8)'s directory, for the installed program"""
        place = self.directory / "installed"
        run("meson", "install", "-C", os.environ["MPOOLFS_BUILD_ROOT"], "--no-rebuild", "--quiet", "--destdir", place)
        for name in HELPERS:
            target = os.readlink(place / "usr/sbin" / name)
            self.assertTrue(target.startswith("/"), target)
            self.assertTrue(os.access(f"{place}{target}", os.X_OK), target)

    def test_name_with_comma_and_blank(self):
        """a comma and a blank in the name of an image, alone and among several"""
        image = self.directory / "a,b c\\.img"
        self.image.rename(image)
        self.mount(source=image)
        self.assert_refused(self.mount(source=image, check=False), "in use")
        self.umount()
        for escaped in (str(image), str(image).replace("\\", "\\\\").replace(",", "\\,")):
            run(MPOOL, "info", escaped)


class Options(Mount8):
    def test_set_user_id_and_devices_are_off(self):
        """nosuid and nodev are defaults of the program, suid and dev of mount(8), as documented"""
        for options, off in (("", True), ("suid,dev", False), ("rw,suid", None)):
            run(MPOOLFS, *harness.data_path_options(), "-o", options or "rw", self.image, self.point)
            shown = {"nosuid", "nodev"} & self.options()
            self.assertEqual(shown, {True: {"nosuid", "nodev"}, False: set(), None: {"nodev"}}[off])
            self.umount()
        for options, shown in (("", set()), ("nosuid", {"nosuid"}), ("nosuid,nodev", {"nosuid", "nodev"})):
            self.mount(options=options)
            self.assertEqual({"nosuid", "nodev"} & self.options(), shown)
            self.umount()

    def test_options_of_users(self):
        """options that users write for other file systems, and those of fstab"""
        self.mount(options="defaults,rw,exec,relatime,lazytime,silent,user,noauto,nofail,_netdev,x-a=b,"
                           "errors=remount-ro,default_permissions,user_xattr,discard,comment=c")
        (self.point / "f").write_bytes(b"data")

    def test_sloppy(self):
        """an unknown option is refused, and skipped with -s"""
        self.assert_refused(self.mount(options="data=ordered", check=False), "data=ordered")
        self.mount("-s", options="data=ordered")

    def test_what_cannot_be_kept(self):
        """options without effect are refused, with the reason"""
        self.assert_refused(self.mount(options="strictatime", check=False), "reading does not change")
        self.assert_refused(self.mount(options="errors=panic", check=False), "not written to")

    def test_access_times(self):
        """reading changes no access time"""
        self.mount(options="atime")
        path = self.point / "f"
        path.write_bytes(b"data")
        os.utime(path, (1, 2))
        path.read_bytes()
        self.assertEqual(path.stat().st_atime, 1)

    def test_no_symbolic_links(self):
        """with nosymfollow links are not followed"""
        self.mount(options="nosymfollow")
        self.assertIn("nosymfollow", self.options())
        (self.point / "f").write_bytes(b"data")
        (self.point / "l").symlink_to("f")
        self.assertEqual(os.readlink(self.point / "l"), "f")
        with self.assertRaises(OSError) as caught:
            (self.point / "l").read_bytes()
        self.assertEqual(caught.exception.errno, errno.ELOOP)

    def test_loop(self):
        """mount -o loop of a pool's image"""
        self.mount(options="loop")
        self.assertIn("/dev/loop", run("findmnt", "-n", "-o", "SOURCE", self.point).stdout)
        (self.point / "f").write_bytes(b"data")


class Remount(Mount8):
    def test_read_only(self):
        """remount,ro refuses changes and makes earlier writes durable; remount,rw permits them"""
        self.mount()
        daemon = harness.daemon_of(self.point)
        (self.point / "f").write_bytes(content(1, 3 * MIB))
        shell(f"echo line >> {self.point / 'log'}")
        self.remount("ro")
        os.kill(daemon, signal.SIGSTOP)  # no operation follows the remount
        self.assertIn("ro", self.options("FS-OPTIONS"))
        os.kill(daemon, signal.SIGKILL)
        harness.wait_until(lambda: not pathlib.Path(f"/proc/{daemon}").exists(), "the daemon is gone")
        self.umount()
        self.mount()
        self.assertEqual((self.point / "f").read_bytes(), content(1, 3 * MIB))
        self.assertEqual((self.point / "log").read_text(), "line\n")
        self.remount("ro")
        with self.assertRaises(OSError) as caught:
            (self.point / "g").write_bytes(b"data")
        self.assertEqual(caught.exception.errno, errno.EROFS)
        self.remount("rw")
        (self.point / "g").write_bytes(b"data")

    def test_busy(self):
        """remount,ro while a file is open for writing fails, without effect"""
        self.mount()
        with open(self.point / "f", "wb") as file:
            self.assert_refused(self.remount("ro", check=False), "open for writing")
            file.write(b"data")
        self.assertEqual((self.point / "f").read_bytes(), b"data")
        self.remount("ro")

    def test_flags(self):
        """flags are changed one by one, those not named stay"""
        self.mount(options="nosuid,nodev")
        self.remount("noatime")
        self.assertLessEqual({"rw", "nosuid", "nodev", "noatime"}, self.options())
        self.remount("noexec,suid")
        self.assertLessEqual({"rw", "nodev", "noatime", "noexec"}, self.options())
        self.assertNotIn("nosuid", self.options())
        self.remount("nosuid,exec,atime")
        self.assertIn("nosuid", self.options())
        self.assertFalse({"noexec", "noatime"} & self.options())

    def test_what_cannot_change(self):
        """options of the daemon are refused unless they equal those of the mount"""
        self.mount(options="workers=7")
        for option in ("sync", "workers=8", "uid=5", "force"):
            self.assert_refused(self.remount(option, check=False), option.split("=")[0], "umount and mount again")
        self.remount(f"workers=7,native={harness.NATIVE},ro")
        self.assertIn("ro", self.options("FS-OPTIONS"))

    def test_mounted_read_only(self):
        """a read-only mount cannot be remounted for writing"""
        self.mount(options="ro")
        self.assert_refused(self.remount("rw", check=False), "read-only", "umount and mount again")
        self.remount("noatime,ro")
        self.assertIn("ro", self.options("FS-OPTIONS"))

    def test_of_other_mounts(self):
        """the program remounts nothing but its own mounts"""
        done = run(MPOOLFS, "-o", "remount,ro", "x", self.point, check=False)
        self.assert_refused(done, "no mount of mpoolfs")


class Table(Mount8):
    def test_bind_and_move(self):
        """bind mounts and moved mounts; the daemon ends with the last of them"""
        self.mount()
        daemon = harness.daemon_of(self.point)
        bound, moved = self.directory / "bound", self.directory / "moved"
        for path in (bound, moved):
            path.mkdir()
        (self.point / "f").write_bytes(b"data")
        run("mount", "--bind", self.point, bound)
        run("mount", "-o", "remount,bind,ro", bound)
        with self.assertRaises(OSError):
            (bound / "g").write_bytes(b"data")
        run("mount", "--move", self.point, moved)
        (moved / "g").write_bytes(b"more")
        run("umount", moved)
        self.assertEqual((bound / "g").read_bytes(), b"more")
        run("umount", bound)
        harness.wait_until(lambda: not pathlib.Path(f"/proc/{daemon}").exists(), "the daemon ended", 60)

    def test_fstab(self):
        """fstab: mounting by directory, all, twice, remounting, umounting by device"""
        device = self.loop_device(self.image)
        uuid = run("blkid", "-o", "value", "-s", "UUID", device).stdout.strip()
        with self.fstab(f"UUID={uuid} {self.point} mpool {harness.data_path_options()[1]},noatime 0 0\n"):
            run("mount", self.point)
            self.assertIn("noatime", self.options())
            run("mount", "-a")
            run("mount", "-a")
            self.assertEqual(len(run("findmnt", "-n", self.point).stdout.splitlines()), 1)
            run("mount", "-o", "remount,ro", self.point)
            self.assertIn("ro", self.options("FS-OPTIONS"))
            run("umount", device)
        self.assertIsNone(harness.mounted_type(self.point))

    @contextlib.contextmanager
    def fstab(self, text):
        """In the namespace of this program."""
        table = self.directory / "fstab"
        table.write_text(text)
        run("mount", "--bind", table, "/etc/fstab")
        try:
            yield
        finally:
            run("umount", "/etc/fstab")

    def test_other_namespace(self):
        """a mount kept by another mount namespace is named, with a process there"""
        self.mount()
        keeper = subprocess.Popen(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c",
                                   "echo ready; exec sleep 1000"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(keeper.stdout.close)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        self.assertEqual(keeper.stdout.readline(), "ready\n")
        run("umount", self.point)
        done = self.mount(check=False)
        self.assert_refused(done, f"mounted on {self.point} in the mount namespace of process {keeper.pid} (sleep)")
        run("nsenter", "--mount", "--root", "-t", keeper.pid, "umount", self.point)
        self.mount()  # once the daemon has ended


class Devices(Mount8):
    def test_two_devices_by_one(self):
        """a pool of two devices is mounted by its UUID and by either device, and shown by either"""
        directory = harness.temporary_directory()
        devices = harness.pool_of_two_devices(directory)
        uuid = run("blkid", "-o", "value", "-s", "UUID", devices[0]).stdout.strip()
        for source in (f"UUID={uuid}", *devices):
            with self.subTest(source):
                self.mount(source=source)
                paths = {device["path"] for device in harness.status_of(self.point)["devices"]}
                self.assertEqual(paths, set(devices))
                self.umount()
        for device in devices:
            for command in ("info", "df", "check", "get"):
                run(MPOOL, command, device)
        run(MPOOL, "check", *devices)

    def test_write_protected(self):
        """the message for a write-protected device or image names the way to mount it"""
        device = self.loop_device(self.image, "--read-only")
        self.assert_refused(self.mount(source=device, check=False), "write-protected", "-o ro")
        self.mount(source=device, options="ro")
        self.umount()
        run("mount", "--bind", "-o", "ro", self.directory, self.directory)
        try:
            self.assert_refused(self.mount(check=False), "write-protected", "-o ro")
        finally:
            run("umount", self.directory)

    def test_image_in_the_mount(self):
        """an image committed in the mount is mounted read-only automatically"""
        self.mount()
        image, inner = self.directory / "ext4", self.directory / "inner"
        inner.mkdir()
        with open(image, "wb") as file:
            file.truncate(8 * MIB)
        run("mkfs.ext4", "-q", image)
        shell(f"cp {image} {self.point / 'ext4'}")
        run("mount", "-o", "loop", self.point / "ext4", inner)
        self.assertTrue((inner / "lost+found").is_dir())
        with self.assertRaises(OSError):
            (inner / "f").write_bytes(b"data")
        run("umount", inner)


if __name__ == "__main__":
    private_mounts.make_mounts_private()
    harness.main()

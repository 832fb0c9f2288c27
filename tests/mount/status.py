"""The control directory .mpool and its status file."""

import concurrent.futures
import errno
import fcntl
import json
import os
import stat
import tarfile

import harness
from harness import MIB, content, run, shell
import system_calls

NOBODY = 65534
ENTRIES = ["ctl", "jobs", "map", "mblock", "metrics", "mlog", "references", "status.json", "tunable"]


class ControlTest(harness.MountTest):
    @property
    def control(self):
        return self.mnt.path(".mpool")

    @property
    def status_file(self):
        return self.control / "status.json"

    def status(self):
        return json.loads(self.status_file.read_bytes())


class ControlDirectory(ControlTest):
    def test_hidden(self):
        """ls, find, tar, cp and rm of the mount do not find .mpool; by name it exists"""
        self.write_file("f", b"data")
        self.assertNotIn(".mpool", os.listdir(self.mnt.point))
        self.assertNotIn(".mpool", run("ls", "-la", self.mnt.point).stdout)
        self.assertNotIn(".mpool", run("find", self.mnt.point).stdout)
        outside = harness.temporary_directory()
        run("tar", "-C", self.mnt.point, "-cf", outside / "all.tar", ".")
        with tarfile.open(outside / "all.tar") as archive:
            names = archive.getnames()
        self.assertIn(f"./{self.root.name}/f", names)
        self.assertFalse([name for name in names if ".mpool" in name])
        run("cp", "-a", self.mnt.point, outside / "copy")
        self.assertFalse((outside / "copy" / ".mpool").exists())
        self.assertTrue(self.control.is_dir())
        shell(f"rm -rf {self.mnt.point}/* {self.mnt.point}/.[!.]*")
        self.assertEqual(os.listdir(self.mnt.point), [])
        self.assertTrue(self.status_file.is_file())

    def test_only_in_the_root(self):
        """other directories may have a .mpool of their own"""
        self.assertFalse((self.root / ".mpool").exists())
        (self.root / ".mpool").mkdir()
        self.assertEqual(os.listdir(self.root / ".mpool"), [])
        (self.root / ".mpool").rmdir()

    def test_listing(self):
        """ls shows its entries, with and without attributes; .. is the root of the mount"""
        self.assertEqual(run("ls", self.control).stdout.split(), ENTRIES)
        listed = run("ls", "-l", self.control).stdout
        self.assertRegex(listed, r"-rw-r--r-- 1 root root 0 .* jobs\n")
        self.assertRegex(listed, r"-r--r--r-- 1 root root 0 .* status.json\n")
        with os.scandir(self.control) as entries:
            found = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
        self.assertEqual(found, {"references": True, "status.json": True, "jobs": True,
                                 "metrics": True, "ctl": True, "mblock": False,
                                 "mlog": False, "map": False, "tunable": False})
        self.assertEqual(os.stat(self.control / "..").st_ino, os.stat(self.mnt.point).st_ino)
        self.assertEqual(shell(f"cd {self.control} && pwd -P").stdout, f"{self.control}\n")
        with self.fails_with(errno.ENOENT):
            os.stat(self.control / "nothing")

    def references(self):
        lines = (self.control / "references").read_text().splitlines()
        return {line[:15].strip(): line[15:].strip() for line in lines}

    def test_references(self):
        """.mpool/references counts what keeps files and objects, and names what has no name"""
        self.write_file("f", content(1, MIB))
        closed = lambda: self.references()["open file"] == "0 inodes"
        harness.wait_until(closed, "the file is closed")
        self.assertEqual(self.references()["deletes"], "at once")
        with open(self.root / "f", "rb") as file:
            self.assertEqual(self.references()["open file"], "1 inodes")
            os.unlink(self.root / "f")
            line = f"inode {os.fstat(file.fileno()).st_ino}"
            self.assertIn(f"{line}: 1 holders", (self.control / "references").read_text())
            self.assertEqual(len(file.read()), MIB)
        harness.wait_until(closed, "the file is closed again")
        gone = lambda: f"{line}:" not in (self.control / "references").read_text()
        harness.wait_until(gone, "the inode has ended")

    def test_attributes(self):
        """readable by every user, owned by root, the same after a remount"""
        for path, mode in ((self.control, stat.S_IFDIR | 0o555),
                           (self.status_file, stat.S_IFREG | 0o444)):
            facts = path.lstat()
            self.assertEqual(facts.st_mode, mode)
            self.assertEqual((facts.st_uid, facts.st_gid, facts.st_size), (0, 0, 0))
        inodes = self.control.stat().st_ino, self.status_file.stat().st_ino
        self.assertNotEqual(*inodes)
        self.mnt.remount()
        self.assertEqual((self.control.stat().st_ino, self.status_file.stat().st_ino), inodes)

    def test_extended_attributes(self):
        """there are none, and none can be made"""
        for path in (self.control, self.status_file):
            self.assertEqual(os.listxattr(path), [])
            with self.fails_with(errno.ENODATA):
                os.getxattr(path, "user.mpool.class")
            with self.fails_with(errno.ENOTSUP):
                os.setxattr(path, "user.x", b"1")
            with self.fails_with(errno.ENOTSUP):
                os.removexattr(path, "user.x")

    def test_statfs(self):
        """df of it is df of the mount"""
        for path in (self.control, self.status_file):
            self.assertEqual(os.statvfs(path).f_blocks, os.statvfs(self.mnt.point).f_blocks)
            self.assertTrue(os.access(path, os.R_OK))

    def test_remove_and_rename(self):
        """its files cannot be removed, renamed, linked or replaced"""
        mine, directory = self.write_file("mine", b"1"), self.root / "d"
        directory.mkdir()
        changes = (
            lambda: os.rmdir(self.control),
            lambda: os.rename(self.control, self.root / "moved"),
            lambda: os.rename(directory, self.control),
            lambda: system_calls.rename(directory, self.control, system_calls.RENAME_EXCHANGE),
            lambda: os.unlink(self.status_file),
            lambda: os.rename(self.status_file, self.root / "moved"),
            lambda: os.rename(mine, self.status_file),
            lambda: os.rename(mine, self.control / "new"),
            lambda: os.link(self.status_file, self.root / "linked"),
            lambda: os.link(mine, self.control / "new"),
        )
        for number, change in enumerate(changes):
            with self.subTest(number), self.fails_with(errno.EPERM):
                change()
        self.assertEqual(shell(f"rm -rf {self.control}", check=False).returncode, 1)
        self.assertEqual(sorted(os.listdir(self.root)), ["d", "mine"])
        self.assertEqual(sorted(os.listdir(self.control)),
                         ENTRIES)
        self.status()

    def test_create(self):
        """nothing can be made in it, nor in its place"""
        changes = (
            lambda: os.close(os.open(self.control / "new", os.O_WRONLY | os.O_CREAT, 0o644)),
            lambda: os.mkdir(self.control / "new"),
            lambda: os.mknod(self.control / "new"),
            lambda: os.symlink("target", self.control / "new"),
        )
        for number, change in enumerate(changes):
            with self.subTest(number), self.fails_with(errno.EPERM):
                change()
        with self.fails_with(errno.EEXIST):
            os.mkdir(self.control)
        with self.fails_with(errno.EEXIST):
            os.close(os.open(self.control, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        self.assertEqual(sorted(os.listdir(self.control)),
                         ENTRIES)

    def test_change(self):
        """its files cannot be opened for writing, truncated or given other attributes"""
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
            with self.subTest(flags), self.fails_with(errno.EACCES):
                os.close(os.open(self.status_file, flags))
        for path in (self.control, self.status_file):
            for change in (lambda: os.chmod(path, 0o777), lambda: os.chown(path, 1, 1),
                           lambda: os.utime(path)):
                with self.fails_with(errno.EPERM):
                    change()
        with self.fails_with(errno.EPERM):
            os.truncate(self.status_file, 0)

    def test_other_users(self):
        """every user may read the status, and none but root may change anything"""
        def as_nobody(script):
            return shell(script, check=False, user=NOBODY, group=NOBODY, extra_groups=[])
        self.assertEqual(json.loads(as_nobody(f"cat {self.status_file}").stdout)["pool"]["name"],
                         harness.POOL_NAME)
        for script in (f"touch {self.control}/new", f"rm -f {self.status_file}",
                       f"echo > {self.status_file}", f"rmdir {self.control}"):
            done = as_nobody(script)
            self.assertNotEqual(done.returncode, 0, script)
            self.assertRegex(done.stderr, "denied|not permitted|cannot create", script)


class Jobs(ControlTest):
    mount_arguments = {"size": "128M"}

    @property
    def jobs_file(self):
        return self.control / "jobs"

    def jobs(self):
        return {job["name"]: job for job in self.status()["jobs"]}

    def state(self, name="discard-capacity"):
        return self.jobs()[name]["state"]

    def command(self, line):
        return shell(f"echo '{line}' > {self.jobs_file}", check=False)

    def test_lists(self):
        """the file and the status show the same jobs"""
        lines = self.jobs_file.read_text().splitlines()
        self.assertEqual(lines[0].split(),
                         ["name", "state", "priority", "done", "total", "bytes", "bytes/s"])
        jobs = self.jobs()
        self.assertEqual([line.split()[0] for line in lines[1:]], list(jobs))
        self.assertEqual(set(jobs), {"discard-capacity", "maintain-mdcs", "watch-space", "repack",
                                     "reaper"})
        self.assertEqual(jobs["discard-capacity"]["priority"], "low")
        self.assertEqual(jobs["maintain-mdcs"]["priority"], "normal")
        self.assertGreater(jobs["discard-capacity"]["bytes_per_second"], 0)
        self.assertEqual(jobs["maintain-mdcs"]["bytes_per_second"], 0)

    def test_work(self):
        """a change of objects makes work; a deletion is discarded"""
        before = self.jobs()["discard-capacity"]["bytes"]
        self.write_file("f", content(1, 4 * MIB)).unlink()
        self.assertEqual(self.state("maintain-mdcs"), "waiting")
        harness.wait_until(lambda: self.jobs()["discard-capacity"]["bytes"] >= before + 4 * MIB,
                           "the zones are discarded")

    def test_pause_and_cancel(self):
        """freed zones are pending while discards are paused, until resumed or cancelled"""
        def pending():
            return self.status()["classes"][0]["pending"]
        for end in ("resume", "cancel"):
            with self.subTest(end):
                self.assertEqual(self.command("pause discard-capacity").returncode, 0)
                self.assertEqual(self.state(), "paused")
                self.write_file("f", content(1, 4 * MIB)).unlink()
                harness.wait_until(lambda: pending() >= 4, "the zones are freed")
                self.assertEqual(self.state(), "paused")
                self.assertEqual(self.command(f"{end} discard-capacity").returncode, 0)
                harness.wait_until(lambda: pending() == 0, "the zones are free")
                self.assertEqual(self.command("resume discard-capacity").returncode, 0)
                self.assertEqual(self.state(), "idle")

    def test_allocation_during_a_pause(self):
        """a writer that needs the zones of a deleted file gets them though discards are paused"""
        free = self.status()["classes"][0]["free_bytes"]
        self.command("pause discard-capacity")
        try:
            for _ in range(3):
                self.write_file("f", content(1, free * 2 // 3)).unlink()
        finally:
            self.command("resume discard-capacity")

    def test_refusals(self):
        """wrong commands and names fail, and only the owner may write"""
        for line, code in (("stop x", errno.EINVAL), ("pause nothing", errno.ENOENT)):
            with self.subTest(line), self.fails_with(code):
                self.jobs_file.write_text(line)
        done = shell(f"cat {self.jobs_file} && echo pause discard-capacity > {self.jobs_file}",
                     check=False, user=NOBODY, group=NOBODY, extra_groups=[])
        self.assertIn("discard-capacity", done.stdout)
        self.assertIn("ermission denied", done.stderr)
        with self.fails_with(errno.EPERM):
            os.truncate(self.jobs_file, 0)
        self.assertNotEqual(self.state(), "paused")

    def test_owner(self):
        """with uid= that user commands the jobs"""
        self.mnt.remount(f"uid={NOBODY}")
        try:
            shell(f"echo pause watch-space > {self.jobs_file}", user=NOBODY, group=NOBODY,
                  extra_groups=[])
            self.assertEqual(self.state("watch-space"), "paused")
        finally:
            self.mnt.remount()
        self.assertNotEqual(self.state("watch-space"), "paused")

    def test_ioctl(self):
        """none is known: ENOTTY, for the directory, too"""
        for path in (self.jobs_file, self.status_file, self.control):
            fd = os.open(path, os.O_RDONLY)
            try:
                with self.fails_with(errno.ENOTTY):
                    fcntl.ioctl(fd, 0x6d01)
                with self.fails_with(errno.ENOTTY):
                    fcntl.ioctl(fd, 0xc0046d02, bytes(4))
            finally:
                os.close(fd)


class Status(ControlTest):
    # The counters of devices include the daemon's transfers, but not the kernel's native reads.
    mount_arguments = {"size": "256M", "native": "off"}

    def test_programs(self):
        """cat, python3 -m json.tool, cp, head and tail read it"""
        json.loads(shell(f"cat {self.status_file} | python3 -m json.tool").stdout)
        outside = harness.temporary_directory() / "copy"
        run("cp", self.status_file, outside)
        json.loads(outside.read_text())
        self.assertEqual(run("head", "-n1", self.status_file).stdout, "{\n")
        self.assertEqual(run("tail", "-n1", self.status_file).stdout, "}\n")

    def test_who_and_where(self):
        """pool, mount, transport and devices"""
        status = self.status()
        uuid = run("blkid", "-p", "-s", "UUID", "-o", "value", self.mnt.pool).stdout.strip()
        self.assertEqual(status["pool"], {"name": harness.POOL_NAME, "uuid": uuid,
                                          "mounted_on": os.path.realpath(self.mnt.point),
                                          "read_only": False, "foreign": False,
                                          "damage": []})
        self.assertEqual(status["version"], run(harness.MPOOLFS, "--version").stdout.split()[-1])
        self.assertEqual(status["transport"]["name"], harness.TRANSPORT)
        for fact in ("queues", "threads"):
            self.assertGreaterEqual(status["transport"][fact], 1)
        self.assertGreaterEqual(status["transport"]["max_write"], 128 << 10)
        [device] = status["devices"]
        self.assertEqual(device["path"], os.path.realpath(self.mnt.pool))
        self.assertEqual(device["size"], 256 * MIB)
        self.assertEqual(device["zones"] * device["zone_size"], 256 * MIB)
        self.assertEqual((device["offline"], device["errors"]), (False, 0))
        self.assertGreater(len(status["mdcs"]), 1)

    def test_follows_changes(self):
        """space, objects and transfers follow writes and reads"""
        before = self.status()
        size = 4 * MIB
        path = self.write_file("f", content(1, size))
        self.append_file("log", b"line\n")
        directory = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)
        after = self.status()
        zone = before["classes"][0]["zone_size"]
        self.assertEqual(after["objects"]["mblocks"] - before["objects"]["mblocks"], -(-size // zone))
        self.assertEqual(after["objects"]["mlogs"] - before["objects"]["mlogs"], 1)
        self.assertLessEqual(after["classes"][0]["free_bytes"],
                             before["classes"][0]["free_bytes"] - size)
        self.assertGreaterEqual(after["devices"][0]["written_bytes"],
                                before["devices"][0]["written_bytes"] + size)
        run("dd", f"if={path}", "of=/dev/null", "bs=1M", "iflag=direct")
        self.assertGreaterEqual(self.status()["devices"][0]["read_bytes"],
                                after["devices"][0]["read_bytes"] + size)

    def wait_for_closes(self):
        """The kernel sends the last close of a file shortly after close(2)."""
        harness.wait_until(lambda: self.status()["open_files"] == 0, "no file is open")

    def test_snapshot(self):
        """an open file keeps the content from its open; each open generates it again"""
        path = self.write_file("f", content(1, MIB))
        self.wait_for_closes()
        with open(self.status_file, "rb", buffering=0) as file:
            first = file.read(10)
            with open(path, "rb"):
                whole = first + b"".join(iter(lambda: file.read(100), b""))
                self.assertEqual(os.pread(file.fileno(), 10, 0), first)
                self.assertEqual(os.pread(file.fileno(), 10, len(whole)), b"")
                self.assertEqual(json.loads(whole)["open_files"], 0)
                self.assertEqual(self.status()["open_files"], 1)
        self.wait_for_closes()

    def test_many_readers(self):
        """threads that read it permanently while files are made and removed see valid JSON"""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(lambda: [self.status() for _ in range(100)]) for _ in range(4)]
            for number in range(100):
                self.write_file(f"f{number}", b"x").unlink()
            for reader in readers:
                self.assertEqual(len(reader.result()), 100)

    def test_open_while_unmounting(self):
        """umount says busy while the status is open, and works afterwards"""
        with open(self.status_file, "rb"):
            self.assertNotEqual(run("umount", self.mnt.point, check=False).returncode, 0)
        self.mnt.remount()
        self.status()

    def test_read_only(self):
        """-o ro is shown, and changes fail with EROFS"""
        self.mnt.remount("ro")
        try:
            self.assertTrue(self.status()["pool"]["read_only"])
            with self.fails_with(errno.EROFS):
                os.rmdir(self.control)
        finally:
            self.mnt.remount()

    def test_presented_owner(self):
        """uid= and gid= hold for the control directory, too"""
        self.mnt.remount("uid=1234,gid=2345")
        try:
            for path in (self.control, self.status_file):
                self.assertEqual((path.stat().st_uid, path.stat().st_gid), (1234, 2345))
        finally:
            self.mnt.remount()


if __name__ == "__main__":
    harness.main()

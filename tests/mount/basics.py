"""Everyday programs on a mount."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import tarfile

import harness
from harness import MIB, content, run, shell
import system_calls

NOBODY = 65534


class Programs(harness.MountTest):
    def setUp(self):
        super().setUp()
        self.outside = harness.temporary_directory()

    def test_cp_and_cat(self):
        """cp in and out, cat, cmp: small, unaligned and larger than a zone"""
        for size in (0, 1, 4095, 4096, 4097, 100_000, 3 * MIB + 17):
            source = self.outside / f"f{size}"
            source.write_bytes(content(size, size))
            run("cp", source, self.root / source.name)
            run("cmp", source, self.root / source.name)
            out = subprocess.run(["cat", self.root / source.name], stdout=subprocess.PIPE, check=True)
            self.assertEqual(out.stdout, content(size, size))
            run("cp", self.root / source.name, self.outside / "back")
            run("cmp", source, self.outside / "back")

    def test_cp_inside(self):
        """cp within the mount makes a file with the same content"""
        first = self.write_file("first", content(1, 2 * MIB + 5))
        run("cp", first, self.root / "second")
        self.assertEqual((self.root / "second").read_bytes(), content(1, 2 * MIB + 5))

    def test_cp_keeps_attributes(self):
        """cp -a keeps mode, owner and times"""
        source = self.outside / "file"
        source.write_bytes(b"x" * 10)
        os.chown(source, 1234, 2345)
        source.chmod(0o640)
        os.utime(source, ns=(1_000_000_001_000_000_002, 1_000_000_003_000_000_004))
        run("cp", "-a", source, self.root / "copy")
        for _ in range(2):
            copy = (self.root / "copy").stat()
            self.assertEqual((copy.st_uid, copy.st_gid), (1234, 2345))
            self.assertEqual(stat.S_IMODE(copy.st_mode), 0o640)
            self.assertEqual(copy.st_mtime_ns, 1_000_000_003_000_000_004)
            self.mnt.remount()

    def test_dd(self):
        """dd with block sizes that are and are not multiples of pages, with fsync"""
        for block in (512, 1000, 65536, MIB, MIB + 1):
            target = self.root / f"bs{block}"
            run("dd", "if=/dev/urandom", f"of={target}", f"bs={block}", "count=5",
                "iflag=fullblock", "conv=fsync")
            self.assertEqual(target.stat().st_size, 5 * block)
            run("dd", f"if={target}", f"of={self.outside / 'out'}", f"bs={block}")
            run("cmp", target, self.outside / "out")

    def test_tail_follow(self):
        """tail -f shows appended lines"""
        log = self.append_file("log", b"first\n")
        with subprocess.Popen(["tail", "-s", "0.1", "-n", "+1", "-f", log], stdout=subprocess.PIPE,
                              bufsize=0) as tail:
            try:
                self.assertEqual(tail.stdout.readline(), b"first\n")
                for number in range(3):
                    shell(f"echo line{number} >> {log}")
                    self.assertEqual(tail.stdout.readline(), f"line{number}\n".encode())
            finally:
                tail.kill()

    def test_rm_mv_mkdir(self):
        """mkdir -p, mv within and between directories, rm, rm -r, rmdir"""
        run("mkdir", "-p", self.root / "a/b/c")
        self.write_file("f", b"data")
        run("mv", self.root / "f", self.root / "a/b/g")
        self.assertFalse((self.root / "f").exists())
        self.assertEqual((self.root / "a/b/g").read_bytes(), b"data")
        run("mv", self.root / "a/b", self.root / "d")
        self.assertEqual((self.root / "d/g").read_bytes(), b"data")
        self.assertEqual(sorted(os.listdir(self.root)), ["a", "d"])
        self.assertNotEqual(run("rmdir", self.root / "d", check=False).returncode, 0)
        run("rm", self.root / "d/g")
        run("rm", "-r", self.root / "d", self.root / "a")
        self.assertEqual(os.listdir(self.root), [])

    def test_ls_find_stat_df(self):
        """ls -la, find, stat and df show the present state"""
        (self.root / "directory").mkdir()
        self.write_file("file", b"12345")
        self.append_file("log", b"123")
        (self.root / "link").symlink_to("file")
        listing = run("ls", "-la", self.root).stdout
        for text in ("directory", " 5 ", "link -> file", " .\n", " ..\n"):
            self.assertIn(text, listing)
        found = run("find", self.root, "-mindepth", "1", "-printf", "%y %s %f\n").stdout.splitlines()
        self.assertIn("f 5 file", found)
        self.assertIn("f 3 log", found)
        self.assertIn("l 4 link", found)
        self.assertEqual(len(found), 4)
        self.assertEqual(run("stat", "-c", "%s %F", self.root / "file").stdout.strip(),
                         "5 regular file")
        size, used, free = map(int, run("df", "-B1", "--output=size,used,avail", self.root)
                               .stdout.splitlines()[1].split())
        self.assertGreater(free, 300 * MIB)
        self.assertLessEqual(used + free, size)

    def test_directory_links(self):
        """the link count of a directory counts its directories"""
        (self.root / "a").mkdir()
        (self.root / "b").mkdir()
        self.assertEqual(self.root.stat().st_nlink, 4)
        (self.root / "a").rmdir()
        self.assertEqual(self.root.stat().st_nlink, 3)

    def test_one_file_by_several_programs(self):
        """{ echo a; /bin/echo b; } > f gives one file"""
        shell(f"{{ echo a; /bin/echo b; }} > {self.root / 'f'}")
        self.assertEqual((self.root / "f").read_text(), "a\nb\n")

    def test_tar(self):
        """tar xf makes files, directories, links, modes and times"""
        source = self.outside / "tree"
        (source / "sub").mkdir(parents=True)
        for number in range(50):
            (source / "sub" / f"{number}").write_bytes(content(number, number * 333))
        (source / "symbolic").symlink_to("sub/7")
        os.link(source / "sub/8", source / "hard")
        (source / "sub/9").chmod(0o751)
        archive = self.outside / "tree.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(source, "tree")
        run("tar", "xf", archive, "-C", self.root)
        run("diff", "-r", source, self.root / "tree")
        self.assertEqual(stat.S_IMODE((self.root / "tree/sub/9").stat().st_mode), 0o751)
        self.assertEqual((self.root / "tree/hard").stat().st_ino,
                         (self.root / "tree/sub/8").stat().st_ino)
        self.assertEqual(int((source / "sub/9").stat().st_mtime),
                         int((self.root / "tree/sub/9").stat().st_mtime))
        run("tar", "cf", self.outside / "again.tar", "-C", self.root, "tree")

    def test_rsync_like_rename(self):
        """writing a temporary file and renaming it over the old one replaces it"""
        for version in range(5):
            shell(f"echo {version} > {self.root / 'tmp'} && mv {self.root / 'tmp'} {self.root / 'f'}")
            self.assertEqual((self.root / "f").read_text(), f"{version}\n")
        self.assertEqual(os.listdir(self.root), ["f"])

    def test_touch_decides_nothing(self):
        """a file made by touch becomes a log or a write-once file by its first writer"""
        run("touch", self.root / "a", self.root / "b")
        shell(f"echo one >> {self.root / 'a'}; echo two >> {self.root / 'a'}")
        self.assertEqual((self.root / "a").read_text(), "one\ntwo\n")
        shell(f"echo one > {self.root / 'b'}")
        self.assertEqual((self.root / "b").read_text(), "one\n")
        self.assertEqual(self.xattr(self.root / "a", "user.mpool.type"), "mlog")
        self.assertEqual(self.xattr(self.root / "b", "user.mpool.type"), "pack")


class Files(harness.MountTest):
    def test_committed_is_immutable(self):
        """opening a committed file for writing, truncating and O_TRUNC fail with EACCES"""
        path = self.write_file("f", b"data")
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC):
            with self.fails_with(errno.EACCES):
                os.open(path, flags)
        for size in (0, 2, 100):
            with self.fails_with(errno.EACCES):
                os.truncate(path, size)
        self.assertNotEqual(shell(f"echo x > {path}", check=False).returncode, 0)
        self.assertNotEqual(shell(f"echo x >> {path}", check=False).returncode, 0)
        self.assertEqual(path.read_bytes(), b"data")

    def test_close_then_open(self):
        """a closed file can be read at once, by every user"""
        for number in range(300):
            path = self.write_file(f"{number}", content(number, 100))
            self.assertEqual(path.read_bytes(), content(number, 100))
            with self.fails_with(errno.EACCES):
                os.open(path, os.O_WRONLY | os.O_TRUNC)

    def test_unlink_while_open(self):
        """an unlinked file stays readable until its last close, then its space is free"""
        free = self.mnt.free_blocks()
        path = self.write_file("f", content(1, 5 * MIB))
        log = self.append_file("l", b"log content")
        with open(path, "rb") as file, open(log, "rb") as log_file:
            path.unlink()
            log.unlink()
            self.assertEqual(os.listdir(self.root), [])
            self.assertEqual(os.fstat(file.fileno()).st_nlink, 0)
            self.assertEqual(file.read(), content(1, 5 * MIB))
            self.assertEqual(log_file.read(), b"log content")
            self.assertLess(self.mnt.free_blocks(), free)
        self.mnt.wait_for_free_blocks(free)

    def test_unlink_while_written(self):
        """an unlinked file that is still written to leaves no space in use"""
        free = self.mnt.free_blocks()
        with open(self.root / "f", "wb", buffering=0) as file:
            file.write(content(1, 2 * MIB))
            (self.root / "f").unlink()
            file.write(content(2, 2 * MIB))
        self.assertEqual(os.listdir(self.root), [])
        self.mnt.wait_for_free_blocks(free)

    def test_rename_over(self):
        """rename replaces the target atomically; its space is free; an open one stays readable"""
        free = self.mnt.free_blocks()
        old = self.write_file("old", content(1, 3 * MIB))
        new = self.write_file("new", content(2, 3 * MIB))
        with open(old, "rb") as file:
            os.rename(new, old)
            self.assertEqual(old.read_bytes(), content(2, 3 * MIB))
            self.assertEqual(file.read(), content(1, 3 * MIB))
        self.assertEqual(os.listdir(self.root), ["old"])
        old.unlink()
        self.mnt.wait_for_free_blocks(free)

    def test_rename_errors(self):
        """rename onto wrong kinds, full directories and into itself fails as in POSIX"""
        self.write_file("f", b"")
        (self.root / "d/e").mkdir(parents=True)
        with self.fails_with(errno.EISDIR):
            os.rename(self.root / "f", self.root / "d")
        with self.fails_with(errno.ENOTDIR):
            os.rename(self.root / "d", self.root / "f")
        with self.fails_with(errno.EINVAL):
            os.rename(self.root / "d", self.root / "d/e/d")
        (self.root / "g").mkdir()
        with self.fails_with(errno.ENOTEMPTY):
            os.rename(self.root / "g", self.root / "d")
        os.rename(self.root / "d/e", self.root / "g")
        with self.fails_with(errno.ENOENT):
            os.rename(self.root / "none", self.root / "g")

    def test_rename_flags(self):
        """RENAME_NOREPLACE and RENAME_EXCHANGE"""
        a = self.write_file("a", b"a")
        b = self.write_file("b", b"b")
        with self.fails_with(errno.EEXIST):
            system_calls.rename(a, b, system_calls.RENAME_NOREPLACE)
        system_calls.rename(a, self.root / "c", system_calls.RENAME_NOREPLACE)
        system_calls.rename(self.root / "c", b, system_calls.RENAME_EXCHANGE)
        self.assertEqual(b.read_bytes(), b"a")
        self.assertEqual((self.root / "c").read_bytes(), b"b")
        (self.root / "d/inner").mkdir(parents=True)
        system_calls.rename(self.root / "d", b, system_calls.RENAME_EXCHANGE)
        self.assertEqual((self.root / "d").read_bytes(), b"a")
        self.assertTrue((b / "inner").is_dir())
        with self.fails_with(errno.ENOENT):
            system_calls.rename(b, self.root / "none", system_calls.RENAME_EXCHANGE)

    def test_hard_links(self):
        """several names of one file"""
        a = self.write_file("a", b"content")
        os.link(a, self.root / "b")
        self.assertEqual(a.stat().st_nlink, 2)
        self.assertEqual(a.stat().st_ino, (self.root / "b").stat().st_ino)
        with self.fails_with(errno.EEXIST):
            os.link(a, self.root / "b")
        a.unlink()
        self.assertEqual((self.root / "b").read_bytes(), b"content")
        self.assertEqual((self.root / "b").stat().st_nlink, 1)
        self.mnt.remount()
        self.assertEqual((self.root / "b").read_bytes(), b"content")

    def test_symlinks(self):
        """symbolic links, also long and dangling ones"""
        target = "/".join(["x" * 99] * 40)
        (self.root / "l").symlink_to(target)
        self.assertEqual(os.readlink(self.root / "l"), target)
        self.assertEqual((self.root / "l").lstat().st_size, len(target))
        self.assertFalse((self.root / "l").exists())
        self.write_file("f", b"data")
        (self.root / "m").symlink_to("f")
        self.assertEqual((self.root / "m").read_bytes(), b"data")
        self.mnt.remount()
        self.assertEqual(os.readlink(self.root / "l"), target)

    def test_special_files(self):
        """pipes, sockets and device nodes are made, copied and kept; other users make no devices"""
        os.mkfifo(self.root / "pipe", 0o640)
        writer = subprocess.Popen(["sh", "-c", f"echo through > {self.root / 'pipe'}"])
        self.assertEqual((self.root / "pipe").read_bytes(), b"through\n")
        self.assertEqual(writer.wait(), 0)
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(self.root)  # the length of an address is limited
            self.addCleanup(os.chdir, "/")
            listener.bind("socket")
            listener.listen()
            with socket.socket(socket.AF_UNIX) as other:
                other.connect("socket")
        os.chdir("/")
        device = os.makedev(259, 0xabcde)
        os.mknod(self.root / "disk", stat.S_IFBLK | 0o600, device)
        os.mknod(self.root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.link(self.root / "disk", self.root / "linked")
        with self.fails_with(errno.EACCES):  # nodev
            os.open(self.root / "null", os.O_RDONLY)
        run("cp", "-a", self.root, f"{self.root}-copy")
        shell(f"cd {self.root} && tar c . | (mkdir {self.root}-tar && tar x -C {self.root}-tar)")
        for again in (False, True):
            if again:
                self.mnt.remount()
            for root in (str(self.root), f"{self.root}-copy", f"{self.root}-tar"):
                kinds = {entry.name: stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
                         for entry in os.scandir(root)}
                expected = {"pipe": stat.S_IFIFO, "socket": stat.S_IFSOCK, "disk": stat.S_IFBLK,
                            "null": stat.S_IFCHR, "linked": stat.S_IFBLK}
                if root == f"{self.root}-tar":
                    del expected["socket"]  # tar(1) omits sockets
                self.assertEqual(kinds, expected)
                links = 1 if root.endswith("-tar") else 2  # nor does it keep links to devices
                for name in ("disk", "linked"):
                    found = os.stat(f"{root}/{name}")
                    self.assertEqual((found.st_rdev, found.st_nlink, found.st_size), (device, links, 0), found)
            self.assertEqual((self.root / "pipe").stat().st_mode & 0o777, 0o640)
        self.root.chmod(0o777)
        done = run(*harness.as_nobody(), "mknod", self.root / "no", "c", "1", "3", check=False)
        self.assertIn("Operation not permitted", done.stderr)
        run(*harness.as_nobody(), "mkfifo", self.root / "yes")
        (self.root / "pipe").unlink()

    def test_far_times(self):
        """times far in the past and in the future are kept over remounts"""
        path = self.write_file("f", b"data")
        far = {"y1": -62_135_596_800, "y1600": -11_644_473_600, "y2300": 10_413_792_000, "y9999": 253_402_300_799}
        for name, seconds in far.items():
            (self.root / name).write_bytes(b"x")
            os.utime(self.root / name, (seconds, seconds))
        os.utime(path, ns=(-5_000_000_001, 1_700_000_000_123_456_789))
        for again in (False, True):
            if again:
                self.mnt.remount()
            for name, seconds in far.items():
                found = (self.root / name).stat()
                self.assertEqual((int(found.st_atime), int(found.st_mtime)), (seconds, seconds), name)
            self.assertEqual((path.stat().st_atime_ns, path.stat().st_mtime_ns),
                             (-5_000_000_001, 1_700_000_000_123_456_789))

    def test_facts(self):
        """user.mpool.* of a file are facts that cannot be set"""
        path = self.write_file("f", content(1, 3 * MIB))
        self.assertEqual(self.xattr(path, "user.mpool.type"), "mblock")
        self.assertEqual(self.xattr(path, "user.mpool.class"), "capacity")
        self.assertGreaterEqual(len(self.xattr(path, "user.mpool.objects").split()), 3)
        os.getxattr(path, "user.mpool.committed")
        for name in ("user.mpool.type", "user.mpool.objects", "user.mpool.committed"):
            with self.fails_with(errno.EPERM):
                os.setxattr(path, name, b"1")


class OtherUsers(harness.MountTest):
    def as_nobody(self, script):
        return shell(script, check=False, user=NOBODY, group=NOBODY, extra_groups=[])

    def test_permissions(self):
        """reads, writes, listings and deletions that another user is not permitted"""
        secret = self.write_file("secret", b"1", 0o600)
        public = self.write_file("public", b"public", 0o644)
        (self.root / "closed").mkdir(0o700)
        self.assertEqual(self.as_nobody(f"cat {public}").stdout, "public")
        for script in (f"cat {secret}", f"rm -f {public}", f"ls {self.root / 'closed'}",
                       f"echo x > {self.root / 'new'}", f"chmod 777 {public}",
                       f"mkdir {self.root / 'new'}"):
            done = self.as_nobody(script)
            self.assertNotEqual(done.returncode, 0, script)
            self.assertRegex(done.stderr, "denied|not permitted|cannot create", script)

    def test_own_files(self):
        """another user makes files that they own, within umask, in a sticky directory"""
        self.root.chmod(0o1777)
        mine = self.write_file("mine", b"1")
        done = self.as_nobody(f"umask 027; cd {self.root}; echo hello > f; mkdir d; cat f; rm -f mine")
        self.assertEqual(done.stdout, "hello\n")
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(mine.exists())
        for name, mode in (("f", 0o640), ("d", 0o750)):
            facts = (self.root / name).stat()
            self.assertEqual((facts.st_uid, facts.st_gid), (NOBODY, NOBODY))
            self.assertEqual(stat.S_IMODE(facts.st_mode), mode)

    def test_group_directories(self):
        """in a set-group-ID directory new files have its group, new directories also the bit"""
        os.chown(self.root, 0, 4321)
        self.root.chmod(0o2777)
        self.as_nobody(f"cd {self.root}; echo > f; mkdir d")
        self.assertEqual((self.root / "f").stat().st_gid, 4321)
        self.assertEqual((self.root / "d").stat().st_gid, 4321)
        self.assertTrue((self.root / "d").stat().st_mode & stat.S_ISGID)


class Directories(harness.MountTest):
    def test_many_entries(self):
        """5000 entries are listed once each, also while they are deleted, and with attributes"""
        names = {f"entry-{number:05}" for number in range(5000)}
        for name in names:
            os.mknod(self.root / name)
        self.assertEqual(set(os.listdir(self.root)), names)
        self.assertEqual(len(run("ls", "-l", self.root).stdout.splitlines()), 5001)
        seen = []
        with os.scandir(self.root) as entries:
            for entry in entries:
                seen.append(entry.name)
                self.assertTrue(entry.is_file(follow_symlinks=False))
                os.unlink(entry.path)
        self.assertEqual(len(seen), 5000)
        self.assertEqual(set(seen), names)
        self.assertEqual(os.listdir(self.root), [])

    def test_changes_while_listing(self):
        """entries made and removed during a listing do not hide or repeat other entries"""
        kept = {f"kept-{number}" for number in range(1000)}
        for name in kept:
            os.mknod(self.root / name)
        seen = []
        with os.scandir(self.root) as entries:
            for number, entry in enumerate(entries):
                if entry.name in kept:
                    seen.append(entry.name)
                if number < 1000:
                    os.mknod(self.root / f"new-{number}")
                    if number % 2:
                        os.unlink(self.root / f"new-{number - 1}")
        self.assertEqual(sorted(seen), sorted(kept))

    def test_deep(self):
        """a deep tree"""
        path = self.root
        for depth in range(60):
            path = path / f"level{depth}"
            path.mkdir()
        (path / "leaf").write_bytes(b"deep")
        self.mnt.remount()
        self.assertEqual((path / "leaf").read_bytes(), b"deep")
        shutil.rmtree(self.root / "level0")
        self.assertEqual(os.listdir(self.root), [])

    def test_working_directory(self):
        """a shell whose directory is removed notices; no other effect"""
        (self.root / "d").mkdir()
        done = shell(f"cd {self.root / 'd'} && rmdir ../d && echo x > f", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse((self.root / "d").exists())

    def test_fsync(self):
        """fsync of a directory"""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)


if __name__ == "__main__":
    harness.main()

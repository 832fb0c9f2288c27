"""The cases of posix_table.py on the mount and on ext4: the same errno and the same attributes."""

import collections
import ctypes
import errno
import os
import re
import stat
import subprocess
import time

from ext4 import mount_ext4
import harness
from harness import run
from posix_names import NAMES
from posix_table import CASES, DIFFERENT, READ_ONLY
from system_calls import fallocate, rename

USERS = {"root": (0, 0, []), "ann": (61001, 61001, []), "bob": (61002, 61002, [61001])}
AT_FDCWD, AT_SYMLINK_NOFOLLOW = -100, 0x100
CLOCK_REALTIME_COARSE = 5
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
RENAME_FLAGS = {"N": 1, "E": 2, "W": 4, "X": 8}
OPEN_FLAGS = {"c": os.O_CREAT, "x": os.O_EXCL, "t": os.O_TRUNC, "a": os.O_APPEND, "n": os.O_NONBLOCK,
              "D": os.O_DIRECTORY, "N": os.O_NOFOLLOW, "A": os.O_NOATIME}
LEAST_CASES = 55
# Each must be met on ext4, or the table has lost what it is for.
ERRNOS = ("EACCES EBUSY EEXIST EINVAL EISDIR ELOOP ENAMETOOLONG ENODATA ENOENT ENOTDIR ENOTEMPTY ENOTSUP ENXIO "
          "EPERM ETXTBSY").split()

_libc = ctypes.CDLL(None, use_errno=True)


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def timespec(text):
    if text in ("NOW", "OMIT"):
        return Timespec(0, UTIME_NOW if text == "NOW" else UTIME_OMIT)
    seconds, _, fraction = text.partition(".")
    total = abs(int(seconds)) * 10 ** 9 + int(fraction.ljust(9, "0")) if fraction else abs(int(seconds)) * 10 ** 9
    if text.startswith("-"):
        total = -total
    return Timespec(total // 10 ** 9, total % 10 ** 9)


def checked(result):
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def user_id(name):
    return USERS[name][0] if name in USERS else int(name)


def parse():
    """(title, steps) of each case."""
    for block in re.split(r"\n(?=\S)", (CASES.strip() + NAMES.rstrip())):
        title, *steps = block.split("\n")
        yield title, [step.strip() for step in steps]


class Runner:
    """The steps of a case in the working directory; each method is a call of the table."""

    def __init__(self):
        self.watched = {}

    def run(self, step):
        """What the call returned: an errno, or facts; None for success."""
        words = step.split()
        user = words.pop(0) if words[0] in USERS else "root"
        call, arguments = words[0], [self.expand(word) for word in words[1:]]
        uid, gid, groups = USERS[user]
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
        try:
            return getattr(self, "do_" + call)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups([])

    @staticmethod
    def expand(word):
        word = word.replace("LONGER", "n" * 256).replace("LONG", "n" * 255)
        if word in ("PATH", "PATHS"):
            return ("x" * 63 + "/") * (63 if word == "PATH" else 64) + "x" * 63
        return "" if word == "EMPTY" else word

    @staticmethod
    def close(descriptor):
        os.close(descriptor)

    def do_new(self, path, mode):
        self.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, int(mode, 8)))

    def do_write(self, path, data):
        self.put(path, os.O_CREAT, data)

    def do_append(self, path, data):
        self.put(path, os.O_CREAT | os.O_APPEND, data)

    def do_wrote(self, path):
        self.put(path, 0, "data")

    def put(self, path, flags, data):
        descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
        try:
            os.write(descriptor, data.encode())
        finally:
            self.close(descriptor)

    def do_open(self, path, flags, mode="0"):
        bits = {"r": os.O_RDONLY, "w": os.O_WRONLY}[flags[0]]
        if flags.startswith("rw"):
            bits, flags = os.O_RDWR, flags[1:]
        for flag in flags[1:]:
            bits |= OPEN_FLAGS[flag]
        self.close(os.open(path, bits, int(mode, 8)))

    @staticmethod
    def do_mkdir(path, mode):
        os.mkdir(path, int(mode, 8))

    @staticmethod
    def do_mkfifo(path, mode):
        os.mkfifo(path, int(mode, 8))

    @staticmethod
    def do_mknod(path, mode):
        os.mknod(path, stat.S_IFREG | int(mode, 8) if path.startswith("f") else stat.S_IFSOCK | int(mode, 8))

    @staticmethod
    def do_mkchar(path, mode):
        os.mknod(path, stat.S_IFCHR | int(mode, 8), os.makedev(300, 70000))

    @staticmethod
    def do_mkblock(path, mode):
        os.mknod(path, stat.S_IFBLK | int(mode, 8), os.makedev(7, 3))

    do_rmdir, do_unlink, do_symlink, do_readlink = map(staticmethod, (os.rmdir, os.unlink, os.symlink, os.readlink))
    do_rename = staticmethod(os.rename)

    @staticmethod
    def do_link(path, new):
        os.link(path, new, follow_symlinks=False)

    @staticmethod
    def do_rename2(path, new, flags):
        rename(path, new, sum(RENAME_FLAGS[flag] for flag in flags))

    @staticmethod
    def do_chmod(path, mode):
        os.chmod(path, int(mode, 8))

    @staticmethod
    def do_chown(path, uid, gid):
        os.chown(path, user_id(uid), user_id(gid))

    @staticmethod
    def do_lchown(path, uid, gid):
        os.lchown(path, user_id(uid), user_id(gid))

    @staticmethod
    def do_truncate(path, size):
        os.truncate(path, int(size))

    def do_ftruncate(self, path, access, size):
        descriptor = os.open(path, os.O_WRONLY if access == "w" else os.O_RDONLY)
        try:
            os.ftruncate(descriptor, int(size))
        finally:
            self.close(descriptor)

    def do_fallocate(self, path, offset, length):
        descriptor = os.open(path, os.O_WRONLY)
        try:
            fallocate(descriptor, 0, int(offset), int(length))
        finally:
            self.close(descriptor)

    def do_within(self, directory, call, *arguments):
        """The call in that working directory; arguments are relative to the one before."""
        before = os.getcwd()
        os.chdir(directory)
        try:
            return getattr(self, "do_" + call)(*(part if part == "." or part.isdigit() else os.path.join(before, part)
                                                 for part in arguments))
        finally:
            os.chdir(before)

    @staticmethod
    def do_umask(mask):
        os.umask(int(mask, 8))

    @staticmethod
    def do_access(path, mode):
        names = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK, "f": os.F_OK}
        return os.access(path, names[mode], effective_ids=True)

    def do_utime(self, path, atime, mtime, flags=0):
        times = (Timespec * 2)(timespec(atime), timespec(mtime))
        checked(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, flags))

    def do_lutime(self, path, atime, mtime):
        self.do_utime(path, atime, mtime, AT_SYMLINK_NOFOLLOW)

    @staticmethod
    def do_setxattr(path, name, value, flags=""):
        os.setxattr(path, name, value.encode(), {"": 0, "C": os.XATTR_CREATE, "R": os.XATTR_REPLACE}[flags])

    @staticmethod
    def do_lsetxattr(path, name, value):
        os.setxattr(path, name, value.encode(), follow_symlinks=False)

    do_getxattr, do_removexattr, do_listxattr = map(staticmethod, (os.getxattr, os.removexattr, os.listxattr))

    @staticmethod
    def facts(found):
        names = {number: user for user, (number, _, _) in USERS.items()}
        size = found.st_size if not stat.S_ISDIR(found.st_mode) else "-"
        return (f"{stat.filemode(found.st_mode)} {found.st_nlink} {names.get(found.st_uid, found.st_uid)} "
                f"{names.get(found.st_gid, found.st_gid)} {size} {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")

    def do_stat(self, *paths):
        return [self.facts(os.stat(path)) for path in paths]

    def do_lstat(self, *paths):
        return [self.facts(os.lstat(path)) for path in paths]

    @staticmethod
    def do_times(path):
        found = os.lstat(path)
        return found.st_atime_ns, found.st_mtime_ns

    def do_watch(self, path):
        found = os.lstat(path)
        self.watched[path] = self.watched["last"] = found
        # The next change has another time, however coarse the clock.
        while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= found.st_ctime_ns:
            pass

    def do_changed(self, path):
        before, now = self.watched.get(path, self.watched["last"]), os.lstat(path)
        return [kind for kind in ("mtime", "ctime") if getattr(before, f"st_{kind}_ns") != getattr(now, f"st_{kind}_ns")]

    def do_unlinked(self, path):
        """Unlinks an open file; its link count then."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.unlink(path)
            return self.facts(os.fstat(descriptor))
        finally:
            self.close(descriptor)

    @staticmethod
    def do_program(path):
        run("cp", "/bin/sleep", path)

    def do_running(self, path, access):
        """Opens a program that runs."""
        with subprocess.Popen([os.path.abspath(path), "100"]) as program:
            try:
                self.do_open(path, access)
            finally:
                program.kill()


class Posix(harness.MountTest):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ext4 = mount_ext4(cls.mnt.directory)
        cls.met = collections.Counter()

    def results(self, directory, steps):
        directory.mkdir(parents=True)
        directory.chmod(0o777)
        os.chdir(directory)
        mask = os.umask(0o022)
        try:
            runner = Runner()
            return [runner.run(step) for step in steps]
        finally:
            os.umask(mask)
            os.chdir("/")

    def compare(self, title, steps, number):
        right = self.results(self.ext4 / str(number), steps)
        found = self.results(self.root / str(number), steps)
        self.met.update(result for result in right if isinstance(result, str))
        for step, wanted, shown in zip(steps, right, found):
            other = DIFFERENT.get((title, step))
            with self.subTest(title, step=step):
                if other is None:
                    self.assertEqual(shown, wanted)
                else:
                    self.assertEqual(shown, other[0])
                    self.assertNotEqual(shown, wanted, "no difference any more")

    def test_read_only(self):
        """mounted read-only, each change fails with the errno of ext4"""
        title, *steps = READ_ONLY.strip().split("\n")
        made = steps[:steps.index("  remount")]
        asked = steps[len(made) + 1:]
        directories = self.ext4 / "ro", self.root / "ro"
        for directory in directories:
            self.results(directory, made)
        run("mount", "-o", "remount,ro", self.ext4)
        self.addCleanup(run, "mount", "-o", "remount,rw", self.ext4)
        self.mnt.remount("ro")
        self.addCleanup(self.mnt.remount)
        answers = []
        for directory in directories:
            os.chdir(directory)
            answers.append([(step, Runner().run(step)) for step in asked])
            os.chdir("/")
        self.assertGreaterEqual(sum(answer == "EROFS" for _, answer in answers[0]), 15)
        self.assertEqual(answers[1], answers[0], title)

    def test_table(self):
        """each step of the table gives what ext4 gives, or what the table says, and why"""
        cases = list(parse())
        self.assertGreaterEqual(len(cases), LEAST_CASES)
        for number, (title, steps) in enumerate(cases):
            self.compare(title, steps, number)
        self.assertEqual([code for code in ERRNOS if not self.met[code]], [], "not met on ext4")
        known = {(title, step) for title, steps in cases for step in steps}
        self.assertEqual([key for key in DIFFERENT if key not in known], [], "in no case")


if __name__ == "__main__":
    harness.main()

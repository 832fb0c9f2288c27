"""The effect of writes by other users on mode bits, and refused attributes: as another user."""

import errno
import os
import stat
import subprocess
import sys

import harness
from harness import NOBODY

SCRIPT = """
import ctypes, os, sys
what, path = sys.argv[1], sys.argv[2]
if what == "write":
    file = os.open(path, os.O_WRONLY)
    os.write(file, b"x")
elif what == "append":
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, b"x")
elif what == "truncating open":
    file = os.open(path, os.O_WRONLY | os.O_TRUNC)
elif what == "truncating create":
    file = os.open(path, os.O_RDONLY | os.O_TRUNC | os.O_CREAT)
elif what == "truncate":
    os.truncate(path, 0)
elif what == "chown":
    os.chown(path, -1, os.getgid())
elif what == "nothing":
    os.close(os.open(path, os.O_RDONLY))
"""
WRITES = ("write", "truncating open", "truncating create", "truncate")


class Privileges(harness.MountTest):
    def setUp(self):
        super().setUp()
        self.root.chmod(0o777)

    def as_user(self, script, *arguments, user=NOBODY):
        harness.run("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", sys.executable, "-c", script,
                    *arguments)

    def mode(self, path):
        return stat.S_IMODE(path.stat().st_mode)

    def empty(self, name, mode):
        path = self.root / name
        path.touch()
        path.chmod(mode)
        self.assertEqual(self.mode(path), mode)
        return path

    def test_writes_of_others(self):
        """a write by another user clears set-user-ID and set-group-ID, also O_TRUNC and truncate"""
        for number, what in enumerate(WRITES):
            for mode, left in ((0o6777, 0o777), (0o4766, 0o766), (0o666, 0o666), (0o1777, 0o1777)):
                with self.subTest(what, mode=oct(mode)):
                    path = self.empty(f"f{number}-{mode:o}", mode)
                    self.as_user(SCRIPT, what, path)
                    self.assertEqual(self.mode(path), left)
        self.mnt.remount()
        for number, what in enumerate(WRITES):
            self.assertEqual(self.mode(self.root / f"f{number}-{0o6777:o}"), 0o777, what)

    def test_reading(self):
        """reading keeps the bits"""
        path = self.empty("f", 0o6777)
        self.as_user(SCRIPT, "nothing", path)
        self.assertEqual(self.mode(path), 0o6777)

    def test_every_append(self):
        """a log loses bits with each append of another user, also bits that it got meanwhile"""
        path = self.append_file("log", b"first")
        path.chmod(0o6777)
        for _ in range(2):
            self.as_user(SCRIPT, "append", path)
            self.assertEqual(self.mode(path), 0o777)
            path.chmod(0o4777)
        # The same descriptor again.
        script = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for line in sys.stdin:
    os.write(file, b"x")
    print("done", flush=True)
"""
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-c", script,
                   path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(3):
                path.chmod(0o6777)
                print("write", file=writer.stdin, flush=True)
                self.assertEqual(writer.stdout.readline(), "done\n")
                self.assertEqual(self.mode(path), 0o777)

    def test_writes_of_root(self):
        """root's writes keep the bits; those of the owner do not"""
        path = self.empty("f", 0o6777)
        path.write_bytes(b"x")
        self.assertEqual(self.mode(path), 0o6777)
        own = self.empty("own", 0o4777)
        os.chown(own, NOBODY, NOBODY)
        own.chmod(0o4777)
        self.as_user(SCRIPT, "write", own)
        self.assertEqual(self.mode(own), 0o777)

    def test_made_with_the_bits(self):
        """a file that is made with the bits loses them with its first write"""
        script = "import os, sys\nos.umask(0)\nfile = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o4755)\n"
        path = self.root / "f"
        self.as_user(script, path)
        self.assertEqual(self.mode(path), 0o4755)
        path.unlink()
        self.as_user(script + "os.write(file, b'x')\n", path)
        self.assertEqual(self.mode(path), 0o755)

    def test_chown(self):
        """a change of the owner clears the bits, also by root and also of committed files"""
        path = self.write_file("f", b"x")
        for owner in ((1, -1), (-1, 1)):
            path.chmod(0o6755)
            os.chown(path, *owner)
            self.assertEqual(self.mode(path), 0o755)
        own = self.write_file("own", b"x")
        os.chown(own, NOBODY, 1)
        own.chmod(0o6755)
        self.as_user(SCRIPT, "chown", own)
        self.assertEqual(self.mode(own), 0o755)

    def test_refused_attributes(self):
        """ACLs, security.* and trusted.*: EOPNOTSUPP for root; a user may not use the latter two"""
        path = self.write_file("f", b"x")
        path.chmod(0o777)
        names = ("system.posix_acl_access", "system.posix_acl_default", "security.capability", "security.x",
                 "trusted.x")
        acl = b"\x02\0\0\0" + b"".join(bytes([tag, 0, 7, 0]) + b"\xff" * 4 for tag in (1, 4, 32))
        for name in names:
            with self.subTest(name):
                value = acl if "acl" in name else b"\x01\0\0\x02" + bytes(16) if "cap" in name else b"v"
                with self.fails_with(errno.EOPNOTSUPP):
                    os.setxattr(self.root if "default" in name else path, name, value)
                with self.assertRaises(OSError) as caught:
                    os.getxattr(path, name)
                self.assertIn(caught.exception.errno, (errno.EOPNOTSUPP, errno.ENODATA))
        script = """
import os, sys
for name in sys.argv[2:]:
    try:
        os.setxattr(sys.argv[1], name, b"v")
    except OSError as error:
        print(name, error.errno)
"""
        found = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable,
                                "-c", script, path, "security.x", "trusted.x", "user.x"],
                               capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout.split("\n")[1], f"trusted.x {errno.EPERM}")
        self.assertRegex(found.stdout.split("\n")[0], f"security.x ({errno.EPERM}|{errno.EOPNOTSUPP})")
        self.assertEqual(os.listxattr(path), ["user.x"])


if __name__ == "__main__":
    harness.main()

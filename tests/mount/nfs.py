"""A mount exported by a file server in user space, nfs-ganesha; read and written by NFSv4."""

import contextlib
import os
import socket
import subprocess

import harness
from harness import MIB, content, run, wait_until

CONFIGURATION = """
NFS_CORE_PARAM {{ NFS_Port = {port}; Protocols = 4; Enable_UDP = None; Enable_NLM = false;
  Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }}
NFSV4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {state}; Only_Numeric_Owners = true; }}
NFS_KRB5 {{ Active_krb5 = false; }}
EXPORT {{ Export_Id = 1; Path = {path}; Pseudo = /pool; Protocols = 4; Access_Type = RW;
  Squash = None; SecType = sys; Attr_Expiration_Time = 0; FSAL {{ Name = VFS; }} }}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Nfs(harness.MountTest):
    def setUp(self):
        super().setUp()
        self.outside = harness.temporary_directory()
        self.port = free_port()
        self.start_server()

    def start_server(self):
        (self.outside / "state").mkdir(exist_ok=True)
        configuration = self.outside / "ganesha.conf"
        configuration.write_text(CONFIGURATION.format(port=self.port, state=self.outside / "state",
                                                      path=self.mnt.point))
        self.log = self.outside / "ganesha.log"
        self.server = subprocess.Popen(["ganesha.nfsd", "-F", "-f", configuration, "-L", self.log, "-p",
                                        self.outside / "pid"], preexec_fn=harness.die_with_parent)
        self.addCleanup(self.stop_server)
        wait_until(self.answers, "the NFS server answers")

    def answers(self):
        if self.server.poll() is not None:
            raise AssertionError(f"ganesha.nfsd ended:\n{self.log.read_text()}")
        with contextlib.suppress(AssertionError):
            self.listed()
            return True
        return False

    def stop_server(self):
        self.server.terminate()
        self.server.wait()

    def url(self, name=""):
        path = f"{self.root.relative_to(self.mnt.point)}/{name}".rstrip("/")
        return f"nfs://127.0.0.1/pool/{path}?version=4&nfsport={self.port}"

    def listed(self, name=""):
        """name -> size, of a directory."""
        rows = (row.split() for row in run("nfs-ls", self.url(name)).stdout.splitlines())
        return {row[5]: int(row[4]) for row in rows}

    def read(self, name):
        return subprocess.run(["nfs-cat", self.url(name)], stdout=subprocess.PIPE, check=True).stdout

    def test_read(self):
        """committed files and logs are listed and read, also after the kernel forgot them"""
        self.write_file("f", content(1, 3 * MIB + 5))
        (self.root / "a/b").mkdir(parents=True)
        self.write_file("a/b/g", b"deep")
        self.append_file("log", b"one\n")
        for again in (False, True):
            if again:
                harness.drop_caches()
                self.append_file("log", b"two\n")
            self.assertEqual(self.listed()["f"], 3 * MIB + 5)
            self.assertEqual(set(self.listed()), {"f", "a", "log"})
            self.assertEqual(self.listed("a/b"), {"g": 4})
            self.assertEqual(harness.differences(content(1, 3 * MIB + 5), self.read("f")), "none")
            self.assertEqual(self.read("a/b/g"), b"deep")
            self.assertEqual(self.read("log"), b"one\ntwo\n" if again else b"one\n")

    def test_write(self):
        """a file is written by NFS, and committed when the server closes it"""
        source = self.outside / "source"
        # Larger ones nfs-cp of libnfs 4 cannot write, to an export of ext4 either.
        source.write_bytes(content(2, 3001))
        run("nfs-cp", source, self.url("new"))
        self.assertEqual(harness.differences(content(2, 3001), (self.root / "new").read_bytes()), "none")
        self.assertEqual(self.read("new"), source.read_bytes())
        self.stop_server()  # it keeps files open for a while
        self.assertEqual(self.xattr(self.root / "new", "user.mpool.committed"), "1")

    def test_server_restart(self):
        """another server process finds the files again"""
        self.write_file("f", b"data")
        self.assertEqual(self.read("f"), b"data")
        self.stop_server()
        harness.drop_caches()
        self.start_server()
        self.assertEqual(self.read("f"), b"data")

    def test_removed(self):
        """what was removed is gone for clients, too"""
        self.write_file("f", b"data")
        self.assertEqual(self.read("f"), b"data")
        os.unlink(self.root / "f")
        self.assertEqual(self.listed(), {})


if __name__ == "__main__":
    harness.main()

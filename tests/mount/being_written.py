"""Write-once files open for writing: read, mapped, synced, patched, cut, named, reserved."""

import errno
import mmap
import os
import pathlib
import random
import sys
import threading
import zipfile

import harness
from harness import MIB, content, run
import system_calls

FILES = 600
# Bound on what the daemon needs more for that many files of 1 MiB each. The address sanitizer keeps
# 256 MiB of freed memory.
MEMORY_LIMIT = (506 if "ASAN_OPTIONS" in os.environ else 250) * MIB
# Fsyncs a file that it opens for reading, as sync(1) does.
SYNC = "import os, sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))"


def resident_bytes(process):
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


class BeingWritten(harness.MountTest):
    mount_arguments = {"size": "1G"}
    new_file_flags = os.O_RDWR | os.O_CREAT | os.O_EXCL

    def read(self, name="f"):
        return (self.root / name).read_bytes()

    def test_read(self):
        """content written so far is read through any descriptor, and holes as zeros"""
        data = content("read", 3 * MIB + 5)
        file = self.open_new()
        reader = os.open(self.root / "f", os.O_RDONLY)
        self.assertEqual(os.read(reader, 10), b"")
        os.pwrite(file, data[5000:6000], 5000)
        self.assertEqual(self.read(), bytes(5000) + data[5000:6000])
        os.pwrite(file, data, 0)
        self.assertEqual(os.pread(file, 100, MIB - 50), data[MIB - 50:MIB + 50])
        self.assertEqual(self.read(), data)
        self.assertEqual(run("sha256sum", self.root / "f").stdout.split()[0], harness.hashlib.sha256(data).hexdigest())
        os.fsync(file)
        os.pwrite(file, b"tail", len(data) + 3)
        self.assertEqual(self.read(), data + bytes(3) + b"tail")
        self.assertEqual(os.stat(self.root / "f").st_size, len(data) + 7)
        os.close(file)
        self.assertEqual(os.pread(reader, 4 * MIB, 0), data + bytes(3) + b"tail")
        self.assertEqual(self.read(), data + bytes(3) + b"tail")
        os.close(reader)
        self.assertEqual(self.read(), data + bytes(3) + b"tail")

    def test_read_direct(self):
        """with O_DIRECT"""
        data = content("direct", MIB)
        file = self.open_new()
        os.write(file, data)
        reader = os.open(self.root / "f", os.O_RDONLY | os.O_DIRECT)
        self.addCleanup(os.close, reader)
        with mmap.mmap(-1, MIB) as buffer:
            self.assertEqual(os.preadv(reader, [buffer], 0), MIB)
            self.assertEqual(bytes(buffer), data)
            os.close(file)
            self.assertEqual(os.preadv(reader, [buffer], 0), MIB)
            self.assertEqual(bytes(buffer), data)

    def test_copy(self):
        """copied by the kernel: sendfile, copy_file_range, cp"""
        data = content("copy", 2 * MIB + 77)
        file = self.open_new()
        os.write(file, data)
        with open(self.root / "f", "rb") as source:
            copy = self.open_new("sent")
            sent = 0
            while sent < len(data):
                sent += os.sendfile(copy, source.fileno(), sent, len(data))
            copied = self.open_new("copied")
            done = 0
            while done < len(data):
                done += os.copy_file_range(source.fileno(), copied, len(data), done, done)
        run("cp", self.root / "f", self.root / "cp")
        for name in ("sent", "copied", "cp"):
            self.assertEqual(self.read(name), data, name)

    def test_map(self):
        """a private mapping shows written content, and after the commit the content then"""
        data = content("map", MIB)
        file = self.open_new()
        os.write(file, data)
        with open(self.root / "f", "rb") as reader:
            mapping = mmap.mmap(reader.fileno(), len(data), mmap.MAP_PRIVATE, mmap.PROT_READ)
            self.assertEqual(mapping[:], data)
            os.pwrite(file, b"new", 3 * MIB)
            with self.fails_with(errno.ENODEV):
                mmap.mmap(file, MIB, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            os.close(file)
            with open(self.root / "f", "rb") as later:
                self.assertEqual(later.read(), data + bytes(2 * MIB) + b"new")
            self.assertEqual(mapping[:], data)
            mapping.close()
        with open(self.root / "f", "rb") as late, \
                mmap.mmap(late.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as shared:
            self.assertEqual(shared[-3:], b"new")

    def test_readers_beside_a_writer(self):
        """readers of a growing file see its bytes and no others"""
        data = content("beside", 12 * MIB)
        choice = random.Random(harness.seed())
        file = self.open_new()
        written = [0]
        wrong = []

        def read():
            with open(self.root / "f", "rb", buffering=0) as reader:
                at = 0
                while at < len(data):
                    known = written[0]
                    piece = reader.read(1 + choice.randrange(300_000))
                    if piece != data[at:at + len(piece)] or (not piece and at < known):
                        wrong.append((at, known, len(piece)))
                        return
                    at += len(piece)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        while written[0] < len(data):
            begin = written[0]
            length = choice.choice((100, 4096, 70_000, 2 * MIB))
            written[0] += os.pwrite(file, data[begin:begin + length], begin)
            if choice.randrange(10) == 0:
                os.fsync(file)
        for reader in readers:
            reader.join()
        self.assertEqual(wrong, [])

    def test_fsync_by_another(self):
        """fsync through a descriptor of another process makes the written content durable"""
        data = content("another", 2 * MIB + 9)
        file = self.open_new()
        os.write(file, data)
        run("sync", self.root / "f")
        os.write(file, b"more")
        run(sys.executable, "-c", SYNC, self.root / "f")
        self.mnt.kill_daemon()
        harness.close_after_kill(file)
        self.mnt.crash()
        self.assertEqual(self.read(), data + b"more")

    def test_fsyncs_take_no_further_zones(self):
        """a thousand writes with an fdatasync after each take the zones of their bytes"""
        zone = os.statvfs(self.root).f_frsize
        # The first fsync of a small file goes into a pack: there is one with room.
        (self.root / "small").write_bytes(b"small")
        harness.sync_directory(self.root)
        for length in (100, 4096):
            free = self.mnt.free_blocks()
            data = content(f"piece{length}", 1000 * length)
            file = self.open_new(f"f{length}")
            for begin in range(0, len(data), length):
                os.write(file, data[begin:begin + length])
                os.fdatasync(file)
            self.assertLessEqual(free - self.mnt.free_blocks(), -(-len(data) // zone))
            self.assertEqual(self.read(f"f{length}"), data)
            os.close(file)
            self.assertEqual(self.read(f"f{length}"), data)
            self.assertLessEqual(free - self.mnt.free_blocks(), -(-len(data) // zone))
        self.mnt.remount()
        for length in (100, 4096):
            self.assertEqual(self.read(f"f{length}"), content(f"piece{length}", 1000 * length))

    def test_declared_length(self):
        """a length alone seals nothing: the next open for writing decides the kind"""
        for name, declare in (("a", ("truncate", "-s", "3M")), ("b", ("fallocate", "-l", "3M"))):
            run(*declare, self.root / name)
            self.assertEqual(self.read(name), bytes(3 * MIB))
        self.mnt.remount()
        for name in ("a", "b"):
            self.assertEqual(self.read(name), bytes(3 * MIB))
        (self.root / "a").write_bytes(b"data")
        run("dd", "if=/dev/zero", f"of={self.root / 'b'}", "bs=1M", "count=1", "conv=notrunc")
        self.assertEqual(self.read("a"), b"data")
        self.assertEqual(self.read("b"), bytes(3 * MIB))
        with self.fails_with(errno.EACCES):
            os.open(self.root / "b", os.O_WRONLY)

    def test_fio_with_its_defaults(self):
        """fio lays out its files first and opens them again"""
        run("fio", "--name=x", f"--filename={self.root / 'f'}", "--rw=write", "--bs=1M", "--size=8M")
        self.assertEqual((self.root / "f").stat().st_size, 8 * MIB)

    def test_shorter_length(self):
        """a direct writer cuts its padding off before the close"""
        file = self.open_new(flags=os.O_DIRECT)
        with mmap.mmap(-1, 8192) as buffer:
            buffer[:] = b"x" * 8192
            os.write(file, buffer)
        os.ftruncate(file, 5000)
        self.assertEqual(os.fstat(file).st_size, 5000)
        os.close(file)
        self.assertEqual(self.read(), b"x" * 5000)
        data = content("cut", 2 * MIB)
        file = self.open_new("g")
        os.write(file, data)
        os.fsync(file)
        os.ftruncate(file, MIB + 7)
        with self.fails_with(errno.EINVAL):
            os.pwrite(file, b"again", MIB + 10)
        os.ftruncate(file, 3 * MIB)
        self.assertEqual(self.read("g"), data[:MIB + 7] + bytes(2 * MIB - 7))
        os.close(file)
        self.mnt.remount()
        self.assertEqual(self.read("g"), data[:MIB + 7] + bytes(2 * MIB - 7))

    def test_patching_with_direct_writes(self):
        """only the beginning of the file is kept in memory for it"""
        file = self.open_new(flags=os.O_DIRECT)
        with mmap.mmap(-1, 4096) as page:
            for at in (3 * MIB, 8192, 2 * MIB, 8192):
                page[:] = content(str(at), 4096)
                os.pwrite(file, page, at)
            with self.fails_with(errno.EINVAL):
                os.pwrite(file, page, 2 * MIB)
        expected = b"".join(content(str(at), 4096).rjust(size, b"\0")
                            for at, size in ((8192, 12288), (2 * MIB, 2 * MIB - 8192), (3 * MIB, MIB)))
        self.assertEqual(self.read(), expected)
        os.close(file)
        self.assertEqual(self.read(), expected)

    def test_patching(self):
        """programs that rewrite earlier bytes: a compiler's linker, zip, in-place editors"""
        data = bytearray(content("patch", 5 * MIB))
        file = self.open_new()
        for at in range(0, len(data), 8192):
            os.pwrite(file, data[at:at + 8192], at)
        os.close(os.dup(file))
        for at in (0, 100, 3 * MIB + 5):
            os.pwrite(file, b"header", at)
            data[at:at + 6] = b"header"
        self.assertEqual(self.read(), data)
        os.close(file)
        self.assertEqual(self.read(), data)
        (self.root / "a.c").write_text("int main(){return 0;}")
        run("gcc", "-o", self.root / "a", self.root / "a.c")
        run(self.root / "a")
        with zipfile.ZipFile(self.root / "z.zip", "w") as archive:
            archive.write(self.root / "a")
        with zipfile.ZipFile(self.root / "z.zip") as archive:
            self.assertEqual(archive.read(archive.namelist()[0]), self.read("a"))
        run("sed", "-i", "s/0/1/", self.root / "a.c")
        self.assertEqual(self.read("a.c"), b"int main(){return 1;}")

    def test_names(self):
        """links, renames and exchanges of a file that is being written"""
        (self.root / "old").write_bytes(b"old")
        file = self.open_new("a")
        os.write(file, b"one")
        os.link(self.root / "a", self.root / "b")
        self.assertEqual(os.fstat(file).st_nlink, 2)
        system_calls.rename(self.root / "b", self.root / "old", system_calls.RENAME_EXCHANGE)
        os.unlink(self.root / "a")
        os.write(file, b"two")
        os.close(file)
        for _ in range(2):
            self.assertEqual(self.read("old"), b"onetwo")
            self.assertEqual(self.read("b"), b"old")
            self.assertEqual(sorted(os.listdir(self.root)), ["b", "old"])
            self.mnt.remount()

    def test_reserved_space(self):
        """posix_fallocate reserves space until the close, or fails at once"""
        free = self.mnt.free_blocks()
        file = self.open_new()
        with self.fails_with(errno.ENOSPC):
            os.posix_fallocate(file, 0, 10 << 30)
        os.posix_fallocate(file, 0, 600 * MIB)
        self.assertLess(self.mnt.free_blocks(), free / 2)
        self.assertEqual(os.fstat(file).st_size, 600 * MIB)
        other = self.open_new("other")
        with self.fails_with(errno.ENOSPC):
            os.posix_fallocate(other, 0, 600 * MIB)
        os.write(other, b"x")
        os.close(other)
        (self.root / "kept").touch()
        run("fallocate", "--keep-size", "-l", "1M", self.root / "kept")
        self.assertEqual((self.root / "kept").stat().st_size, 0)
        for mode in ("--punch-hole", "--collapse-range", "--zero-range"):
            refused = run("fallocate", mode, "-o", "0", "-l", "4096", self.root / "kept", check=False)
            self.assertRegex(refused.stderr, "not supported|unsupported", mode)
        for at in range(0, 600 * MIB, 4 * MIB):
            os.pwrite(file, bytes(4 * MIB), at)
        os.close(file)
        os.unlink(self.root / "f")
        os.unlink(self.root / "other")
        self.mnt.wait_for_free_blocks(free)

    def test_memory_of_many_files(self):
        """files that are written in small pieces share a bound of memory"""
        process = self.mnt.daemon.pid
        before = resident_bytes(process)
        files = [self.open_new(str(number)) for number in range(FILES)]
        data = content("memory", 65535)
        for file in files:
            for _ in range(16):
                os.write(file, data)
        self.assertLess(resident_bytes(process) - before, MEMORY_LIMIT)
        for number in random.Random(harness.seed()).sample(range(FILES), 20):
            os.write(files[number], b"end")
            self.assertEqual(self.read(str(number)), data * 16 + b"end")
        for number, file in enumerate(files):
            os.close(file)
            os.unlink(self.root / str(number))


if __name__ == "__main__":
    harness.main()

"""Write-once files: any order, each byte once, committed at the last close, immutable then."""

import errno
import mmap
import os
import random
import socket
import subprocess
import sys
import threading
import time

import harness
from harness import MIB, content, run

# Makes a file and sends its descriptor over a socket.
OPEN_AND_SEND = """
import os, socket, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"x"], [file])
"""


class Writing(harness.MountTest):
    def write_pieces(self, pieces, data):
        """Writes data[begin:end] for each piece, in that order."""
        file = self.open_new()
        for begin, end in pieces:
            self.assertEqual(os.pwrite(file, data[begin:end], begin), end - begin)
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(), data)
        self.mnt.remount()
        self.assertEqual((self.root / "f").read_bytes(), data)

    def random_pieces(self, size, largest, choice):
        pieces, begin = [], 0
        while begin < size:
            end = min(size, begin + choice.randrange(1, largest))
            pieces.append((begin, end))
            begin = end
        return pieces

    def test_backwards(self):
        """pages written from the end to the start"""
        data = content(1, 2 * MIB + 100)
        pieces = [(at, min(at + 65536, len(data))) for at in range(0, len(data), 65536)]
        self.write_pieces(pieces[::-1], data)

    def test_unaligned_in_order(self):
        """unaligned pieces in order"""
        data = content(2, 3 * MIB)
        self.write_pieces(self.random_pieces(len(data), 100_000, random.Random(1)), data)

    def test_unaligned_any_order(self):
        """unaligned pieces in random order"""
        choice = random.Random(harness.seed())
        data = content(3, 2 * MIB + 777)
        pieces = self.random_pieces(len(data), 60_000, choice)
        choice.shuffle(pieces)
        self.write_pieces(pieces, data)

    def test_single_bytes(self):
        """a file written byte by byte"""
        data = content(4, 5000)
        self.write_pieces([(at, at + 1) for at in range(len(data))], data)

    def test_large_writes(self):
        """write(2) of several MiB at once"""
        data = content(5, 9 * MIB + 1)
        self.write_pieces([(0, len(data))], data)

    def test_overlap(self):
        """a byte on the device cannot be written again, and no part of that write is present"""
        file = self.open_new()
        os.pwrite(file, b"a" * 5000, 1000)
        os.fsync(file)
        for begin, length in ((1000, 1), (5999, 1), (0, 1001), (5999, 100), (2000, 8192), (0, 9000)):
            with self.fails_with(errno.EINVAL):
                os.pwrite(file, b"b" * length, begin)
        os.pwrite(file, b"c" * 1000, 0)
        os.pwrite(file, b"d" * 10, 6000)
        with self.fails_with(errno.EINVAL):
            os.pwrite(file, b"b", 1000)
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(), b"c" * 1000 + b"a" * 5000 + b"d" * 10)

    def test_gaps(self):
        """gaps read as zeros: inside a page, of whole pages, of whole zones"""
        pieces = ((10, b"a" * 10), (100_000, b"b" * 4096), (5 * MIB + 5, b"c"), (9 * MIB, b"d" * 100))
        expected = bytearray(9 * MIB + 100)
        file = self.open_new()
        for begin, data in pieces:
            os.pwrite(file, data, begin)
            expected[begin:begin + len(data)] = data
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(), expected)
        self.mnt.remount()
        self.assertEqual((self.root / "f").read_bytes(), expected)

    def test_truncate_rules(self):
        """ftruncate: greater declares the length, smaller removes the tail, 0 discards"""
        file = self.open_new()
        os.pwrite(file, b"a" * 1000, 0)
        os.ftruncate(file, 5000)
        self.assertEqual(os.fstat(file).st_size, 5000)
        os.ftruncate(file, 500)
        self.assertEqual(os.fstat(file).st_size, 500)
        os.ftruncate(file, 0)
        self.assertEqual(os.fstat(file).st_size, 0)
        os.pwrite(file, b"b" * 10, 0)
        os.ftruncate(file, 100)
        self.assertEqual((self.root / "f").stat().st_size, 100)
        os.pwrite(file, b"c" * 10, 50)
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(),
                         b"b" * 10 + bytes(40) + b"c" * 10 + bytes(40))

    def test_unlinked_before_commit(self):
        """an open descriptor reads the written content although the name was removed before the
        last close"""
        for synced in (False, True):
            with self.subTest(synced=synced):
                data = content("unlinked", 2 * MIB + 5)
                file = self.open_new()
                os.write(file, data[:MIB])
                if synced:
                    os.fsync(file)
                with open(self.root / "f", "rb", buffering=0) as reader:
                    os.write(file, data[MIB:])
                    os.unlink(self.root / "f")
                    os.close(file)
                    harness.wait_until(lambda: self.is_committed(reader), "committed")
                    self.assertEqual("none", harness.differences(data, os.pread(reader.fileno(), len(data) + 1, 0)))

    @staticmethod
    def is_committed(reader):
        try:
            os.pread(reader.fileno(), 1, 0)
        except BlockingIOError:
            return False
        return True

    def test_times_after_close(self):
        """stat(2) after the return of close(2) is final, however long the commit takes"""
        for number, size in enumerate((1000, MIB, 100 * MIB)):
            file = self.open_new(f"f{number}")
            for _ in range(max(size // MIB, 1)):
                os.write(file, bytes(min(size, MIB)))
            time.sleep(0.05)  # the commit must get another time than the last write
            os.close(file)
            first = os.stat(self.root / f"f{number}")
            time.sleep(0.3)
            later = os.stat(self.root / f"f{number}")
            self.assertEqual((first.st_mtime_ns, first.st_size), (later.st_mtime_ns, later.st_size), size)

    def test_second_writer(self):
        """two writing descriptors of one file: committed at the last close of both"""
        first = self.open_new()
        second = os.open(self.root / "f", os.O_WRONLY)
        os.pwrite(first, b"a" * 10, 0)
        os.close(first)
        os.pwrite(second, b"b" * 10, 10)
        os.close(second)
        self.assertEqual((self.root / "f").read_bytes(), b"a" * 10 + b"b" * 10)

    def test_duplicated_descriptors(self):
        """a close of a duplicate commits nothing"""
        file = self.open_new()
        other = os.dup(file)
        os.write(file, b"one ")
        os.close(file)
        os.write(other, b"two")
        os.close(other)
        self.assertEqual((self.root / "f").read_bytes(), b"one two")

    def test_changes_after_a_duplicate(self):
        """requests after the close of a duplicate wait for no other close, whichever process
        has the other descriptor, and make what came before durable"""
        def duplicated(path):
            file = self.open_new(path.name)
            duplicate = os.dup(file)
            os.write(duplicate, b"data")
            os.close(duplicate)
            return file

        def inherited(path):
            file = self.open_new(path.name)
            run("sh", "-c", f"printf data >&{file}", pass_fds=[file])
            return file

        def sent(path):
            """the process that opened it and the one that wrote to it are gone"""
            here, there = socket.socketpair()
            with here, there:
                run(sys.executable, "-c", OPEN_AND_SEND, path, there.fileno(), pass_fds=[there.fileno()])
                file = socket.recv_fds(here, 1, 1)[1][0]
            run(sys.executable, "-c", f"import os; os.write({file}, b'data')", pass_fds=[file])
            return file

        for way in (duplicated, inherited, sent):
            with self.subTest(way.__name__):
                path = self.root / way.__name__
                before = self.root / f"before-{way.__name__}"
                before.mkdir()
                file = way(path)
                moved = before.rename(self.root / f"after-{way.__name__}")
                harness.sync_directory(moved)
                harness.sync_directory(self.root)
                # The file itself: read, renamed and written to while it is open.
                self.assertEqual(path.read_bytes(), b"data")
                path = path.rename(self.root / f"renamed-{way.__name__}")
                os.write(file, b" and more")
                os.close(file)
                self.assertEqual(path.read_bytes(), b"data and more")

    def test_parallel_writers(self):
        """threads with a descriptor each write interleaved pieces"""
        data = content(6, 8 * MIB + 12345)
        self.open_new()
        piece, workers = 50_000, 4
        failures = []

        def work(number):
            descriptor = os.open(self.root / "f", os.O_WRONLY)
            try:
                for begin in range(number * piece, len(data), workers * piece):
                    part = data[begin:begin + piece]
                    if os.pwrite(descriptor, part, begin) != len(part):
                        failures.append(begin)
            except OSError as error:
                failures.append(error)
            finally:
                os.close(descriptor)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.doCleanups()
        self.assertEqual(failures, [])
        self.assertEqual((self.root / "f").read_bytes(), data)

    def test_fsync_in_the_middle(self):
        """fsync, then more, several times, at unaligned lengths"""
        data = content(7, 3 * MIB + 1000)
        file = self.open_new()
        cuts = [0, 1, 5000, MIB, MIB + 123, 2 * MIB + 77, len(data)]
        for begin, end in zip(cuts, cuts[1:]):
            os.pwrite(file, data[begin:end], begin)
            os.fsync(file)
            self.assertEqual(os.fstat(file).st_size, end)
        with self.fails_with(errno.EINVAL):
            os.pwrite(file, b"x", 5)
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(), data)
        self.mnt.remount()
        self.assertEqual((self.root / "f").read_bytes(), data)

    def test_fsync_then_before(self):
        """after fsync of a later part, an earlier part can still be written"""
        data = content(8, 20_000)
        file = self.open_new()
        os.pwrite(file, data[10_000:], 10_000)
        os.fsync(file)
        os.pwrite(file, data[:10_000], 0)
        os.close(file)
        self.assertEqual((self.root / "f").read_bytes(), data)

    def test_truncate_existing_by_shell(self):
        """> on an empty file is allowed, > on a committed one is not"""
        harness.shell(f": > {self.root / 'f'}; echo a > {self.root / 'f'}")
        self.assertEqual((self.root / "f").read_text(), "a\n")
        self.assertNotEqual(harness.shell(f"echo b > {self.root / 'f'}", check=False).returncode, 0)
        self.assertEqual((self.root / "f").read_text(), "a\n")


class Reading(harness.MountTest):
    def setUp(self):
        super().setUp()
        self.data = content(10, 5 * MIB + 4321)
        self.path = self.write_file("f", self.data)

    def test_any_offset(self):
        """reads at any offset and length, also over the end"""
        choice = random.Random(harness.seed())
        with open(self.path, "rb", buffering=0) as file:
            for _ in range(300):
                at = choice.randrange(len(self.data) + 100)
                length = choice.randrange(1, 300_000)
                self.assertEqual(os.pread(file.fileno(), length, at), self.data[at:at + length])

    def test_direct(self):
        """O_DIRECT reads"""
        file = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            buffer = mmap.mmap(-1, MIB)
            for at in (0, MIB, 3 * MIB, 5 * MIB):
                length = os.preadv(file, [buffer], at)
                self.assertEqual(buffer[:length], self.data[at:at + MIB])
        finally:
            os.close(file)

    def test_map_shared(self):
        """a shared read-only mapping over several mblocks"""
        with open(self.path, "rb") as file, \
                mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
            self.assertEqual(mapping[:], self.data)

    def test_map_private(self):
        """a private mapping can be changed without an effect on the file"""
        with open(self.path, "rb") as file, \
                mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE,
                          mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
            mapping[MIB:MIB + 3] = b"new"
            self.assertEqual(mapping[:MIB], self.data[:MIB])
        self.assertEqual(self.path.read_bytes(), self.data)

    def test_map_and_read_after_unlink(self):
        """a mapping outlives the name"""
        with open(self.path, "rb") as file:
            mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        self.path.unlink()
        self.assertEqual(mapping[:], self.data)
        mapping.close()

    def test_sendfile(self):
        """sendfile to a socket"""
        left, right = socket.socketpair()
        received = bytearray()

        def receive():
            while block := right.recv(65536):
                received.extend(block)

        reader = threading.Thread(target=receive)
        reader.start()
        with open(self.path, "rb") as file:
            at = 0
            while sent := os.sendfile(left.fileno(), file.fileno(), at, MIB):
                at += sent
        left.close()
        reader.join()
        right.close()
        self.assertEqual(bytes(received), self.data)

    def test_splice(self):
        """splice through a pipe"""
        out = harness.temporary_directory() / "out"
        with open(out, "wb") as target, open(self.path, "rb") as file, \
                subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=target) as cat:
            while os.splice(file.fileno(), cat.stdin.fileno(), MIB):
                pass
            cat.stdin.close()
        run("cmp", out, self.path)

    def test_parallel_readers(self):
        """several processes read the same file at once, cold"""
        self.mnt.remount()
        readers = [subprocess.Popen(["sha256sum", self.path], stdout=subprocess.PIPE)
                   for _ in range(4)]
        sums = {reader.communicate()[0].split()[0] for reader in readers}
        self.assertEqual(sums, {harness.sha256(self.path).encode()})

    def test_cached_over_open(self):
        """pages stay in the page cache over close and open, also when times and mode change"""
        if self.mnt.native == "on":  # data served by the daemon so far is cached separately
            self.mnt.wait_for_native(self.path)
        self.path.read_bytes()
        self.path.chmod(0o600)
        os.utime(self.path, (1, 1))
        with open(self.path, "rb") as file, \
                mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE,
                          mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
            pages = (len(self.data) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
            self.assertEqual(harness.resident_pages(mapping, len(self.data)), pages)


if __name__ == "__main__":
    harness.main()

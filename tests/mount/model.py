"""Random operations on a mount, compared with a model in memory after every few operations and
every remount."""

import errno
import os
import random
import sys
import time
import unittest

import harness
from harness import MIB, content
import system_calls

SECONDS = 1800 if harness.LONG else 10
REMOUNT_EVERY = 250
COMPARE_EVERY = 60


class File:
    """The expected state of a regular file; shared by its hard links."""

    def __init__(self, log):
        self.log = log
        self.data = b""
        self.mode = 0o644
        self.attributes = {}

    @property
    def empty(self):
        return not self.log and not self.data


class Link:
    def __init__(self, target):
        self.target = target


class Model(unittest.TestCase):
    def setUp(self):
        self.choice = random.Random(harness.seed())
        self.mnt = harness.Mount(size="4G")
        self.tree = {}  # names of a directory -> dict (directory), File or Link
        self.version = 0

    def tearDown(self):
        self.mnt.umount()

    # --- choosing ---

    def directories(self):
        found = []

        def visit(directory, path):
            found.append((directory, path))
            for name, node in directory.items():
                if isinstance(node, dict):
                    visit(node, path / name)

        visit(self.tree, self.mnt.point)
        return found

    def some_directory(self):
        return self.choice.choice(self.directories())

    def some_entry(self, kind=object):
        found = [(directory, path, name) for directory, path in self.directories()
                 for name, node in directory.items() if isinstance(node, kind)]
        return self.choice.choice(found) if found else None

    def some_name(self):
        return f"n{self.choice.randrange(12)}"

    def some_content(self):
        self.version += 1
        size = self.choice.choice([0, 1, 100, 4096, 5000, 70_000, 300_000, MIB, 2 * MIB + 5])
        return content(self.version, size)

    def fails_with(self, code, function, *arguments):
        with self.assertRaises(OSError) as caught:
            function(*arguments)
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[code])

    # --- operations ---

    def op_make_directory(self):
        directory, path = self.some_directory()
        name = self.some_name()
        if name in directory:
            self.fails_with(errno.EEXIST, os.mkdir, path / name)
        elif len(path.parts) - len(self.mnt.point.parts) < 4:
            os.mkdir(path / name)
            directory[name] = {}

    def op_write(self):
        directory, path = self.some_directory()
        name = self.some_name()
        node = directory.get(name)
        data = self.some_content()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        if isinstance(node, Link):
            return
        if isinstance(node, dict):
            self.fails_with(errno.EISDIR, os.open, path / name, flags)
        elif isinstance(node, File) and not node.log and not node.empty:
            self.fails_with(errno.EACCES, os.open, path / name, flags)
        else:
            if node is None:
                node = directory[name] = File(log=False)
            # Truncated, an existing log is empty and still a log.
            self.write_pieces(path / name, flags, self.pieces(data, ordered=node.log), node.log)
            node.data = data

    def write_pieces(self, path, flags, pieces, is_log):
        file = os.open(path, flags, 0o644)
        try:
            written = bytearray()
            # An fsync with gaps begins a further mblock, so there are few of them.
            synced = self.choice.randrange(4 * max(1, len(pieces)))
            read = self.choice.randrange(4 * max(1, len(pieces)))
            for number, (begin, piece) in enumerate(pieces):
                self.assertEqual(os.pwrite(file, piece, begin), len(piece))
                written.extend(bytes(max(0, begin + len(piece) - len(written))))
                written[begin:begin + len(piece)] = piece
                if number == synced:
                    self.sync_by_any(file, path)
                if number == read:
                    self.assertEqual(path.read_bytes(), written, path)
            if not is_log and self.choice.random() < 0.2:
                os.pwrite(file, b"to be cut off", len(written) + 1000)
                os.ftruncate(file, len(written))
                self.assertEqual(path.read_bytes(), written, path)
        finally:
            os.close(file)

    def sync_by_any(self, file, path):
        """fsync through the descriptor that wrote, or one that only reads"""
        if self.choice.random() < 0.5:
            os.fsync(file)
            return
        reader = os.open(path, os.O_RDONLY)
        os.fsync(reader)
        os.close(reader)

    def pieces(self, data, ordered):
        size = self.choice.choice([1000, 4096, 65536, 100_001, MIB])
        pieces = [(at, data[at:at + size]) for at in range(0, len(data), size)][:400]
        if not ordered and sum(len(piece) for _, piece in pieces) == len(data):
            self.choice.shuffle(pieces)
        missing = sum(len(piece) for _, piece in pieces)
        if missing < len(data):
            pieces.append((missing, data[missing:]))
        return pieces

    def op_append(self):
        directory, path = self.some_directory()
        name = self.some_name()
        node = directory.get(name)
        data = self.some_content()[:400_000]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if isinstance(node, Link):
            return
        if isinstance(node, dict):
            self.fails_with(errno.EISDIR, os.open, path / name, flags)
        elif isinstance(node, File) and not node.log and not node.empty:
            self.fails_with(errno.EACCES, os.open, path / name, flags)
        else:
            if node is None:
                node = directory[name] = File(log=True)
            elif node.empty:
                node.log = True
            file = os.open(path / name, flags, 0o644)
            if data:
                self.assertEqual(os.write(file, data), len(data))
            os.close(file)
            node.data += data

    def op_truncate(self):
        chosen = self.some_entry(File)
        if chosen is None:
            return
        directory, path, name = chosen
        node = directory[name]
        size = self.choice.choice([0, 5])
        if node.empty:
            return
        if size == 0 and node.log:
            os.truncate(path / name, 0)
            node.data = b""
        elif node.data or size:
            self.fails_with(errno.EPERM if node.log else errno.EACCES, os.truncate, path / name, size)

    def op_unlink(self):
        chosen = self.some_entry((File, Link))
        if chosen is None:
            return
        directory, path, name = chosen
        keep_open = isinstance(directory[name], File) and self.choice.random() < 0.3
        file = os.open(path / name, os.O_RDONLY) if keep_open else None
        os.unlink(path / name)
        node = directory.pop(name)
        if file is not None:
            self.assertEqual(self.read_all(file), node.data)
            os.close(file)

    @staticmethod
    def read_all(file):
        data = bytearray()
        while block := os.read(file, MIB):
            data += block
        return bytes(data)

    def op_remove_directory(self):
        chosen = self.some_entry(dict)
        if chosen is None:
            return
        directory, path, name = chosen
        if directory[name]:
            self.fails_with(errno.ENOTEMPTY, os.rmdir, path / name)
        else:
            os.rmdir(path / name)
            del directory[name]

    def op_rename(self):
        chosen = self.some_entry()
        if chosen is None:
            return
        directory, path, name = chosen
        target_directory, target_path = self.some_directory()
        new_name = self.some_name()
        node, target = directory[name], target_directory.get(new_name)
        old, new = path / name, target_path / new_name
        if isinstance(node, dict) and target_path.is_relative_to(old):
            if (target_path / new_name) != old:
                self.fails_with(errno.EINVAL, os.rename, old, new)
            return
        if isinstance(target, dict) and path.is_relative_to(new):
            if new != old:
                # The kernel detects this before it compares the kinds.
                self.fails_with(errno.ENOTEMPTY, os.rename, old, new)
            return
        if node is target:
            os.rename(old, new)  # two links of one file: no effect
        elif isinstance(target, dict) and not isinstance(node, dict):
            self.fails_with(errno.EISDIR, os.rename, old, new)
        elif target is not None and isinstance(node, dict) and not isinstance(target, dict):
            self.fails_with(errno.ENOTDIR, os.rename, old, new)
        elif isinstance(target, dict) and target:
            self.fails_with(errno.ENOTEMPTY, os.rename, old, new)
        else:
            os.rename(old, new)
            del directory[name]
            target_directory[new_name] = node

    def op_exchange(self):
        first, second = self.some_entry((File, Link)), self.some_entry((File, Link))
        if first is None or second is None:
            return
        system_calls.rename(first[1] / first[2], second[1] / second[2], system_calls.RENAME_EXCHANGE)
        one, two = first[0][first[2]], second[0][second[2]]
        first[0][first[2]], second[0][second[2]] = two, one

    def op_link(self):
        chosen = self.some_entry(File)
        if chosen is None:
            return
        directory, path, name = chosen
        target_directory, target_path = self.some_directory()
        new_name = self.some_name()
        if new_name in target_directory:
            self.fails_with(errno.EEXIST, os.link, path / name, target_path / new_name)
        else:
            os.link(path / name, target_path / new_name)
            target_directory[new_name] = directory[name]

    def op_symlink(self):
        directory, path = self.some_directory()
        name = self.some_name()
        target = "t" * self.choice.randrange(1, 3000)
        if name in directory:
            self.fails_with(errno.EEXIST, os.symlink, target, path / name)
        else:
            os.symlink(target, path / name)
            directory[name] = Link(target)

    def op_change_mode(self):
        chosen = self.some_entry(File)
        if chosen is not None:
            directory, path, name = chosen
            directory[name].mode = self.choice.randrange(0o1000)
            os.chmod(path / name, directory[name].mode)

    def op_attribute(self):
        chosen = self.some_entry(File)
        if chosen is None:
            return
        directory, path, name = chosen
        attributes = directory[name].attributes
        key = f"user.key{self.choice.randrange(3)}"
        if key in attributes and self.choice.random() < 0.5:
            os.removexattr(path / name, key)
            del attributes[key]
        else:
            attributes[key] = content(self.version, self.choice.randrange(500))
            os.setxattr(path / name, key, attributes[key])

    # --- comparing ---

    def compare(self):
        for directory, path in self.directories():
            self.assertEqual(sorted(os.listdir(path)), sorted(directory), path)
            for name, node in directory.items():
                if isinstance(node, Link):
                    self.assertEqual(os.readlink(path / name), node.target)
                elif isinstance(node, File):
                    self.compare_file(path / name, node)

    def compare_file(self, path, node):
        facts = path.stat()
        self.assertEqual(facts.st_size, len(node.data), path)
        self.assertEqual(facts.st_mode & 0o7777, node.mode, path)
        data = path.read_bytes()
        if data != node.data:
            with open(path, "rb") as file:  # is only the page cache wrong?
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                again = file.read()
            self.fail(f"{path}, log: {node.log}, {len(node.data)} bytes: {harness.differences(node.data, data)}; "
                      f"read again: {harness.differences(node.data, again)}")
        names = {name for name in os.listxattr(path) if name.startswith("user.key")}
        self.assertEqual(names, set(node.attributes), path)
        for key, value in node.attributes.items():
            self.assertEqual(os.getxattr(path, key), value, path)

    def test_random_operations(self):
        """random operations match the model, also after remounts; deleting all frees all"""
        operations = [getattr(self, name) for name in dir(self) if name.startswith("op_")]
        operations += [self.op_write, self.op_append, self.op_write, self.op_unlink]
        free = self.mnt.free_blocks()
        end = time.monotonic() + SECONDS
        done = 0
        while time.monotonic() < end:
            operation = self.choice.choice(operations)
            try:
                operation()
            except BaseException:
                print(f"  operation {done}: {operation.__name__}", file=sys.stderr)
                raise
            done += 1
            if done % COMPARE_EVERY == 0:
                self.compare()
            if done % REMOUNT_EVERY == 0:
                self.mnt.remount()
                self.compare()
        print(f"  {done} operations", file=sys.stderr)
        self.compare()
        harness.run("find", self.mnt.point, "-mindepth", "1", "-delete")
        self.mnt.wait_for_free_blocks(free)


if __name__ == "__main__":
    harness.main()

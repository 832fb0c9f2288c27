"""Small files share zones: the space they take and give back, crashes, all ways of reading, copies
of trees."""

import hashlib
import mmap
import os
import random
import shutil

import harness
from harness import MIB, MPOOL, content, run, status_of

KIB = 1 << 10
SEED = 7
COUNT = 10_000 if harness.LONG else 1000  # files that are deleted
TREE_FILES = 100_000 if harness.LONG else 2000
LARGEST = 64 * KIB


class SmallFiles(harness.MountTest):
    def write(self, name, data):
        path = self.root / name
        path.write_bytes(data)
        return path

    def used_bytes(self):
        found = os.statvfs(self.mnt.point)
        return (found.f_blocks - found.f_bfree) * found.f_bsize

    def is_packed(self, path):
        return os.getxattr(path, "user.mpool.type") == b"pack"

    def digests(self, root):
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in sorted(root.rglob("*")) if path.is_file()}

    def checked_umount(self):
        self.mnt.umount()
        run(MPOOL, "check", self.mnt.pool)

    def test_space(self):
        """10,000 files of 4 KiB take 1.1 times their bytes and 256 bytes each, with their names"""
        count = 10_000
        run("sync", "-f", self.mnt.point)
        before, used = status_of(self.mnt.point), self.used_bytes()
        for number in range(count):
            self.write(str(number), content(number, 4 * KIB))
        run("sync", "-f", self.mnt.point)
        after = status_of(self.mnt.point)
        names = after["root_mdc"]["live"] - before["root_mdc"]["live"]
        # A part of the last pack is still free.
        limit = count * (1.1 * 4 * KIB + 256) + 8 * MIB
        self.assertLessEqual(after["packs"]["capacity"] - before["packs"]["capacity"] + names, limit)
        self.assertLessEqual(self.used_bytes() - used + names, limit)
        self.assertEqual(after["packs"]["live"] - before["packs"]["live"], count * 4 * KIB)
        self.assertEqual(after["packs"]["files"] - before["packs"]["files"], count)
        shown = int(run("du", "-s", "--block-size=1", self.root).stdout.split()[0])
        self.assertLessEqual(shown, count * 4 * KIB + 64 * KIB)

    def test_given_back(self):
        """deleted in any order, all space is back"""
        free = self.mnt.free_blocks()
        names = [str(number) for number in range(COUNT)]
        for number, name in enumerate(names):
            self.write(name, content(number, 1 + number * 97 % (32 * KIB)))
        run("sync", "-f", self.mnt.point)
        self.assertLess(self.mnt.free_blocks(), free)
        random.Random(SEED).shuffle(names)
        for name in names:
            os.unlink(self.root / name)
        self.mnt.wait_for_free_blocks(free)

    def test_moved(self):
        """when most files of a pack are gone, the rest is moved, and readers go on"""
        paths = [self.write(str(number), content(number, 16 * KIB)) for number in range(2000)]
        run("sync", "-f", self.mnt.point)
        before = status_of(self.mnt.point)["packs"]["count"]
        self.assertGreaterEqual(before, 4)
        kept = paths[::8]
        files = [os.open(path, os.O_RDONLY) for path in kept]
        views = [mmap.mmap(file, 0, prot=mmap.PROT_READ) for file in files[::2]]
        for path in set(paths) - set(kept):
            os.unlink(path)
        harness.wait_until(lambda: status_of(self.mnt.point)["packs"]["count"] <= before // 2,
                           "packs are deleted")
        metrics = self.mnt.path(".mpool", "metrics").read_text()
        self.assertRegex(metrics, r"(?m)^mpoolfs_pack_moved_bytes_total [1-9]")
        for number, file in enumerate(files):
            self.assertEqual(os.pread(file, LARGEST, 0), content(8 * number, 16 * KIB))
            os.close(file)
        for number, view in enumerate(views):
            self.assertEqual(view[:], content(16 * number, 16 * KIB))
            view.close()
        for number, path in enumerate(kept):
            self.assertEqual(path.read_bytes(), content(8 * number, 16 * KIB))
        self.checked_umount()
        self.mnt.mount()
        for number, path in enumerate(kept):
            self.assertEqual(path.read_bytes(), content(8 * number, 16 * KIB))

    def test_reading(self):
        """read, O_DIRECT, a shared mapping and sendfile give the same, before and after a mount"""
        sizes = (1, 511, 4096, 10_000, 128 * KIB - 1)

        def compare(number, size):
            path, data = self.root / str(size), content(number, size)
            self.assertTrue(self.is_packed(path))
            self.assertEqual(path.read_bytes(), data)
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
                self.assertEqual(view[:], data)
            run("dd", f"if={path}", "iflag=direct", "bs=64K", f"of={self.mnt.directory}/copy", "status=none")
            self.assertEqual((self.mnt.directory / "copy").read_bytes(), data)
            with open(path, "rb") as source, open(self.mnt.directory / "copy", "wb") as target:
                self.assertEqual(os.sendfile(target.fileno(), source.fileno(), 0, size + 1), size)
            self.assertEqual((self.mnt.directory / "copy").read_bytes(), data)

        for number, size in enumerate(sizes):
            self.write(str(size), content(number, size))
            compare(number, size)
        self.checked_umount()
        self.mnt.mount()
        for number, size in enumerate(sizes):
            compare(number, size)

    def test_killed(self):
        """after kill -9: what was synced is there, the rest whole or not at all"""
        rounds = 8 if harness.LONG else 3
        synced = {}
        for turn in range(rounds):
            for number in range(200):
                data = content(turn * 1000 + number, 1 + number * 331 % LARGEST)
                path = self.write(f"{turn}.{number}", data)
                if number % 50 == 7:
                    descriptor = os.open(path, os.O_RDONLY)
                    os.fsync(descriptor)
                    os.close(descriptor)
                    synced[path.name] = data
                if number % 3 == 0 and path.name not in synced:
                    os.unlink(path)
            self.mnt.crash()
            for name, data in synced.items():
                self.assertEqual((self.root / name).read_bytes(), data)
            for path in self.root.iterdir():
                turn_of, number = map(int, path.name.split("."))
                self.assertEqual(path.read_bytes(),
                                 content(turn_of * 1000 + number, 1 + number * 331 % LARGEST), path.name)
        self.checked_umount()
        self.mnt.mount()


class CopiedTree(harness.PoolTest):
    def test_copy(self):
        """cp -r of a tree of small files works in a pool of 1.2 times its bytes"""
        generator = random.Random(SEED)
        source = self.directory / "source"
        total = 0
        for number in range(TREE_FILES):
            path = source / str(number % 97) / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            size = generator.randrange(LARGEST)
            path.write_bytes(content(number % 1000, size))
            total += size
        pool = self.directory / "small.img"
        # The metadata of a pool, which does not grow with the tree, comes on top.
        harness.create_image(pool, "copied", str(int(1.2 * total) + 64 * MIB))
        mnt = harness.Mount(pool=pool, directory=self.directory)
        run("cp", "-r", source, mnt.point / "copy", timeout=3600)
        run("diff", "-r", source, mnt.point / "copy", timeout=3600)
        mnt.umount()
        run(MPOOL, "check", pool, timeout=3600)
        shutil.rmtree(source)


if __name__ == "__main__":
    harness.main()

"""The reaper and its tunables."""

import errno
import json
import mmap
import os
import pathlib
import shutil
import time

import harness
from harness import MIB, MPOOL, content, run, shell

ADVICE = "user.mpool.advice"
NOBODY = 65534
PAGE = mmap.PAGESIZE


def resident_pages(path):
    """Of a file in the page cache. Mapping it reads nothing."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as memory:
        return harness.resident_pages(memory, len(memory))


class ReaperTest(harness.MountTest):
    @property
    def tunables(self):
        return self.mnt.path(".mpool") / "tunable"

    def reaper(self):
        return json.loads((self.mnt.path(".mpool") / "status.json").read_bytes())["reaper"]

    def set(self, **values):
        for name, value in values.items():
            (self.tunables / name).write_text(f"{value}\n")

    def short_memory(self):
        """The path of files as those of a memory cgroup for which a page of a file is too much."""
        path = harness.temporary_directory()
        for name, text in (("memory.max", str(64 << 10)), ("memory.current", "0"),
                           ("memory.stat", "inactive_file 0\nactive_file 0\n")):
            (path / name).write_text(text)
        return path


    def wait_resident(self, advice, path, pages):
        """Reads the file, again and again, until the reaper has seen so many of its pages."""
        def is_seen():
            path.read_bytes()  # another program may drop all caches of the machine
            return self.reaper()["resident_pages"][advice] >= pages
        harness.wait_until(is_seen, f"its pages are {advice}")

    def wait_gone(self, *advices):
        def is_gone():
            pages = self.reaper()["resident_pages"]
            return all(pages[advice] == 0 for advice in advices)
        harness.wait_until(is_gone, f"no pages are {' or '.join(advices)}")


class Tunables(ReaperTest):
    def test_values(self):
        """they are read, and changed by root; a value out of the range is refused"""
        self.assertEqual(sorted(os.listdir(self.tunables)),
                         ["reap_cgroup", "reap_debug", "reap_mempct", "reap_ttl"])
        self.assertEqual((self.tunables / "reap_ttl").read_text(), "10000000\n")
        self.set(reap_ttl=5000, reap_mempct=50)
        self.assertEqual((self.tunables / "reap_ttl").read_text(), "5000\n")
        for name, value in (("reap_ttl", 5), ("reap_mempct", 101), ("reap_debug", "x")):
            with self.subTest(name), self.fails_with(errno.EINVAL):
                self.set(**{name: value})
        with self.fails_with(errno.ENOENT):
            self.set(reap_cgroup="/nowhere")
        done = shell(f"echo 1000 > {self.tunables}/reap_ttl", check=False, user=NOBODY,
                     group=NOBODY, extra_groups=[])
        self.assertIn("Permission denied", done.stderr)
        self.set(reap_ttl=10000000, reap_mempct=0)


class Reaping(ReaperTest):
    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.set(reap_cgroup="-", reap_ttl=10000000))
        self.addCleanup(self.remove_files)

    def remove_files(self):
        for path in self.root.iterdir():
            if path.is_file():
                path.unlink()

    def test_eviction(self):
        """unused files and maps leave the page cache when memory is short, and are read again"""
        data = content(1, 8 * MIB)
        path = self.write_file("f", data)
        if harness.NATIVE == "on":
            self.mnt.wait_for_native(path)
        run(MPOOL, "map", "create", self.mnt.point, "m", path)
        name = self.mnt.path(".mpool") / "map" / "m"
        self.addCleanup(name.unlink)
        self.set(reap_cgroup=self.short_memory(), reap_ttl=1000)

        def are_evicted():
            before = self.reaper()["evicted_pages"]
            self.assertEqual(path.read_bytes(), data)
            self.assertEqual(name.read_bytes()[:len(data)], data)
            # Without an open file: an open is a use. Another program may drop all caches of the
            # machine, then they are read again.
            self.wait_gone("cold")
            return self.reaper()["evicted_pages"] - before >= 12 * MIB // PAGE

        harness.wait_until(are_evicted, "the pages of both are evicted")
        self.assertEqual(path.read_bytes(), data)

    def test_mapped(self):
        """pages that a program has mapped stay with native reads, and its data is right"""
        path = self.write_file("mapped", content(2, 4 * MIB))
        if harness.NATIVE == "on":
            self.mnt.wait_for_native(path)
        self.set(reap_cgroup=self.short_memory(), reap_ttl=1000)
        # Pages that the daemon serves are unmapped, and evicted.
        counter = "skipped_pages" if harness.NATIVE == "on" else "evicted_pages"
        before = self.reaper()[counter]
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            self.assertEqual(memory[:], content(2, 4 * MIB))
            harness.wait_until(lambda: self.reaper()[counter] > before, "it is counted")
            self.assertEqual(memory[:], content(2, 4 * MIB))

    def test_removed(self):
        """the pages of a removed file leave the cache"""
        path = self.write_file("removed", content(3, 4 * MIB))
        if harness.NATIVE == "on":
            self.mnt.wait_for_native(path)

        def is_tracked():
            path.read_bytes()  # another program may drop all caches of the machine
            return self.reaper()["resident_pages"]["cold"] >= 4 * MIB // PAGE

        harness.wait_until(is_tracked, "it is in the cache")
        path.unlink()
        if harness.NATIVE == "on":
            other = self.write_file("other", b"1")

            def is_forgotten():
                other.read_bytes()  # an open has the reaper look
                return self.reaper()["resident_pages"]["cold"] < 4 * MIB // PAGE

            harness.wait_until(is_forgotten, "its pages are gone")

    def test_advice_of_files(self):
        """the reaper reads user.mpool.advice, also of an open file, and new files inherit it"""
        directory = self.root / "advised"
        directory.mkdir()
        self.addCleanup(shutil.rmtree, directory)
        os.setxattr(directory, ADVICE, b"hot")
        path = self.write_file("advised/f", content(5, 4 * MIB))
        self.assertEqual(os.getxattr(path, ADVICE), b"hot")
        if harness.NATIVE == "on":
            self.mnt.wait_for_native(path)
        pages = 4 * MIB // PAGE
        self.wait_resident("hot", path, pages)
        with open(path, "rb"):
            os.setxattr(path, ADVICE, b"warm")
            self.wait_resident("warm", path, pages)
            self.wait_gone("hot")
            with self.fails_with(errno.EINVAL):
                os.setxattr(path, ADVICE, b"lukewarm")
            os.removexattr(path, ADVICE)
            self.wait_gone("hot", "warm")
            self.wait_resident("cold", path, pages)

    def test_maps(self):
        """the members of a map have its advice, which can be changed, and go with it"""
        path = self.write_file("member", content(6, 4 * MIB))
        maps = self.mnt.path(".mpool") / "map"
        before = self.reaper()["chunks"]
        run(MPOOL, "map", "create", "--advice", "hot", self.mnt.point, "m", path)
        self.addCleanup(lambda: (maps / "m").unlink(missing_ok=True))
        pages = 4 * MIB // PAGE
        self.wait_resident("hot", maps / "m", pages)
        self.assertGreater(self.reaper()["chunks"], before)
        run(MPOOL, "map", "advise", self.mnt.point, "m", "warm")
        self.wait_resident("warm", maps / "m", pages)
        self.wait_gone("hot")
        os.unlink(maps / "m")
        self.wait_gone("hot", "warm")

    def wakeups(self):
        tasks = pathlib.Path(f"/proc/{self.mnt.daemon.pid}/task").iterdir()
        return [(task / "status").read_text().partition("voluntary_ctxt_switches:")[2].split()[0]
                for task in tasks]

    def test_idle(self):
        """after a file was read once the daemon sleeps without a wake-up"""
        path = self.write_file("once", content(4, MIB))
        path.read_bytes()

        def asleep(seconds):
            before = self.wakeups()
            time.sleep(seconds)
            return self.wakeups() == before

        harness.wait_until(lambda: asleep(0.5) and asleep(3), "it sleeps")


if __name__ == "__main__":
    harness.main()

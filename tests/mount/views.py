"""The number of views of committed files, and when they are made and dropped."""

import contextlib
import pathlib
import re
import time

import harness
from harness import content
from native import NativeTest, loops

harness.give_files_zones()

# The daemon merges views from this number on, and makes no more than the latter.
MERGED_VIEWS = 16
MAX_VIEWS = 64


class Views(NativeTest):
    def grow(self, count, prefix="f"):
        """Writes files, each of which is in a view before the next one is written; yields path and
        content."""
        for number in range(count):
            path = self.write_file(f"{prefix}{number}", content(number, 5000))
            self.mnt.wait_for_native(path)
            yield path, content(number, 5000)

    def test_many_views(self):
        """a view for each of many files: views are merged, and all files are still read natively"""
        kept, most = {}, 0
        for path, expected in self.grow(60):
            kept[path] = expected
            most = max(most, self.native()["views"])
        self.assertGreater(most, 1)
        self.assertLessEqual(most, MERGED_VIEWS + 1)
        harness.drop_caches()
        with self.no_reads():
            for path, expected in kept.items():
                self.assertEqual(path.read_bytes(), expected)

    def test_no_view_before_an_open(self):
        """files that are not read cost no view; the first open shows all of them"""
        self.mnt.remount()
        views = self.native()["views"]
        paths = []
        for number in range(20):
            paths.append(self.write_file(f"f{number}", content(number, 5000)))
            harness.sync_directory(self.root)
        self.assertEqual(self.native()["views"], views)
        self.mnt.wait_for_native(*paths)
        self.assertLessEqual(self.native()["views"], views + 2)

    def test_views_whose_files_are_open(self):
        """open files keep their views: up to a maximum; the daemon reads the rest"""
        with contextlib.ExitStack() as stack:
            files = []
            for number in range(MAX_VIEWS + 10):
                path = self.write_file(f"f{number}", content(number, 5000))
                harness.sync_directory(self.root)
                files.append(stack.enter_context(open(path, "rb", buffering=0)))
                self.assertLessEqual(self.native()["views"], MAX_VIEWS)
            for number, file in enumerate(files):
                self.assertEqual(file.read(), content(number, 5000))
        path = self.write_file("later", content(1, 5000))
        self.mnt.wait_for_native(path)
        for path in list(self.root.iterdir()):
            path.unlink()
        harness.wait_until(lambda: self.native()["views"] <= MERGED_VIEWS, "views end with their readers")

    def test_removed(self):
        """views and their loop devices are removed with their files"""
        self.mnt.remount()
        before = len(loops())
        paths = [path for path, _ in self.grow(5)]
        self.assertGreater(len(loops()), before)
        views = self.native()["views"]
        for path in paths:
            path.unlink()
        harness.wait_until(lambda: self.native()["views"] < views, "views are gone")
        harness.wait_until(lambda: len(loops()) <= before, "loop devices are gone")

    def test_idle(self):
        """after a native read the thread of native reads sleeps until there is work"""
        path = self.write_file("f", content(1, 5000))
        self.mnt.wait_for_native(path)
        harness.wait_until(lambda: self.native()["kept"] == 0, "all are let go of")

        def wakeups():
            for task in pathlib.Path(f"/proc/{self.mnt.daemon.pid}/task").iterdir():
                status = (task / "status").read_text()
                if "mpoolfs-native" in status:
                    return re.findall(r"ctxt_switches:\s+(\d+)", status)
            raise AssertionError("no such thread")

        def asleep():
            before = wakeups()
            time.sleep(3)  # the daemon checked once a second
            return wakeups() == before

        harness.wait_until(asleep, "it sleeps")


if __name__ == "__main__":
    harness.main()

"""Damaged metadata logs: mounting refuses and writes nothing, ro shows the readable part, and with
the block restored everything is present."""

import harness
from harness import MIB, MPOOL, MPOOLFS, run

harness.give_files_zones()

FILES = 60
BLOCK = 512
ZONE = MIB


def first_block_of_log(image, number):
    """The offset of the log whose first block has this index: those of MDC0, MDC1 and so on."""
    found = []
    with open(image, "rb") as file:
        for zone in range(1, image.stat().st_size // ZONE):
            file.seek(zone * ZONE)
            header = file.read(18)
            if header[:2] == b"\1\0" and header[2:] != bytes(16):
                found.append(zone * ZONE)
    return found[number]


def root_log(image):
    """The offset of the first log of the root MDC."""
    for line in run(MPOOL, "dump", image).stdout.splitlines():
        if "objid=0x201 " in line:
            return int(line.split(" zone=")[1].split()[0]) * ZONE
    raise AssertionError("no root MDC")


class Damage(harness.PoolTest):
    def setUp(self):
        super().setUp()
        self.mount_pool()
        for number in range(FILES):
            (self.point / f"f{number}").write_text(f"important {number}")
        self.umount()
        self.mount_pool()  # a later flush set follows in the root MDC
        self.umount()

    def mount_pool(self, options="rw"):
        run(MPOOLFS, *harness.data_path_options(), "-o", options, self.image, self.point)

    def umount(self):
        run("umount", self.point)
        self.daemons_ended()

    def names(self):
        return [path.name for path in self.point.iterdir() if path.name.startswith("f")]

    def refused(self, offset, change, found=None):
        """Changes the block at `offset`; returns its old content. `found`: the text in the refusal,
        by default the block."""
        named = ("log block ", f"(byte {offset} of {self.image})") if found is None else (found,)
        with open(self.image, "r+b") as file:
            file.seek(offset)
            good = file.read(4096)
            file.seek(offset)
            file.write(change(good))
        before = harness.sha256(self.image)
        check = run(MPOOL, "check", self.image, check=False)
        self.assertEqual(check.returncode, 4, check.stdout)
        done = run(MPOOLFS, *harness.data_path_options(), self.image, self.point, check=False)
        self.assertNotEqual(done.returncode, 0)
        for text in (*named, "nothing was written", "-o ro", "mpool check"):
            self.assertIn(text, done.stderr)
        self.assertEqual(harness.sha256(self.image), before)
        return good

    def put_back(self, offset, good):
        with open(self.image, "r+b") as file:
            file.seek(offset)
            file.write(good)
        self.mount_pool()
        for number in range(FILES):
            self.assertEqual((self.point / f"f{number}").read_text(), f"important {number}")
        self.umount()

    def shown_read_only(self):
        """The number of names in a read-only mount, which reports damage."""
        before = harness.sha256(self.image)
        self.mount_pool("ro")
        count = len(self.names())
        self.assertTrue(harness.status_of(self.point)["pool"]["damage"])
        self.umount()
        self.assertEqual(harness.sha256(self.image), before)
        return count

    def test_flipped_bit_in_mdc1(self):
        """a flipped bit in the first block of MDC1"""
        offset = first_block_of_log(self.image, 1)
        good = self.refused(offset, lambda block: block[:5] + bytes([block[5] ^ 1]) + block[6:])
        self.assertEqual(self.shown_read_only(), FILES)
        self.put_back(offset, good)

    def test_zeroed_mdc1(self):
        """a zeroed sector, and page, at the beginning of MDC1"""
        offset = first_block_of_log(self.image, 1)
        # The log consists of this page only.
        for size, found in ((BLOCK, None), (4096, f"its first block (at byte {offset} of ")):
            good = self.refused(offset, lambda block, size=size: bytes(size) + block[size:], found)
            dump = run(MPOOL, "dump", self.image, check=False)
            self.assertEqual(dump.returncode, 1)
            self.assertIn("object ", dump.stdout)
            self.put_back(offset, good)

    def test_middle_of_the_root_mdc(self):
        """a flipped bit, and a zeroed sector, in the middle of the root MDC"""
        offset = root_log(self.image) + 8 * BLOCK
        good = self.refused(offset, lambda block: block[:5] + bytes([block[5] ^ 1]) + block[6:])
        self.assertEqual(self.shown_read_only(), FILES)
        self.put_back(offset, good)
        good = self.refused(offset, lambda block: bytes(BLOCK) + block[BLOCK:])
        self.assertLess(self.shown_read_only(), FILES)
        self.put_back(offset, good)


if __name__ == "__main__":
    harness.main()

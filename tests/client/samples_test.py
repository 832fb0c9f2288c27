"""Each sample makes a pool on an empty image file, works, and leaves nothing active.

Arguments: the programs.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAMS = [pathlib.Path(argument) for argument in sys.argv[1:]]


class SamplesTest(unittest.TestCase):
    """The samples of fuse/client/samples."""

    def test_samples(self):
        """each ends with success and prints something"""
        self.assertTrue(PROGRAMS)
        for program in PROGRAMS:
            with self.subTest(program.name), tempfile.TemporaryDirectory() as folder:
                image = pathlib.Path(folder) / "image"
                image.touch()
                os.truncate(image, 4 << 30)
                name = f"sample-{os.getpid()}"
                done = subprocess.run([program, name, image], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertTrue(done.stdout)
                self.assertFalse(pathlib.Path("/run/mpool", name).exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)

"""The layout of the sources, by clang-format, and the scripts, by shellcheck and pyflakes.

Needs nothing that is built.
"""

import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("engine", "fuse", "tools", "tests")
SCRIPTS = (".ci/run", "tools/scripts/lib.sh", "tools/quickstart.sh", "tools/test.sh")
COMPLETIONS = ("tools/completion/mpool", "tools/completion/mpoolfs")


def sources():
    return [path for folder in FOLDERS for pattern in ("*.cpp", "*.h") for path in (ROOT / folder).rglob(pattern)]


class StyleTest(unittest.TestCase):
    """Each tool is silent about every file."""

    def assert_silent(self, *command):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_layout(self):
        """.clang-format decides the layout"""
        found = sources()
        self.assertGreater(len(found), 300)
        self.assert_silent("clang-format", "--dry-run", "--Werror", *map(str, found))

    def test_scripts(self):
        """without warnings"""
        check = ("shellcheck", "--external-sources", "--severity=warning")
        self.assert_silent(*check, *SCRIPTS)
        self.assert_silent(*check, "--shell=bash", *COMPLETIONS)

    def test_python(self):
        """nothing unused or undefined"""
        found = [str(path) for path in (ROOT / "tests").rglob("*.py")]
        self.assertGreater(len(found), 40)
        self.assert_silent("pyflakes3", *found)


if __name__ == "__main__":
    unittest.main(verbosity=2)

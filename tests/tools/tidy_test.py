"""clang-tidy has nothing to say about the sources of the product; .clang-tidy has its checks.

Most of its time goes into headers of libraries, for each source anew. Therefore all sources of a
part are included into one. Needs nothing that is built.
"""

import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARIES = ("blkid", "fuse3", "libcrypto", "spdlog", "uuid")
# The standard as in meson.build, for clang.
FLAGS = ("-std=c++2b", "-U__cpp_concepts", "-D__cpp_concepts=202002L",
         "-D_FILE_OFFSET_BITS=64", '-DMPOOLFS_VERSION=""', f"-I{ROOT}", f"-isystem{ROOT}/fuse/client/include")
# The library's header has a struct of the name of a namespace: it is a part of its own.
CLIENT = ROOT / "fuse" / "client"


def libraries():
    """Their flags."""
    command = ("pkg-config", "--cflags", *LIBRARIES)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def including(sources):
    """Text that includes the sources; each may have a main()."""
    return "".join(f'#define main main{number}\n#include "{source}"\n#undef main\n'
                   for number, source in enumerate(sources))


class TidyTest(unittest.TestCase):
    """One process per part, side by side."""

    def test_silent(self):
        """without warnings"""
        with tempfile.TemporaryDirectory() as directory:
            running = [self.start(pathlib.Path(directory), part)
                       for part in ("engine", "fuse", "fuse/client", "tools")]
            for process in running:
                said = process.communicate()[0]
                with self.subTest(process.args[3].name):
                    self.assertEqual(process.returncode, 0, said)

    def start(self, directory, part):
        sources = [source for source in sorted((ROOT / part).rglob("*.cpp"))
                   if (source.parent == CLIENT) == (part == "fuse/client")]
        self.assertGreater(len(sources), 10)
        one = directory / f"{part.replace('/', '-')}.cpp"
        one.write_text(including(sources), encoding="utf-8")
        command = ("clang-tidy-16", "--quiet", f"--config-file={ROOT / '.clang-tidy'}", one, "--", *FLAGS, *libraries())
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Each layer includes only headers of itself and of those below it.

The lists of layers are those of the build: engine/meson.build and fuse/meson.build. Needs nothing
that is built.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^#include "((engine|fuse|tools|tests)/.*)"$', re.M)


def layers_of(part):
    """The layers of a part of the product, the lowest first."""
    text = (ROOT / part / "meson.build").read_text(encoding="utf-8")
    found = re.search(rf"^{part}_layers = \[(.*?)\]", text, re.M | re.S)
    return [f"{part}/{name}" for name in re.findall(r"'(\w+)'", found[1])]


# The C library is on the engine only.
ALL = layers_of("engine") + ["fuse/client"] + layers_of("fuse") + ["tools"]


def layer_of(name):
    """Of a file: its folder, or for one at the top of fuse/ the program's layer that it is in."""
    parts = name.split("/")
    if parts[0] == "tools":
        return "tools"
    if len(parts) > 2:
        return "/".join(parts[:2])
    return "fuse/options" if re.match(r"(options|mount_flags)\.", parts[1]) else "fuse/session"


class LayersTest(unittest.TestCase):
    """The order of the layers."""

    def test_includes(self):
        """no header of a layer above"""
        found = []
        checked = 0
        for path in sorted(ROOT.glob("engine/**/*.[ch]*")) + sorted(ROOT.glob("fuse/**/*.[ch]*")):
            name = str(path.relative_to(ROOT))
            for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
                checked += 1
                if included[1] == "tests" or ALL.index(layer_of(included[0])) > ALL.index(layer_of(name)):
                    found.append(f"{name}: includes {included[0]}, of a layer above")
        self.assertFalse(found, "\n" + "\n".join(found))
        self.assertGreater(checked, 500)


if __name__ == "__main__":
    unittest.main(verbosity=2)

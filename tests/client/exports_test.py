#!/usr/bin/env python3
"""The library exports what its header declares, and nothing else.

exports_test.py LIBRARY HEADER
"""
import pathlib
import re
import subprocess
import sys
import unittest

LIBRARY, HEADER = sys.argv[1:3]
WEAK = {"strlcpy", "strlcat"}


def declared():
    text = pathlib.Path(HEADER).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"\b(mpool_\w+)\(", text))


def exported():
    out = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True).stdout
    symbols = {}
    for line in out.splitlines():
        kind, name = line.split()[-2:]
        if kind != "A":  # the name of the version itself
            symbols[name.split("@")[0]] = kind
    return symbols


class ExportsTest(unittest.TestCase):
    def test_functions(self):
        self.assertGreater(len(declared()), 60)
        self.assertEqual(set(exported()) - WEAK, declared())

    def test_weak(self):
        symbols = exported()
        for name in WEAK & set(symbols):
            self.assertEqual(symbols[name], "W", name)


unittest.main(argv=sys.argv[:1])

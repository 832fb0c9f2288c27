"""Comments, docstrings, Markdown and manual pages name the actor, and have at most 100 columns.

Fails with file:line and the word for each vague actor, and for each long line. Exempt: text in
backquotes, fenced code, and the length of table rows and of lines without a blank. Needs no git.
"""

import ast
import io
import os
import pathlib
import re
import sys
import tokenize
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = 100
ACTORS = re.compile(r"\b(who|whoever|whom|somebody|someone|nobody|anybody|he|him|his|himself)\b", re.I)
OPENING = re.compile(r"(?:^|[.:;] )(What (?:is|was))\b")
QUOTED = re.compile(r"`[^`]*`")
HASH_COMMENT = re.compile(r"(?:^|\s)(#(?!!).*)$")
CPP_TOKEN = re.compile(
    r'R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'"
    r"|(?P<comment>//[^\n]*|/\*.*?\*/)",
    re.S,
)
HASH_NAMES = {"meson.build", "meson_options.txt", "packages.txt", "run", "mpool", "mpoolfs"}


def cpp_comments(text):
    """Yields (line number, text) of each comment line of C++."""
    for match in CPP_TOKEN.finditer(text):
        if match["comment"]:
            first = text.count("\n", 0, match.start()) + 1
            yield from enumerate(match["comment"].split("\n"), first)


def python_comments(text):
    """The same of Python, docstrings included."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            yield token.start[0], token.string
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            for number in range(node.body[0].lineno, node.body[0].end_lineno + 1):
                yield number, lines[number - 1]


def hash_comments(text):
    """The same of shell and meson. A comment begins at a # after a blank."""
    for number, line in enumerate(text.split("\n"), 1):
        if match := HASH_COMMENT.search(line):
            yield number, match[1]


def document_lines(text):
    """The lines of Markdown or scdoc outside of fenced code."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def prose_of(path):
    """The function that finds the prose of a file; None for other files."""
    if path.suffix in (".h", ".cpp"):
        return cpp_comments
    if path.suffix == ".py":
        return python_comments
    if path.suffix in (".md", ".scd"):
        return document_lines
    if path.suffix == ".sh" or path.name in HASH_NAMES:
        return hash_comments
    return None


def faults(path, text):
    """Yields (line number, fault) of a file's prose."""
    prose = prose_of(path)
    lines = text.split("\n")
    for number, comment in sorted(set(prose(text))):
        plain = QUOTED.sub("`", comment)
        for pattern in (ACTORS, OPENING):
            for match in pattern.finditer(plain.lstrip("/#*\" \t") if pattern is OPENING else plain):
                yield number, f'"{match[1]}"'
        line = lines[number - 1]
        is_table = prose is document_lines and line.startswith("|")
        # scdoc joins lines itself, and its sources are not read as they are.
        if len(line) > COLUMNS and path.suffix != ".scd" and not is_table and " " in comment.strip():
            yield number, f"{len(line)} columns"


def sources(root):
    """The files below a directory, without those of builds and hidden directories but .ci."""
    for directory, below, names in os.walk(root):
        below[:] = sorted(
            name for name in below
            if name != "__pycache__" and (not name.startswith(".") or name == ".ci")
            and not name.startswith("build") and not os.path.exists(os.path.join(directory, name, "meson-private"))
        )
        for name in sorted(names):
            path = pathlib.Path(directory, name)
            if prose_of(path) and path.is_file():
                yield path


class LanguageTest(unittest.TestCase):
    def test_tree(self):
        """no fault in the sources and documents"""
        found = [f"{path.relative_to(ROOT)}:{number}: {fault}"
                 for path in sources(ROOT) for number, fault in faults(path, path.read_text())]
        if found:
            self.fail("\n" + "\n".join(found))

    def test_names_of_functions(self):
        """no twins: what must not block has a parameter of type Blocking, or is called try_..."""
        found = [f"{path.relative_to(ROOT)}: {name}"
                 for path in sources(ROOT) if path.suffix == ".h" and path.relative_to(ROOT).parts[0] != "tests"
                 for name in re.findall(r"\b\w+_now(?= *\()", path.read_text())]
        self.assertEqual(found, [])

    def test_finds(self):
        """each kind of file: a word and a long line are found, code and quotes are not"""
        word = "some" + "body"
        samples = {
            "a.h": (f'int {word};\nauto s = "// {word}";\nint x;  // {word}\n/* a\n {word} */\n', [3, 5]),
            "a.cpp": (f"auto r = R\"({word} // {word})\";\n// `{word}`\n// What is it\n// {'x ' * 60}\n", [3, 4]),
            "a.py": (f'"""{word}"""\n\n\ndef f():\n    """A.\n\n    {word}\n    """\n    return "{word}"  # {word}\n',
                     [1, 7, 9]),
            "a.sh": (f"#!/bin/{word}\n# {word}\necho ${{#{word}}}  # {'x ' * 60}\n", [2, 3]),
            "a.md": (f"{word}\n```\n{word}\n```\n`{word}`\n| {'x ' * 60}|\n{'x ' * 60}\n", [1, 7]),
            "a.scd": (f"*{word}*\n\t{'x ' * 60}\n", [1]),
        }
        for name, (text, lines) in samples.items():
            with self.subTest(name):
                self.assertEqual([number for number, _ in faults(pathlib.Path(name), text)], lines)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()

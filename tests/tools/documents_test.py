"""The documents of the repository agree with its files, and the sources with the documents.

Needs no git and no network; folders that a build made are passed over.
"""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

SOURCE_FOLDERS = ("engine", "fuse", "tools", "tests", "man")
CODE_ENDINGS = (".h", ".cpp", ".py", ".sh")
SOURCE_ENDINGS = CODE_ENDINGS + (".build",)
# What may be cited beside Markdown: manual pages, as man/NAME.scd or as NAME(8).
MAN_PAGES = ("mpool(8)", "mpoolfs(8)", "mpoolfs(5)")

LINK = re.compile(r"\]\(([^)\s]+)\)")
BACKTICKS = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
CITATION = re.compile(
    r"((?:[\w.-]+/)*[\w.-]+\.(?:md|scd)(?!\w)|" + "|".join(map(re.escape, MAN_PAGES)) + r")"
    r"(?:`?,((?:\s(?:and\s)?\"[^\"]+\",?)+))?")
TITLE = re.compile(r'"([^"]+)"')
FILE_NAME = re.compile(r"[\w.{},*-]+(?:/[\w.{},*-]+)*")
FUNCTION = re.compile(r"((?:[A-Za-z_]\w*::)*)(~?[A-Za-z_]\w*)\(\)")
# Names of types and constants: `ContentWriter`, `Mlog::Impl`, `kMaxBytes`.
NAME = re.compile(r"(?:[A-Za-z_]\w*::)*(?:[A-Z][a-z0-9]+(?:[A-Z]\w*)+|k[A-Z]\w+)")
FILE_ENDINGS = SOURCE_ENDINGS + (".md", ".scd", ".txt")


def is_built(folder):
    """A folder that meson made, or hidden, or Python's."""
    return folder.name.startswith((".", "build", "__pycache__")) or (folder / "meson-info").exists()


def files_below(folder):
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            continue
        if entry.is_dir():
            if not is_built(entry):
                yield from files_below(entry)
        elif entry.is_file():
            yield entry


FILES = list(files_below(ROOT))
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]
SOURCES = [path for path in FILES
           if path.suffix in SOURCE_ENDINGS and path.relative_to(ROOT).parts[0] in SOURCE_FOLDERS + ("meson.build",)]
TEXT = {path: path.read_text(encoding="utf-8") for path in FILES
        if path.suffix in FILE_ENDINGS and path != pathlib.Path(__file__).resolve()}
CODE = "\n".join(TEXT[path] for path in SOURCES if path in TEXT and path.suffix in CODE_ENDINGS)
WORDS = set(re.findall(r"~?[A-Za-z_]\w*", CODE))
CALLED = set(re.findall(r"(~?[A-Za-z_]\w*)\s*(?:<[^<>;(){}]*>)?\(", CODE))


def shown(path):
    return str(path.relative_to(ROOT))


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def without_fences(text):
    """The same, lines counted, without blocks of code."""
    return FENCE.sub(lambda block: "\n" * block.group().count("\n"), text)


def headings(path):
    return {re.sub(r"[`*\\]", "", title).strip()
            for title in re.findall(r"^#+ (.+?) *#*$", without_fences(TEXT[path]), re.M)}


def joined_comments(path):
    """The text of a document, or of a source's comments, without its line breaks."""
    text = TEXT[path]
    if path.suffix == ".md":
        return re.sub(r"\n[ \t]*", " ", without_fences(text))
    if path.suffix == ".py":
        return re.sub(r"\n[ \t]*(?:#[ \t]*)?", " ", text)
    mark = "//" if path.suffix in (".h", ".cpp") else "#"
    return " ".join(re.findall(rf"{mark}[ \t]?(.*)", text))


def cited_file(name):
    """The document that a citation names; None when there is none of that name."""
    page = re.fullmatch(r"(\w+)\((\d)\)", name)
    path = ROOT / (f"man/{page[1]}.{page[2]}.scd" if page else name)
    return path if path in TEXT else None


def expand(name):
    """a.{h,cpp} -> a.h, a.cpp"""
    found = re.fullmatch(r"(.*)\{([^{}]+)\}(.*)", name)
    return [found[1] + part + found[3] for part in found[2].split(",")] if found else [name]


def exists_from(folder, name):
    """Below the folder of the document, one of those above it, or where the sources mirror it."""
    bases = [folder, *folder.parents]
    bases = [base for base in bases if base == ROOT or ROOT in base.parents]
    return any((base / name).exists() or ("*" in name and any(base.glob(name))) for base in bases)


def looks_like_file(token):
    if not FILE_NAME.fullmatch(token) or token.startswith(".") or "NAME" in token:
        return False
    first = token.split("/")[0]
    return token.endswith(FILE_ENDINGS) or ("/" in token and (ROOT / first).is_dir())


class Documents(unittest.TestCase):
    def check_all(self, findings):
        findings = list(findings)
        self.assertFalse(findings, "\n" + "\n".join(findings))

    def test_there_is_something_to_check(self):
        """the patterns find what they are for"""
        self.assertGreater(len(DOCUMENTS), 10)
        self.assertGreater(len(SOURCES), 300)
        self.assertGreater(sum(1 for path in SOURCES if path in TEXT for _ in self.citations(path)), 40)

    def test_links(self):
        """every relative link leads to a file of the repository, and to a heading of it"""
        def broken():
            for path in DOCUMENTS:
                for link in LINK.finditer(without_fences(TEXT[path])):
                    target, _, anchor = link[1].partition("#")
                    if re.match(r"[a-z]+:", target):
                        continue
                    file = (path.parent / target).resolve() if target else path
                    where = f"{shown(path)}:{line_of(TEXT[path], link.start())}: link to {link[1]}"
                    if not file.exists() or not (file == ROOT or ROOT in file.parents):
                        yield f"{where}: no such file"
                    elif anchor and anchor not in {self.anchor(title) for title in headings(file)}:
                        yield f"{where}: no such heading"
        self.check_all(broken())

    @staticmethod
    def anchor(title):
        return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")

    @staticmethod
    def citations(path):
        for cited in CITATION.finditer(joined_comments(path)):
            yield cited[1], TITLE.findall(cited[2] or "")

    def test_citations(self):
        """every document and section that a source or a document cites exists"""
        def wrong():
            for path in SOURCES + DOCUMENTS:
                if path not in TEXT:
                    continue
                for name, titles in self.citations(path):
                    if path.suffix == ".md" and "/" not in name and exists_from(path.parent, name) and not titles:
                        continue
                    document = cited_file(name)
                    if document is None:
                        if titles or path in SOURCES and "/" in name and name.endswith(".md"):
                            yield f"{shown(path)}: cites {name}, which is no document from the root of the repository"
                        continue
                    for title in titles:
                        if title.rstrip(",.") not in headings(document):
                            yield f"{shown(path)}: cites {name}, \"{title}\", which is no heading of it"
        self.check_all(wrong())

    def test_sources_cite_nothing_else(self):
        """sources name documents by their path from the root"""
        def wrong():
            for path in SOURCES:
                if path not in TEXT or path.suffix not in (".h", ".cpp"):
                    continue
                for name, _ in self.citations(path):
                    if name.endswith(".md") and cited_file(name) is None:
                        yield f"{shown(path)}: cites {name}: not a path from the root of the repository"
        self.check_all(wrong())

    def test_files_in_backticks(self):
        """every file named in a document exists"""
        def missing():
            for path in DOCUMENTS:
                text = without_fences(TEXT[path])
                for token in BACKTICKS.finditer(text):
                    if not looks_like_file(token[1]):
                        continue
                    for name in expand(token[1]):
                        if not exists_from(path.parent, name):
                            yield f"{shown(path)}:{line_of(text, token.start())}: `{token[1]}`: no such file"
        self.check_all(missing())

    def test_functions_and_types_in_backticks(self):
        """every function() and every type or constant named in a document is in the sources"""
        def missing():
            for path in DOCUMENTS:
                text = without_fences(TEXT[path])
                for token in BACKTICKS.finditer(text):
                    where = f"{shown(path)}:{line_of(text, token.start())}: `{token[1]}`"
                    function = FUNCTION.fullmatch(token[1])
                    if function and not self.is_function(function[1], function[2]):
                        yield f"{where}: no such function"
                    if NAME.fullmatch(token[1]) and not set(token[1].split("::")) <= WORDS:
                        yield f"{where}: no such name"
        self.check_all(missing())

    @staticmethod
    def is_function(scope, name):
        """With a scope: a file has both, as a definition or inside of the class."""
        if name not in CALLED:
            return False
        classes = [part for part in scope.split("::") if part]
        if not classes:
            return True
        if re.search(rf"\b{classes[-1]}::{name}\s*\(", CODE):
            return True
        in_class = re.compile(
            rf"(?:class|struct) (?:\w+::)*{classes[-1]}\b[^;{{]*\{{(?:(?!\n\}};).)*?\b{name}\s*\(", re.S)
        return any(in_class.search(TEXT[path]) for path in SOURCES if path.suffix in (".h", ".cpp") and path in TEXT)

    def test_every_folder_has_a_page(self):
        """every folder with sources has a README.md; tests of the engine share one"""
        folders = {path.parent for path in SOURCES if path.suffix in CODE_ENDINGS}
        self.check_all(f"{shown(folder)}: has no README.md" for folder in sorted(folders)
                       if not (folder / "README.md").exists() and folder.parent != ROOT / "tests/engine")

    def test_nothing_outside_is_named(self):
        """documents and sources lead nowhere outside of the repository"""
        outside = re.compile(r"\.\./shared|on-media-format(?:\.md)?\b|\b(?:spec|shared)/[\w-]+\.md")
        self.check_all(f"{shown(path)}:{line_of(text, found.start())}: {found.group()}"
                       for path, text in TEXT.items() for found in outside.finditer(text))


if __name__ == "__main__":
    unittest.main(verbosity=2)

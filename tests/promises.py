#!/usr/bin/env python3
"""Every promise of the README is the name of a test, word for word.

  tests/promises.py [--source FOLDER]

A promise is a sentence of "What is promised", or what semicolons divide it into. A test is a doctest case, or a function of the tests'
scripts by the first line that documents it; its name may hold more than one promise.
"""
import argparse, ast, glob, os, re

from tally import check, verdict


def words(text):
    return " ".join(text.replace("`", "").lower().split())


def promises(readme):
    section = readme.split("\n## What is promised\n")[1].split("\n## ")[0]
    return [words(p) for bullet in re.split(r"^- ", section, flags=re.M)[1:] for p in re.split(r";|\.(?=\s)", bullet) if p.strip()]


def test_names(folder):
    names = []
    for file in glob.glob(folder + "/**/*.cpp", recursive=True):
        with open(file, encoding="utf-8") as f:
            for case in re.findall(r'TEST_CASE(?:_TEMPLATE)?\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)[,)]', f.read()):
                names.append(words(ast.literal_eval("(%s)" % case)))
    for file in glob.glob(folder + "/**/*.py", recursive=True):
        with open(file, encoding="utf-8") as f:
            for node in ast.walk(ast.parse(f.read())):
                if isinstance(node, ast.FunctionDef):
                    names.append(words((ast.get_docstring(node) or "").split("\n\n")[0]))
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    source = parser.parse_args().source
    with open(source + "/README.md", encoding="utf-8") as f:
        promised = promises(f.read())
    names = test_names(source + "/tests")
    check(len(promised) > 15, "the README promises %d things" % len(promised))
    for promise in promised:
        check(any(promise in name for name in names), "no test is named: " + promise)
    raise SystemExit(verdict())

#!/usr/bin/env python3
"""Every promise of the README is the name of a test, word for word.

  tests/promises.py --build FOLDER

A promise is a sentence of "What is promised", or what semicolons divide it into. A test is a case of a doctest program that is built,
or a function of the tests' scripts by the first line that documents it; its name may hold more than one promise.
"""
import argparse, ast, glob, json, os, re, subprocess

from tally import check, verdict


def words(text):
    return " ".join(text.replace("`", "").lower().split())


def promises(readme):
    section = readme.split("\n## What is promised\n")[1].split("\n## ")[0]
    return [words(p) for bullet in re.split(r"^- ", section, flags=re.M)[1:] for p in re.split(r";|\.(?=\s)", bullet) if p.strip()]


def test_names(build, folder):
    names = []
    with open(build + "/meson-info/intro-tests.json") as f:
        programs = {t["cmd"][0] for t in json.load(f)}
    for program in programs:
        if os.path.basename(program).startswith("test_"):
            names += map(words, subprocess.check_output([program, "--list-test-cases"], universal_newlines=True).splitlines())
    for file in glob.glob(folder + "/**/*.py", recursive=True):
        with open(file, encoding="utf-8") as f:
            for node in ast.walk(ast.parse(f.read())):
                if isinstance(node, ast.FunctionDef):
                    names.append(words((ast.get_docstring(node) or "").split("\n\n")[0]))
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    build, source = parser.parse_args().build, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(source + "/README.md", encoding="utf-8") as f:
        promised = promises(f.read())
    names = test_names(build, source + "/tests")
    check(len(promised) > 15, "the README promises %d things" % len(promised))
    for promise in promised:
        check(any(promise in name for name in names), "no test is named: " + promise)
    raise SystemExit(verdict())

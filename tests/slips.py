#!/usr/bin/env python3
"""One-line slips of a new user: what the compiler says of each stays on one screen and says what to write.

  tests/slips.py --cxx 'g++' [--standard 20] [--source FOLDER] [--show WORDS]

Compiles each line of slips.txt, which says what is expected of it. --show prints the messages of the lines that hold WORDS.
"""
import argparse, concurrent.futures, os, re, shlex, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MOST_LINES = 12  # behind the line with `error:`
MOST_LINES_OF_CLANG = 24  # which shows every overload beside a deleted one
HEADER = "#include <iostream>\n#include <sstream>\n#include <string>\n#include <vector>\n\n#include <argtape/argtape.hpp>\n"
BEFORE = """#include "slips.hpp"
using namespace argtape;
void slip(Tape& tape, Var x, Var w, Var m, Var z0, Var loss, Tensor t, Rng& rng, Cost cost, Function f, Mlp& model, Adam& adam,
          std::vector<Var> p, std::vector<Tensor> parameters, std::vector<std::size_t> labels) {
"""


def slips():
    """The lines of slips.txt as (code, words)."""
    with open(os.path.join(HERE, "slips.txt"), encoding="utf-8") as f:
        return [tuple(part.strip() for part in line.split("=>")) for line in f if line.strip() and not line.startswith("#")]


def compiled(cxx, folder, number, code):
    """The status, and what the compiler says."""
    name = os.path.join(folder, "slip%d.cpp" % number)
    with open(name, "w", encoding="utf-8") as f:
        f.write(BEFORE + code + "\n}\n")
    done = subprocess.run(cxx + ["-fsyntax-only", name], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, env=dict(os.environ, LC_ALL="C", CCACHE_DISABLE="1"))
    return done.returncode, done.stdout


def fault(status, code, said, words, most_lines):
    """What is wrong with a message, or nothing. The code itself, which it shows, does not count."""
    if words == "compiles":
        return "" if status == 0 else "does not compile"
    if status == 0:
        return "compiles"
    lines = said.rstrip().split("\n")
    first = next(i for i, line in enumerate(lines) if "error:" in line)
    if len(lines) - first - 1 > most_lines:
        return "%d lines behind the error" % (len(lines) - first - 1)
    return "" if any(w in said.replace(code, "") for w in words.split(" | ")) else "does not say %r" % words


def main():
    """Errors, the compiler's too, say what you gave and what is needed, at the call: the compiler's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cxx", default="g++")
    parser.add_argument("--standard", default="17")
    parser.add_argument("--source", default=os.path.dirname(HERE))
    parser.add_argument("--show")
    given = parser.parse_args()
    flags = ["-std=c++" + given.standard, "-fno-diagnostics-color", "-I" + given.source, "-I" + os.path.join(given.source, "models", "include")]
    flags += subprocess.check_output(["pkg-config", "--cflags", "xtensor"], universal_newlines=True).split()
    cxx = shlex.split(given.cxx) + flags
    with tempfile.TemporaryDirectory() as folder:
        header = os.path.join(folder, "slips.hpp")
        with open(header, "w", encoding="utf-8") as f:
            f.write(HEADER)
        clang = "clang" in subprocess.check_output(cxx + ["--version"], universal_newlines=True)
        precompiled = header + (".pch" if clang else ".gch")
        # ccache might shorten the paths that the messages' lines are read from.
        subprocess.check_call(cxx + ["-x", "c++-header", header, "-o", precompiled], env=dict(os.environ, CCACHE_DISABLE="1"))
        if clang:
            cxx += ["-include-pch", precompiled]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            all_slips = slips()
            results = list(pool.map(lambda s: compiled(cxx, folder, s[0], s[1][0]), enumerate(all_slips)))
    failed = 0
    for (code, words), (status, said) in zip(all_slips, results):
        wrong = fault(status, code, said, words, MOST_LINES_OF_CLANG if clang else MOST_LINES)
        if given.show and given.show in code:
            print("%s\n%s" % (code, said))
        if wrong:
            failed += 1
            print("%s\n    => %s: %s" % (code, words, wrong))
    print("%d slips, %d wrong" % (len(all_slips), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

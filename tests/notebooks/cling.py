#!/usr/bin/env python3
"""Runs pieces of C++ in genuine cling, from PyPI's cppyy, as the xeus-cling kernel does.

  cling.py FOLDER    the pieces are FOLDER/cell_0.hpp, cell_1.hpp, ...

After each it prints a line "@@ran NUMBER CPU", the seconds of CPU so far; after an exception, which ends a piece and no more,
"@@threw NUMBER WHAT" before it. It ends with status 1 at the first that does not compile. Version 2.4.2 of cppyy is cling on
clang 9, the one that xeus-cling has. Its wheel's precompiled standard headers are C++20, so others are made beside them once.
"""
import ctypes
import itertools
import json
import os
import re
import sys
import tempfile
import time

FLAGS = "-O0 -std=c++17"


def blocks(code):
    """Consecutive #include lines are blocks of their own, as xeus-cling has it."""
    for _, lines in itertools.groupby(code.split("\n"), lambda l: l.lstrip().startswith("#include")):
        block = "\n".join(lines)
        if block.strip():
            yield block


def process(cppyy, block):
    """What cling says on stderr, and whether it failed."""
    error = ctypes.c_int(0)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            cppyy.gbl.gInterpreter.ProcessLine(block, ctypes.pointer(error))
        finally:
            cppyy.gbl.std.cout.flush()
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        return said.read(), error.value


def main():
    folder = sys.argv[1]
    os.environ.update(STDCXX="17", EXTRA_CLING_ARGS=FLAGS, CLING_STANDARD_PCH=os.path.join(sys.prefix, "std17.pch"))
    import cppyy
    for path in filter(None, os.environ.get("ARGTAPE_CLING_INCLUDE", "").split(":")):
        cppyy.add_include_path(path)
    print("@@ran -1 %f" % time.process_time(), flush=True)
    for number in itertools.count():
        path = os.path.join(folder, "cell_%d.hpp" % number)
        if not os.path.exists(path):
            return 0
        with open(path, encoding="utf-8") as file:
            code = file.read()
        for block in blocks(code):
            said, error = process(cppyy, block)
            threw = re.fullmatch(r"compilation failed: (.*)\n", said, re.S)  # its words for an exception, too
            if threw:
                print("\n@@threw %d %s" % (number, json.dumps(threw.group(1))), flush=True)
                break
            sys.stderr.write(said)
            if error:
                print("cell_%d.hpp:1:1: error: the cell failed" % number, file=sys.stderr)
                return 1
        print("\n@@ran %d %f" % (number, time.process_time()), flush=True)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # cling's own clean-up is not what is tested

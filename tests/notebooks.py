#!/usr/bin/env python3
"""Runs the notebooks in examples/notebooks, their solutions, and tests/notebooks/displays.ipynb, and checks what they print and
show.

The cells run in clang-repl, the interpreter inside the xeus-cpp kernel, or in genuine cling, that inside xeus-cling, so no
Jupyter is needed. What they give must be what is stored in the notebooks (--write stores it). A cell with the metadata
{"argtape": {"as": "02_argmax_gradients --quick"}} must have printed the numbers of that program, which is looked at without --in
or with --figures: each line with a number in it, and each row of a table, is the beginning of a line of the program's, or a row of
one of its tables without some of the columns. A cell with Jupyter's own tag "raises-exception" must throw.
"""
import argparse
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading

from pypi import python_with
from tally import check, verdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "examples", "notebooks")
STAND_INS = os.path.join(ROOT, "tests", "notebooks")
# cppyy 2.4.2 is cling on clang 9, as xeus-cling is.
KERNELS = {"clang-repl": None, "cling-9": "cppyy==2.4.2", "cling-13": "cppyy==3.1.2", "cling-16": "cppyy==3.5.0"}
SKIPPED = 77  # meson's status for a test that could not run
TIME_LIMIT = 300  # seconds for a notebook
CPU_FIRST, CPU_OTHER = 2.0, 1.0  # seconds for a cell, in cling on clang 9


# ---- The form of a notebook -------------------------------------------------------------------

FUNCTION = re.compile(r"(?!(?:for|if|while|switch|try|else|do|return)\b)"
                      r"[A-Za-z_][\w:<>,&* ]*[\s&*](\w+)\([^;]*\)\s*(?:->[^;{]*)?\{")
CLASS = re.compile(r"(?:struct|class|enum)\s+(\w+)")
VARIABLE = re.compile(r"(?!(?:using|return|throw|delete|else|namespace|template|extern)\b)"
                      r"((?:const\s+|static\s+|constexpr\s+)*)"
                      r"[A-Za-z_][\w:]*(?:<.*>)?[\s&*]+(\w+)\s*(?:[=;({\[]|,\s*\w+\s*[=;,({])")
FORBIDDEN = (  # anywhere in a cell
    (r"(?<![\w])f?printf\s*\(", "prints through std::cout"),
    (r"^\s*(?:%|!|\?)", "has no magics"),
    (r"^\s*#\s*(?:if|ifdef|ifndef|else|elif)\b", "has no preprocessor conditionals; they belong in the header"),
    (r"^auto\s+\w+\(.*\)\s*->", "cling rejects auto f() -> T"),
    (r"^[^/]*\)\s*(?:const\s*)?noexcept\b", "cling rejects noexcept"),
    (r"^(?:struct|class)\s+\w+\s+final\b", "cling rejects a final class"),
)


def without_strings(code):
    """The code with the contents of its literals and comments taken out."""
    code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code)
    code = re.sub(r"'(?:\\.|[^'\\\n])*'", "' '", code)
    return re.sub(r"//[^\n]*", "", code)


def check_json(name, book):
    spec = book["metadata"].get("kernelspec", {})
    check((book["nbformat"], book["nbformat_minor"]) >= (4, 5) and spec.get("name") == "xcpp17"
          and spec.get("language") == "C++17" and spec.get("display_name"),
          name + ": nbformat 4.5, the kernel is xcpp17, its language C++17")
    names = [cell.get("id", "") for cell in book["cells"]]
    check(all(re.match(r"[A-Za-z0-9_-]{1,64}$", n) for n in names) and len(set(names)) == len(names),
          name + ": every cell has a valid id of its own")
    for cell in book["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            fields |= {"execution_count", "outputs"}
        lines = cell["source"]
        check(set(cell) == fields and isinstance(lines, list) and lines
              and all(l.endswith("\n") for l in lines[:-1]) and not lines[-1].endswith("\n"),
              "%s, cell %s: the fields and the lines of a cell are well formed" % (name, cell["id"]))


def check_rules(name, cells):
    """The rules for cells that run under cling and under clang-repl, as far as text shows them."""
    check(re.fullmatch(r'(#define ARGTAPE_DOUBLE\n)?#include "(\.\./)?setup\.hpp"', cells[0].source),
          name + ": the first cell includes setup.hpp and does nothing else")
    defined = {}
    for cell in cells:
        where = "%s, cell %s" % (name, cell.ident)
        code = without_strings(cell.source)
        lines = [l for l in code.split("\n") if l.strip()]
        for pattern, words in FORBIDDEN:
            check(not re.search(pattern, code, re.M), where + ": " + words)
        check(len(re.findall(r"\busing\s+namespace\b", code)) <= 1, where + ": has one `using namespace` at most")
        check(not lines or re.search(r"[;}]\s*$", lines[-1]) or lines[-1].startswith("#include"),
              where + ": does not end with a bare expression, which xeus-cpp does not show")
        top = [l for l in lines if re.match(r"[A-Za-z_]", l)]
        if not re.match(r"(?:namespace|template|extern)\b", top[0] if top else ""):
            starts = [i for i, l in enumerate(lines) if FUNCTION.match(l) or CLASS.match(l)]
            check(starts in ([], [0]), where + ": has one function or class at most, and it is first")
            ends = [i for i, l in enumerate(lines) if l.startswith("}") or i == 0 and l.rstrip().endswith("}")]
            first = ends and (FUNCTION.match("\n".join(lines)) or CLASS.match("\n".join(lines)))
            check(not re.search(r"\[[&=]", "\n".join(lines[ends[0] + 1 if first else 0:])),
                  where + ": a lambda outside a function has no [&] or [=], of which clang-repl dies")
        for line in top:
            function, variable = FUNCTION.match(line), VARIABLE.match(line)
            found = function or CLASS.match(line)
            names = [found.group(1)] if found else []
            if variable and not function:
                names = [variable.group(2)] + re.findall(r",\s*(\w+)\s*(?:=|;)", line)
                # clang-repl runs such an initialiser after all others of its cell.
                check(not variable.group(1), where + ": %s is no const or static of its cell" % names[0])
            for n in names:
                check(n not in defined, "%s: %s is not defined again (cell %s did)" % (where, n, defined.get(n)))
                defined[n] = cell.ident


# ---- Running the cells --------------------------------------------------------------------------

class Cell:
    """A cell of code, and once it ran its outputs, as a notebook stores them, and its seconds of CPU."""

    def __init__(self, ident, source, metadata=None):
        self.ident, self.source = ident, source
        self.throws = "raises-exception" in (metadata or {}).get("tags", [])
        self.outputs, self.seconds = None, None


def lines_of(text):
    return text.splitlines(keepends=True)


class Reader:
    """Reads what an interpreter prints into the outputs of cells."""

    def __init__(self, cells):
        self.cells, self.before = cells, 0.0
        self.clear()

    def clear(self):
        self.text, self.outputs, self.ids = "", [], {}

    def end_text(self):
        text = self.text[:-1] if self.text.endswith("\n") else self.text  # the one before "@@"
        self.text = ""
        if text.strip():
            self.outputs.append({"name": "stdout", "output_type": "stream", "text": lines_of(text)})

    def show(self, ident, bundle):
        data = {mime: lines_of(text) for mime, text in sorted(bundle.items())}
        if ident and ident in self.ids:
            self.ids[ident]["data"] = data
            return
        self.outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
        self.ids[ident] = self.outputs[-1]

    def line(self, line):
        if not line.startswith("@@"):
            self.text += line
            return
        self.end_text()
        kind, what, rest = line.rstrip("\n").split(" ", 2)
        if kind == "@@shown":
            self.show(what, json.loads(rest))
        elif kind == "@@threw":
            words = json.loads(rest)
            self.outputs.append({"ename": "Standard Exception", "evalue": words, "output_type": "error",
                                 "traceback": ["Standard Exception: " + words]})
        elif kind == "@@ran":
            if int(what) >= 0:
                cell = self.cells[int(what)]
                cell.outputs, cell.seconds = self.outputs, float(rest) - self.before
            self.before = float(rest)
            self.clear()


def include_folders():
    """Of packages outside the default places."""
    found = []
    for package in ("xtensor", "nlohmann_json"):
        if shutil.which("pkg-config"):
            said = subprocess.run(["pkg-config", "--cflags-only-I", package], text=True, capture_output=True)
            found += [flag[2:] for flag in shlex.split(said.stdout)]
    return found


def command_of(kernel):
    """What runs cells as this kernel does; None, with words, where it cannot be had."""
    package = KERNELS[kernel]
    if package:
        python = python_with(package)
        return [python, os.path.join(STAND_INS, "cling.py")] if python else print("there is no %s from PyPI" % package)
    found = next(filter(None, map(shutil.which, ["clang-repl-19", "clang-repl"])), None)
    return [found] if found else print("there is no clang-repl-19 and no clang-repl")


CAUGHT = """try {
%s
} catch (const std::exception& thrown) {
  std::cout << "\\n@@threw 0 " << nlohmann::json(thrown.what()).dump() << std::endl;
}"""


def run_cells(command, cling, cells, build, folder):
    """What the interpreter wrote on stderr, and its status."""
    places = [folder, STAND_INS] + include_folders()
    environment = dict(os.environ, ARGTAPE_CLING_INCLUDE=":".join(places))
    if build:
        environment["ARGTAPE_BUILD"] = os.path.abspath(build)
    with tempfile.TemporaryDirectory() as room:
        ran = 'std::cout << "\\n@@ran %d " << std::clock() * 1.0 / CLOCKS_PER_SEC << std::endl;'
        script = ["#include <ctime>", "#include <iostream>", ran % -1]
        for number, cell in enumerate(cells):
            path = os.path.join(room, "cell_%d.hpp" % number)
            # clang-repl ends with an exception that leaves a cell; the kernel around it does not. An open brace that is piped
            # line by line would loop for ever.
            source = cell.source if cling else (CAUGHT % cell.source if cell.throws else cell.source) + "\n;\n"
            with open(path, "w", encoding="utf-8") as out:
                out.write(source)
            script += ['#include "%s"' % path, ran % number]
        with open(os.path.join(room, "script"), "w", encoding="utf-8") as out:
            out.write("\n".join(script + ["%quit"]) + "\n")
        flags = ["-std=c++17"] + ["-I" + place for place in places]
        reader = Reader(cells)
        with open(os.path.join(room, "script"), encoding="utf-8") as stdin, \
                open(os.path.join(room, "errors"), "w+", encoding="utf-8") as errors:
            process = subprocess.Popen(command + ([room] if cling else ["-Xcc=" + flag for flag in flags]), stdin=stdin,
                                       stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=room, encoding="utf-8")
            alarm = threading.Timer(TIME_LIMIT, process.kill)
            alarm.start()
            for line in process.stdout:
                reader.line(line)
            status = process.wait()
            alarm.cancel()
            errors.seek(0)
            return errors.read(), status


def check_run(name, cells, said, status):
    """True if every cell ran. clang-repl ends with status 0 even after errors, so look for them."""
    broken = {int(n) for n in re.findall(r"cell_(\d+)\.hpp:\d+:\d+: (?:fatal )?error:", said)}
    whole = True
    for number, cell in enumerate(cells):
        threw = any(output["output_type"] == "error" for output in cell.outputs or [])
        ran = cell.outputs is not None and number not in broken
        whole = check(ran, "%s, cell %s: runs" % (name, cell.ident)) and whole
        if ran:
            whole = check(threw == cell.throws, "%s, cell %s: %s" % (
                name, cell.ident, "throws" if cell.throws else "throws nothing (or has the tag raises-exception)")) and whole
    whole = check("error:" not in said and status == 0,
                  "%s: the interpreter reports no error and ends with status 0, not %s" % (name, status)) and whole
    if not whole:
        print("\n".join(said.split("\n")[:40]))  # the first error makes the others
    return whole


# ---- What the cells print -----------------------------------------------------------------------

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def near(a, b):
    """Two printed numbers, computed in float: to 0.2 %, to a unit of the last place that is printed, or to rounding."""
    digits, _, power = a.lower().partition("e")
    last_place = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    x, y = float(a), float(b)
    return abs(x - y) <= max(2e-3 * abs(x), 1.01 * last_place if "." in digits else 0, 1e-6)


def same_text(a, b):
    """Whether words are the same, and numbers nearly."""
    a, b = (" ".join(re.sub(r"-{2,}", "--", text).split()) for text in (a, b))
    return NUMBER.sub("#", a) == NUMBER.sub("#", b) and all(map(near, NUMBER.findall(a), NUMBER.findall(b)))


def same_output(stored, found):
    """As they are compared: pictures by the words in them, since programs that draw differ from version to version."""
    if stored["output_type"] != found["output_type"]:
        return False
    if found["output_type"] == "error":
        return same_text(stored["evalue"], found["evalue"])
    if found["output_type"] == "stream":
        return stored["name"] == found["name"] and same_text("".join(stored["text"]), "".join(found["text"]))
    drawn = {mime for data in (stored["data"], found["data"]) for mime in data if mime.startswith("image/")}
    if drawn and not (shutil.which("dot") and shutil.which("gnuplot")):
        return True  # what is shown in their place is something else
    if set(stored["data"]) != set(found["data"]):
        return False
    for mime, text in found["data"].items():
        a, b = "".join(stored["data"][mime]), "".join(text)
        if mime in drawn:
            a, b = (" ".join(re.findall(r"<text[^>]*>(.*?)</text>", picture, re.S)) for picture in (a, b))
        if not same_text(a, b):
            return False
    return True


def figures_in(text):
    """Lines with a number in them, as words and numbers alone."""
    lines = [" ".join(re.sub(r"[{},|:]", " ", line).split()) for line in text.split("\n")]
    return [line for line in lines if NUMBER.search(line)]


@functools.lru_cache(maxsize=None)
def figures_of(program, build):
    name, *flags = shlex.split(program)
    if not check(os.path.exists(os.path.join(build, name)), "%s is built: ninja -C %s %s" % (name, build, name)):
        return []
    done = subprocess.run([os.path.join(build, name)] + flags, capture_output=True, encoding="utf-8")
    check(done.returncode == 0, "%s ends with status 0" % program)
    return done.stdout.split("\n")


def row_of(line):
    """The cells of a table's row, the first of which is its name; numbers with one exponent for both are given each."""
    line = re.sub(r"\((\S+) ± (\S+)\)(e\S+)", r"\1\3 ± \2\3", line)
    name, *cells = re.split(r" {2,}", line.strip())
    return name.removesuffix(" *"), [NUMBER.findall(cell) for cell in cells if NUMBER.match(cell)]


def within(line, printed):
    """Whether a line that the program printed is this row of a table, perhaps with more columns, or without error bars."""
    (name, found), (its_name, cells) = row_of(line), row_of(printed)
    rest = iter(cells)
    return bool(found) and name == its_name and all(any(all(map(near, f, c)) for c in rest) for f in found)


def text_of(output):
    return "".join(output.get("text") or output.get("data", {}).get("text/plain") or [])


def check_outputs(name, book, cells, arguments):
    stored = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    draws = shutil.which("dot") and shutil.which("gnuplot")
    for count, (cell, kept) in enumerate(zip(cells, stored)):
        where = "%s, cell %s" % (name, cell.ident)
        for output in cell.outputs:
            data = output.get("data")
            check(not data or "text/plain" in data and len(data) > 1, where + ": what is shown is there as text and as more")
        same = len(cell.outputs) == len(kept["outputs"]) and all(map(same_output, kept["outputs"], cell.outputs))
        if arguments.write:
            kept["execution_count"] = count + 1
            # A picture with the same words in it may have been drawn of other numbers.
            drawn = draws and any(mime.startswith("image/") for o in cell.outputs for mime in o.get("data", {}))
            kept["outputs"] = cell.outputs if drawn or not same else kept["outputs"]
        else:
            check(same and kept["execution_count"] == count + 1,
                  where + ": what it gives is what is stored (tests/notebooks.py --write stores it)")
            if not same:
                print("stored:\n%s\nfound:\n%s" % tuple("\n".join(map(text_of, o)) for o in (kept["outputs"], cell.outputs)))


def check_figures(name, book, build):
    for cell in book["cells"]:
        program = cell["metadata"].get("argtape", {}).get("as")
        if not program:
            continue
        where = "%s, cell %s" % (name, cell["id"])
        printed = figures_of(program, build)
        starts = [line + " " for line in figures_in("\n".join(printed))]
        text = re.sub(r"[^\n]*\n-+(?:  -+)*\n", "", "\n".join(map(text_of, cell["outputs"])))  # without headers of tables
        found = [line for line in text.split("\n") if figures_in(line)]
        check(found, where + ": prints numbers, as it is a program's")
        for line in found:
            check(any(s.startswith(figures_in(line)[0] + " ") for s in starts) or any(within(line, p) for p in printed),
                  "%s: %s prints, too: %s" % (where, program, line))


def report_seconds(name, kernel, cells, strict):
    total = sum(cell.seconds for cell in cells)
    slow = [c for i, c in enumerate(cells) if c.seconds > (CPU_FIRST if i == 0 else CPU_OTHER)] if kernel == "cling-9" else []
    print("%s in %s: %d cells in %.1f s of CPU, the first %.1f s, others %.1f s at most%s" % (
        name, kernel, len(cells), total, cells[0].seconds, max(c.seconds for c in cells[1:]),
        "".join("\n  * %s takes %.1f s" % (c.ident, c.seconds) for c in slow) + ("\n  * over a minute" if total > 60 else "")))
    if strict:
        check(not slow, "%s: no cell takes more than %g s of CPU, the first %g s" % (name, CPU_OTHER, CPU_FIRST))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="*", help="those whose names begin so (default: all, and their solutions)")
    parser.add_argument("--in", dest="kernels", action="append", choices=KERNELS, default=[], help="where (default: clang-repl)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the folder of the libraries and programs")
    parser.add_argument("--headers", nargs="*", default=[], help="public headers to read one after the other, in cling")
    parser.add_argument("--write", action="store_true", help="store the outputs in the notebooks")
    parser.add_argument("--figures", action="store_true", help="hold what is stored against the programs; without --in, no cells are run")
    parser.add_argument("--seconds", action="store_true", help="too much CPU in a cell, in cling on clang 9, is a failure")
    arguments = parser.parse_args()

    # Trained figures depend on how products are rounded, and OpenBLAS has a way for each processor: this one, for any with AVX2.
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    files = []
    for folder in (FOLDER, os.path.join(FOLDER, "solutions"), STAND_INS):
        if os.path.isdir(folder):
            files += [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith(".ipynb")]
    if arguments.notebook:
        files = [f for f in files if os.path.basename(f).startswith(tuple(arguments.notebook))]
    check(files, "there is a notebook of that name")

    skipped = False
    for kernel in arguments.kernels or ([] if arguments.figures else ["clang-repl"]):
        command, cling = command_of(kernel), kernel != "clang-repl"
        skipped = skipped or not command
        if command and cling and arguments.headers:
            cells = [Cell(h, '#include "%s"' % os.path.join(ROOT, h)) for h in arguments.headers]
            check_run("headers", cells, *run_cells(command, cling, cells, None, FOLDER))
        for file in files:
            name = os.path.relpath(file, FOLDER)[:-len(".ipynb")]
            with open(file, encoding="utf-8") as text:
                book = json.load(text)
            cells = [Cell(cell["id"], "".join(cell["source"]), cell["metadata"])
                     for cell in book["cells"] if cell["cell_type"] == "code"]
            check_json(name, book)
            check_rules(name, cells)
            if not command or not check_run(name, cells, *run_cells(
                    command, cling, cells, arguments.build, FOLDER if file.startswith(STAND_INS) else os.path.dirname(file))):
                continue
            report_seconds(name, kernel, cells, arguments.seconds)
            check_outputs(name, book, cells, arguments)
            if arguments.write:
                with open(file, "w", encoding="utf-8") as out:
                    json.dump(book, out, indent=1, ensure_ascii=False)
                    out.write("\n")

    for file in files if arguments.figures or not arguments.kernels else []:
        with open(file, encoding="utf-8") as text:
            check_figures(os.path.relpath(file, FOLDER)[:-len(".ipynb")], json.load(text), arguments.build)

    if skipped:
        print("the cells were not run")
    return verdict() or (SKIPPED if skipped else 0)


if __name__ == "__main__":
    sys.exit(main())

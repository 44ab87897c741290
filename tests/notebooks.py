#!/usr/bin/env python3
"""Checks the notebooks in examples/notebooks: their form, and what their cells print.

The cells run in clang-repl, the interpreter inside the xeus-cpp kernel, or with --cling in that of
xeus-cling, so no Jupyter is needed.
"""
import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from pypi import python_with

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "examples", "notebooks")
REPLS = ["clang-repl-19", "clang-repl"]
SKIPPED = 77  # meson's status for a test that could not run
TIME_LIMIT = 300  # seconds for a notebook; it takes three

passed = failed = 0


def check(ok, what):
    """Counts one check; `what` says what should hold, and is printed if it does not."""
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED " + what)
    return ok


# ---- The form of a notebook -------------------------------------------------------------------

IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}$")
FUNCTION = re.compile(r"(?!(?:for|if|while|switch|try|else|do|return)\b)"
                      r"[A-Za-z_][\w:<>,&* ]*[\s&*](\w+)\([^;]*\)\s*(?:->[^;{]*)?\{")
CLASS = re.compile(r"(?:struct|class|enum)\s+(\w+)")
VARIABLE = re.compile(r"(?!(?:using|return|throw|delete|else|namespace|template|extern)\b)"
                      r"((?:const\s+|static\s+|constexpr\s+)*)"
                      r"[A-Za-z_][\w:]*(?:<.*>)?[\s&*]+(\w+)\s*(?:[=;({\[]|,\s*\w+\s*[=;,({])")
OWN_UNIT = re.compile(r"(?:namespace|template|extern)\b")
CLING_REJECTS = (
    (r"^auto\s+\w+\(.*\)\s*->", "auto f() -> T"),
    (r"^[^/]*\)\s*(?:const\s*)?noexcept\b", "noexcept"),
    (r"^(?:struct|class)\s+\w+\s+final\b", "a final class"),
)


def without_strings(code):
    """The code with the contents of its literals and comments taken out."""
    code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', code)
    code = re.sub(r"'(?:\\.|[^'\\\n])*'", "' '", code)
    return re.sub(r"//[^\n]*", "", code)


def check_json(name, book):
    check(book.get("nbformat") == 4 and book.get("nbformat_minor", 0) >= 5,
          name + ": nbformat 4.5 or later")
    spec = book.get("metadata", {}).get("kernelspec", {})
    check(spec.get("name") == "xcpp17" and spec.get("language") == "C++17"
          and spec.get("display_name"), name + ": the kernel is xcpp17, its language C++17")
    names = [cell.get("id", "") for cell in book["cells"]]
    check(all(IDENTIFIER.match(n) for n in names), name + ": every cell has a valid id")
    check(len(set(names)) == len(names), name + ": cell ids are unique")
    for number, cell in enumerate(book["cells"]):
        where = "%s, cell %s" % (name, cell.get("id", number))
        kind = cell.get("cell_type")
        fields = {"cell_type", "id", "metadata", "source"}
        if kind == "code":
            fields |= {"execution_count", "outputs"}
            check(cell.get("outputs") == [] and cell.get("execution_count", 0) is None,
                  where + ": no stored output and no execution count")
        lines = cell.get("source")
        check(kind in ("code", "markdown") and set(cell) == fields
              and isinstance(cell.get("metadata"), dict)
              and isinstance(lines, list) and lines and all(isinstance(l, str) for l in lines)
              and all(l.endswith("\n") for l in lines[:-1]) and not lines[-1].endswith("\n"),
              where + ": the fields and the lines of a cell are well formed")


def check_rules(name, cells):
    """The rules for cells that run under cling and under clang-repl, as far as text shows them."""
    check(cells[0][1].strip() == '#include "setup.hpp"',
          name + ": the first cell includes setup.hpp and does nothing else")
    defined = {}
    for ident, source in cells:
        where = "%s, cell %s" % (name, ident)
        code = without_strings(source)
        lines = [l for l in code.split("\n") if l.strip()]
        check(not re.search(r"(?<![\w])f?printf\s*\(", code), where + ": prints through std::cout")
        check(not re.search(r"^\s*(?:%|!|\?)", code, re.M), where + ": has no magics")
        check(not re.search(r"^\s*#\s*(?:if|ifdef|ifndef|else|elif)\b", code, re.M),
              where + ": has no preprocessor conditionals; they belong in the header")
        check(len(re.findall(r"\busing\s+namespace\b", code)) <= 1,
              where + ": has one `using namespace` at most")
        check(not lines or re.search(r"[;}]\s*$", lines[-1]) or lines[-1].startswith("#include"),
              where + ": does not end with a bare expression, which xeus-cpp does not show")
        for pattern, words in CLING_REJECTS:
            check(not re.search(pattern, code, re.M), where + ": cling rejects " + words)

        top = [l for l in lines if re.match(r"[A-Za-z_]", l)]
        if not OWN_UNIT.match(top[0] if top else ""):
            starts = [i for i, l in enumerate(lines) if FUNCTION.match(l) or CLASS.match(l)]
            check(starts in ([], [0]),
                  where + ": has one function or class at most, and it is first")
        for line in top:
            function, variable = FUNCTION.match(line), VARIABLE.match(line)
            found = function or CLASS.match(line)
            names = [found.group(1)] if found else []
            if variable and not function:
                names = [variable.group(2)]
                names += re.findall(r",\s*(\w+)\s*(?:=|;)", line)
                # clang-repl runs such an initialiser after all others of its cell.
                check(not re.search(r"\b(?:const|static|constexpr)\b", variable.group(1)),
                      where + ": %s is no const or static of its cell" % names[0])
            for n in names:
                check(n not in defined, "%s: %s is not defined again (cell %s did)"
                      % (where, n, defined.get(n)))
                defined[n] = ident


# ---- Running the cells --------------------------------------------------------------------------

class Run:
    """What the cells of one notebook printed, and what they showed, by their ids."""

    def __init__(self):
        self.text, self.shown, self.seconds = {}, {}, {}
        self.errors, self.status = "", None

    def lines(self, ident):
        return [" ".join(l.split()) for l in self.text[ident].split("\n") if l.strip()]

    def all_lines(self):
        return [l for ident in self.text for l in self.lines(ident)]

    def after(self, ident, label):
        """The numbers on a cell's line that begins with the label."""
        for line in self.lines(ident):
            if line.startswith(label + " "):
                return numbers(line[len(label):])
        raise LookupError("cell %s printed no line '%s'" % (ident, label))

    def table(self, ident):
        """The rows of the table that a cell showed, its header first."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.shown[ident][0]["text/html"])
        return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]

    def row(self, ident, name):
        for row in self.table(ident):
            if row[0] == name:
                return row
        raise LookupError("the table of cell %s has no row '%s'" % (ident, name))


def include_flags():
    """-I flags for packages outside the default places."""
    flags = []
    for package in ("xtensor", "nlohmann_json"):
        try:
            said = subprocess.run(["pkg-config", "--cflags-only-I", package], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            break
        if said.returncode == 0:
            flags += shlex.split(said.stdout)
    return flags


CLING = "cppyy==2.4.2"  # on clang 9, as xeus-cling is


def cling_python():
    """The command of a Python that has cling, None if there can be none."""
    python = python_with(CLING)
    return python and [python, os.path.join(ROOT, "tests", "notebooks", "cling.py")]


def run_cells(repl, library, cells, cling=False):
    run = Run()
    with tempfile.TemporaryDirectory() as folder:
        script = []
        for number, (ident, source) in enumerate(cells):
            # Piped line by line, an open brace would loop for ever.
            with open(os.path.join(folder, "cell_%d.hpp" % number), "w") as out:
                out.write(source + ("" if cling else "\n;\n"))
            script.append('#include "cell_%d.hpp"' % number)
            script.append('std::cout << "\\n@@ran %d" << std::endl;' % number)
        script.append("%quit")
        with open(os.path.join(folder, "script"), "w") as out:
            out.write("\n".join(script) + "\n")

        # xtensor before 0.26 needs the second flag from clang 19 on.
        stand_ins = os.path.join(ROOT, "tests", "notebooks")
        flags = ["-std=c++17", "-fno-relaxed-template-template-args", "-iquote", folder,
                 "-iquote", FOLDER, "-I" + stand_ins]
        command = repl + ([folder] if cling else ["-Xcc=" + f for f in flags + include_flags()])
        environment = dict(os.environ)
        if library:
            environment["ARGTAPE_LIBRARY"] = os.path.abspath(library)
        if cling:
            places = [FOLDER, stand_ins] + [f[2:] for f in include_flags() if f.startswith("-I")]
            environment["ARGTAPE_CLING_INCLUDE"] = ":".join(places)
            if library:  # cling looks a library up by its name
                places = [os.path.dirname(os.path.abspath(library)), environment.get("LD_LIBRARY_PATH", "")]
                environment["LD_LIBRARY_PATH"] = ":".join(filter(None, places))
        with open(os.path.join(folder, "script")) as script, \
                open(os.path.join(folder, "errors"), "w+") as errors:
            start = time.time()
            process = subprocess.Popen(command, stdin=script, stdout=subprocess.PIPE, stderr=errors,
                                       env=environment, cwd=folder, encoding="utf-8")
            alarm = threading.Timer(TIME_LIMIT, process.kill)
            alarm.start()
            text, shown = "", []
            for line in process.stdout:
                if line.startswith("@@shown "):
                    shown.append(json.loads(line[len("@@shown "):]))
                elif line.startswith("@@ran "):
                    ident, now = cells[int(line.split()[1])][0], time.time()
                    run.text[ident], run.shown[ident] = text, shown
                    run.seconds[ident] = now - start
                    text, shown, start = "", [], now
                else:
                    text += line
            run.status = process.wait()
            alarm.cancel()
            errors.seek(0)
            run.errors = errors.read()
    return run


def check_run(name, cells, run):
    """True if every cell ran. clang-repl ends with status 0 even after errors, so look for them."""
    broken = {int(n) for n in re.findall(r"cell_(\d+)\.hpp:\d+:\d+: (?:fatal )?error:", run.errors)}
    whole = True
    for number, (ident, _) in enumerate(cells):
        ran = ident in run.text and number not in broken
        whole = check(ran, "%s, cell %s: runs" % (name, ident)) and whole
    whole = check("error:" not in run.errors and run.status == 0,
                  "%s: the interpreter reports no error and ends with status 0, not %s"
                  % (name, run.status)) and whole
    if not whole:
        print(run.errors)
    return whole


# ---- What the cells print -----------------------------------------------------------------------

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def numbers(text):
    return [float(n) for n in NUMBER.findall(text)]


def near(a, b, tolerance=2e-3):
    """Printed with four digits or three, and computed in float."""
    return len(a) == len(b) and all(abs(x - y) <= tolerance * max(1, abs(x)) for x, y in zip(a, b))


def is_tape(bundle):
    """Whether a tape is shown as text, and as a picture where Graphviz is installed."""
    picture = "<svg" in bundle.get("image/svg+xml", "") and "</svg>" in bundle["image/svg+xml"]
    return bundle.get("text/plain", "").startswith("#0 ") and picture == bool(shutil.which("dot"))


def output_of(program):
    done = subprocess.run([program], text=True, stdout=subprocess.PIPE, encoding="utf-8")
    check(done.returncode == 0, "%s ends with status 0" % program)
    return [" ".join(l.split()) for l in done.stdout.split("\n") if l.strip()]


def check_01(run, program):
    name = "01_chain_rule"
    if program:
        printed = run.all_lines()
        for line in output_of(program):
            check(line in printed, name + ": prints, as the program does: " + line)

    tape = run.shown["picture"][0]
    check(is_tape(tape) and "tanh" in tape["text/plain"], name + ": the tape is shown")
    rules = run.shown["edges"][0]
    check(is_tape(rules) and "x passes nothing back" in rules["text/plain"]
          and "~ passes back a surrogate" in rules["text/plain"],
          name + ": the tape of two rules is shown, and marks both")

    rows = [[float(cell) for cell in row] for row in run.table("difference")[1:]]
    check(len(rows) == 3 and all(near(row[1:2] * 2, row[2:]) for row in rows),
          name + ": formula, tape and finite difference agree")
    check(near(run.after("gradient", "dy/dx"), [row[2] for row in rows]),
          name + ": the table holds the gradient")
    check(near(run.after("bend", "d2y/dx2")[0:3], run.after("bend", "by hand")),
          name + ": the second derivative is the formula's")
    check(run.after("argmax", "argmax, zero") == [0, 0, 0], name + ": the zero rule gives zeros")
    through = run.after("argmax", "straight-through")
    check(any(through) and near(through, run.after("soft", "mean price")),
          name + ": straight-through gives the gradient of the mean price")
    report = run.lines("report")
    check(len(report) == 2 and "argmax[zero]" in report[0] and "a gradient arrives" in report[1],
          name + ": the stop report names the rule that cuts")
    check(run.lines("check") == ["sine: right, to second order"],
          name + ": the gradient check accepts the sine")
    wrong = run.lines("wrong-check")[0]
    check(wrong.startswith("cosine: ") and "expected" in wrong,
          name + ": the gradient check rejects the wrong cosine")


def jacobian(q, g):
    """J(q) g = q * (g - <q, g>)."""
    along = sum(x * y for x, y in zip(q, g))
    return [x * (y - along) for x, y in zip(q, g)]


def figures(row):
    """[value, standard error] of each figure of a measured rule; a missing error is 0."""
    return [(numbers(cell) + [0.0])[0:2] for cell in row[1:5]]


def unbiased(row):
    bias, error = figures(row)[0]
    return error > 0 and bias <= 4 * error


def check_02(run, program):
    name = "02_argmax_gradients"
    target = run.after("problem", "target")
    categories = [[float(cell) for cell in row] for row in run.table("exact")[1:]]
    p = [row[1] for row in categories]
    cost = [row[2] for row in categories]
    exact = [row[3] for row in categories]
    mean = sum(x * y for x, y in zip(p, cost))
    check(near([sum(p)], [1]) and near([mean], run.after("exact", "mean cost")),
          name + ": the mean cost is the sum over all categories")
    check(near(exact, jacobian(p, cost)) and near(exact, run.after("exact", "exact gradient")),
          name + ": the exact gradient is p (f - E f)")

    # One draw.
    rows = {row[0]: (numbers(row[1]), numbers(row[2])) for row in run.table("draw")[1:]}
    one_hot = rows["zero"][0]
    k = one_hot.index(1)
    check(sorted(one_hot) == [0, 0, 0, 0, 1], name + ": a choice is one-hot")
    check(rows["score-function"][0] == one_hot and rows["straight-through"][0] == one_hot,
          name + ": the rules see the same draw")
    soft = rows["gumbel-softmax"][0]
    check(near([sum(soft)], [1]) and max(soft) == soft[k] and 0 < min(soft),
          name + ": Gumbel-softmax sends a relaxation of that draw forward")
    check(rows["zero"][1] == [0] * 5, name + ": the zero rule's gradient is zero")
    check(near(rows["score-function"][1], [cost[k] * (d - q) for d, q in zip(one_hot, p)], 4e-3),
          name + ": the score function is f(D) (D - p)")
    check(near(rows["straight-through"][1],
               jacobian(p, [2 * (d - t) for d, t in zip(one_hot, target)]), 4e-3),
          name + ": straight-through is J(p) f'(D)")
    check(near(rows["gumbel-softmax"][1],
               jacobian(soft, [2 * (y - t) for y, t in zip(soft, target)]), 4e-3),
          name + ": Gumbel-softmax is J(Y) f'(Y)")
    check(is_tape(run.shown["tape"][0]), name + ": the tape is shown")

    # Many draws.
    rules = ("zero", "score-function", "score-function+leave-one-out", "straight-through",
             "gumbel-softmax")
    measured = {rule: run.row("measure", rule) for rule in rules}
    check([f[0] for f in figures(measured["zero"])] == [1, 0, 1, 0],
          name + ": the zero rule's bias is the whole gradient")
    for rule in ("score-function", "score-function+leave-one-out"):
        check(unbiased(measured[rule]), name + ": %s is unbiased, to 4 standard errors" % rule)
    for rule in ("straight-through", "gumbel-softmax"):
        check(not unbiased(measured[rule]), name + ": %s is biased" % rule)
    for rule in rules:
        (bias, _), (std, _), (mse, _), _ = figures(measured[rule])
        check(near([mse], [bias ** 2 + std ** 2], 1e-2), name + ": %s: mse = bias^2 + std^2" % rule)
    spread = {rule: figures(measured[rule])[1][0] for rule in rules}
    check(spread["score-function"] > 3 and spread["score-function"] > 3 * spread[rules[2]],
          name + ": the score function's spread is large, and a baseline takes most of it away")

    # Behind the black box.
    check(near(exact, run.after("box-measure", "exact gradient")),
          name + ": the black box has the same exact gradient")
    for rule in rules[:3]:
        check(run.row("box-measure", rule) == measured[rule],
              name + ": %s works as well behind the black box" % rule)
    for rule in rules[3:]:
        check(run.row("box-measure", rule)[1] == "refuses", name + ": %s refuses there" % rule)
    refusal = " ".join(run.lines("refusal"))
    check(refusal.startswith("sample[straight-through]: ") and "score_function()" in refusal,
          name + ": the refusal names the rule and what to do")

    # The rule of one's own.
    bias, error = figures(run.row("own-linear", "midpoint"))[0]
    check(error > 0 and abs(bias - 0.25) <= 4 * error,
          name + ": midpoint misses a quarter of a linear cost's gradient")
    check(figures(run.row("own-linear", "straight-through"))[0][0] < 1e-5,
          name + ": straight-through is exact for a linear cost")
    check(not unbiased(run.row("own-quadratic", "midpoint")),
          name + ": midpoint is biased for the quadratic cost")
    for cell in ("own-linear", "own-quadratic"):
        check(unbiased(run.row(cell, "reinmax")), name + ", cell %s: ReinMax is unbiased" % cell)
    # The text says that ReinMax has the smaller error from about 70 draws on.
    through = figures(run.row("own-quadratic", "straight-through"))
    reinmax = figures(run.row("own-quadratic", "reinmax"))
    draws = (reinmax[1][0] ** 2 - through[1][0] ** 2) / through[0][0] ** 2
    check(60 < draws < 80, name + ": ReinMax overtakes straight-through at about 70 draws, not %d"
          % draws)

    if program:
        printed = output_of(program)
        for rule in rules:
            row = " ".join(measured[rule])
            check(any((line + " ").startswith(row + " ") for line in printed),
                  name + ": prints, as the program does: " + row)


CHECKS = {"01_chain_rule": check_01, "02_argmax_gradients": check_02}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repl", metavar="COMMAND",
                        help="clang-repl, with arguments if need be (default: the first there is of "
                             + ", ".join(REPLS) + ")")
    parser.add_argument("--cling", action="store_true",
                        help="run the cells in genuine cling on clang 9, from PyPI's " + CLING + ", and read every "
                             "public header there, one after the other")
    parser.add_argument("--headers", nargs="*", default=[], help="the public headers, for --cling")
    parser.add_argument("--library", metavar="FILE",
                        help="libargtape.so (default: as setup.hpp finds it)")
    parser.add_argument("--program", action="append", default=[], metavar="FILE",
                        help="a built program whose notebook must print the same figures; it goes "
                             "with the notebook of its name, and may be given for each")
    parser.add_argument("--json-only", action="store_true", help="check the files, run nothing")
    arguments = parser.parse_args()

    programs = {os.path.splitext(os.path.basename(p))[0]: p for p in arguments.program}
    files = sorted(f for f in os.listdir(FOLDER) if f.endswith(".ipynb"))
    check(set(programs) <= set(CHECKS), "--program names a program that has a notebook")
    check([os.path.splitext(f)[0] for f in files] == sorted(CHECKS),
          "the notebooks are %s" % ", ".join(sorted(CHECKS)))

    books = {}
    for file in files:
        name = os.path.splitext(file)[0]
        with open(os.path.join(FOLDER, file), encoding="utf-8") as text:
            book = json.load(text)
        check_json(name, book)
        books[name] = [(cell["id"], "".join(cell["source"])) for cell in book["cells"]
                       if cell["cell_type"] == "code"]
        check_rules(name, books[name])

    repls = [arguments.repl] if arguments.repl else ["cling"] if arguments.cling else REPLS
    repl = cling_python() if arguments.cling else \
        next((shlex.split(r) for r in repls if shutil.which(shlex.split(r)[0])), None)
    skipped = not arguments.json_only and not repl
    if skipped:
        print("there is no %s; the cells were not run" % " and no ".join(repls))
    elif not arguments.json_only:
        if arguments.cling:
            headers = arguments.headers
            cells = [(h, '#include "%s"' % os.path.join(ROOT, h)) for h in headers]
            check_run("headers", cells, run_cells(repl, None, cells, True))
        for name, cells in books.items():
            run = run_cells(repl, arguments.library, cells, arguments.cling)
            if not check_run(name, cells, run) or name not in CHECKS:
                continue
            slowest = max(run.seconds, key=run.seconds.get)
            print("%s: %d cells in %.1f s, the slowest is %s with %.1f s"
                  % (name, len(cells), sum(run.seconds.values()), slowest, run.seconds[slowest]))
            try:
                CHECKS[name](run, programs.get(name))
            except (LookupError, ValueError) as error:
                check(False, "%s: what the cells print can be read: %r" % (name, error))

    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else SKIPPED if skipped else 0


if __name__ == "__main__":
    sys.exit(main())

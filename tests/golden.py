#!/usr/bin/env python3
"""The same seed, the same figures: short runs of every program, in this build and in those that tests/golden/ is from.

  tests/golden.py --build FOLDER [--write avx512|sse2]

Any number of threads gives the same bits. Between builds (another compiler, optimisation, width of vectors, BLAS) a
figure is the same to BOUND: of itself, or of the largest in its column or 1, whichever is less, where that is more.
--write NAME keeps this build's figures there. All runs are a few steps long: a training amplifies what rounding began,
until two builds differ as two seeds do.
"""
import argparse, collections, json, os, re, subprocess, sys, tempfile

from short_runs import SHORT_RUNS
from tally import check, verdict

BOUND = 1e-4
# Rules that draw anew, from the bits of the noise that is there: where it is rounded otherwise they see other numbers.
ANEW = {"gumbel-rao", "i-mle", "perturbed"}
NUMBERS = {int, float}
TIMES = {"seconds", "microseconds", "ms_per_step"}
EMULATOR = os.environ.get("ARGTAPE_EMULATOR", "").split()  # runs the programs, where they are another machine's
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")


def figures(value, path=""):
    """What a program's JSON holds, by its place there, but for times."""
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in TIMES:
                of = part.get("rule", "") if isinstance(part, dict) else ""
                yield from figures(part, "%s/%s %s" % (path, key, of) if of else "%s/%s" % (path, key))
    else:
        yield path, value


def run(program, flags, threads):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run.json")
        r = subprocess.run([*EMULATOR, os.path.join(o.build, program), *flags.split(), "--threads", str(threads), "--json", file],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if not check(r.returncode == 0, "%s %s: %s" % (program, flags, r.stdout)):
            return {}
        with open(file) as f:
            return dict(figures(json.load(f)))


def column(place):
    """/rows/*/bias, of /rows/3 zero/bias."""
    return re.sub(r"/\d[^/]*", "/*", place)


def near(program, golden):
    """Whether a figure of the program is the golden one, to BOUND."""
    rounding = 1e-12 if program.startswith("09_kmeans") else 1e-6  # what it may leave where nothing is due, in double and in float
    largest = collections.defaultdict(float)
    for place, value in golden.items():
        if type(value) in NUMBERS:
            largest[column(place)] = max(abs(value), largest[column(place)])
    return lambda place, a, b: a == b or {type(a), type(b)} <= NUMBERS and abs(a - b) <= max(
        BOUND * max(abs(b), min(1, largest[column(place)])), rounding)


def same(what, found, expected, alike):
    check(found.keys() == expected.keys(), "%s: other figures: %s" % (what, sorted(found.keys() ^ expected.keys())[:5]))
    for place in found.keys() & expected.keys():
        check(alike(place, found[place], expected[place]), "%s: %s is %r, not %r" % (what, place, found[place], expected[place]))


def against_golden(found):
    """Another compiler, other vectors or another BLAS change figures by 1e-4 at most, until training amplifies it, and draw other noise
    where a rule makes its own (gumbel-rao, i-mle, perturbed)."""
    for name in sorted(os.listdir(FOLDER)):
        with open(os.path.join(FOLDER, name)) as f:
            golden = json.load(f)
        check(golden.keys() == found.keys(), "tests/golden/%s has other programs; write it anew" % name)
        for program in golden.keys() & found.keys():
            alike = near(program, golden[program])
            same("%s, against tests/golden/%s" % (program, name), found[program], golden[program],
                 lambda place, a, b: alike(place, a, b) or any(" %s/" % rule in place for rule in ANEW))


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--build", required=True)
ap.add_argument("--write", choices=["avx512", "sse2"])
o = ap.parse_args()
found = {}
for program, flags in [(program, flags) for program, runs in SHORT_RUNS.items() for flags in runs]:
    call = " ".join([program, flags])
    found[call] = run(program, flags, 1)
    for threads in [2, 3]:
        same("%s with %d threads" % (call, threads), run(program, flags, threads), found[call], lambda place, a, b: a == b)
if o.write:
    with open(os.path.join(FOLDER, o.write + ".json"), "w") as f:
        json.dump(found, f, indent=0)
        f.write("\n")
against_golden(found)
sys.exit(verdict())

#!/usr/bin/env python3
"""What the passes of tests/run covered: a paragraph for each build folder, where there are several; what tests that passed say
they left out; last, how many tests there were in all. The status is 0 if none failed.

  tests/covered.py FOLDER...
"""
import argparse, glob, json, os, re, subprocess, sys, textwrap

GOOD, SKIPPED = {"OK", "EXPECTEDFAIL"}, {"SKIP"}
INSTRUCTIONS = {"__AVX512F__": "AVX-512", "__AVX2__": "AVX2", "__AVX__": "AVX", "__SSE2__": "SSE2", "__ARM_NEON": "NEON"}
ASSERTIONS = {"_GLIBCXX_DEBUG": "the standard library's assertions", "XTENSOR_ENABLE_ASSERT": "xtensor's assertions",
              "ARGTAPE_NO_RECYCLING": "no memory recycled"}


def load(folder, name):
    with open(os.path.join(folder, "meson-info", "intro-%s.json" % name)) as f:
        return json.load(f)


def built(folder):
    """How the library was compiled, as its compiler says with its flags."""
    source, = [s for t in load(folder, "targets") if t["name"] == "argtape-double-compiled" for s in t["target_sources"] if s["sources"]]
    flags = [f for f in source["parameters"] if f[:2] in ("-D", "-O", "-m") or f.startswith(("-std", "-fsan"))]
    said = subprocess.run(source["compiler"] + flags + ["-dM", "-E", "-x", "c++", "/dev/null"], stdout=subprocess.PIPE,
                          universal_newlines=True, check=True).stdout
    macros = dict(re.findall(r"#define (\S+) (.*)", said))
    version = macros.get("__clang_version__", macros["__VERSION__"]).strip('" ').split()[0]
    options = {o["name"]: o["value"] for o in load(folder, "buildoptions")}
    sanitizers = [] if options["b_sanitize"] == "none" else [options["b_sanitize"].replace(",", " and ") + " sanitizer"]
    return ", ".join([("clang " if "__clang__" in macros else "g++ ") + version, "C++" + macros["__cplusplus"][2:4],
                      next((n for m, n in INSTRUCTIONS.items() if m in macros), "plain instructions"), "-O" + options["optimization"]]
                     + sanitizers + [n for m, n in ASSERTIONS.items() if m in macros])


def results(folder):
    """The tests of the folder's last run, by name. What ran in valgrind has a log of another name."""
    file, = glob.glob(os.path.join(folder, "meson-logs", "testlog*.json"))
    with open(file) as f:
        return {t["name"].split(" / ")[-1]: t for t in map(json.loads, f)}  # "argtape:double / engine"


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("folder", nargs="+")
o = ap.parse_args()
ran = {folder: results(folder) for folder in o.folder}
known = {t["name"] for folder in o.folder for t in load(folder, "tests")}
failed = {folder: [name for name, t in tests.items() if t["result"] not in GOOD | SKIPPED] for folder, tests in ran.items()}
if len(ran) > 1:
    for folder, tests in ran.items():
        cases = sum(int(n) for t in tests.values() for n in re.findall(r"^\[doctest\] test cases: +(\d+)", t["stdout"], re.M))
        left_out = sorted(known - {name for name, t in tests.items() if t["result"] not in SKIPPED})
        words = "%s: %s: %d tests, %d cases in them" % (os.path.basename(folder), built(folder), len(tests), cases)
        for what, names in [("failed", failed[folder]), ("left out", left_out)]:
            words += "; %s: %s" % (what, ", ".join(names)) if names else ""
        print(textwrap.fill(words, 100, subsequent_indent="  ", break_on_hyphens=False))
for line in sorted({name + ": " + words for tests in ran.values() for name, t in tests.items()
                    for words in re.findall(r"\bleft out, since .*", t["stdout"])}):
    print(line)
passed, skipped = (sum(t["result"] in of for tests in ran.values() for t in tests.values()) for of in (GOOD, SKIPPED))
count = sum(map(len, failed.values()))
print("%d passed, %d failed, %d skipped" % (passed, count, skipped))
sys.exit(1 if count else 0)

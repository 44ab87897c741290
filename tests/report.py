#!/usr/bin/env python3
"""The page of each program, report.html, in headless Chromium: on a phone and on a desk, light and dark.

Held: the page asks for nothing else and runs no script, its console is silent, nothing but tables, pictures and printed
columns is wider than the window, and axe-core finds neither contrast nor labels wanting. --keep keeps pages and screenshots.
"""
import argparse, glob, os, re, shutil, subprocess, sys, tempfile

from pypi import python_with
from tally import check, verdict

SKIPPED = 77  # meson's status for a test that could not run
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
PACKAGES = ["axe-core-python==0.1.0", "playwright==1.65.2"]
BYTES = 2 << 20
SHORT = {  # less than --quick
    "05_estimators": ["--draws", "500", "--tuning", "1", "--problem", "network"],
    "06_temperature": ["--steps", "15", "--seeds", "1", "--draws", "1000"],
    "10_architecture_search": ["--methods", "darts,gdas", "--steps", "10", "--retrain", "10", "--cells", "2"],
    "11_structured_prediction": ["--networks", "categorical", "--rules", "straight-through,gumbel-softmax"],
    "12_categorical_vae": ["--networks", "categorical", "--rules", "straight-through,gumbel-softmax"],
    "13_semi_supervised": ["--methods", "labels-only,gumbel-softmax", "--classes", "5,10"],
}
PROBE = """async () => ({
  page: document.documentElement.scrollWidth, ground: getComputedStyle(document.body).backgroundColor,
  faults: (await axe.run()).violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | '))})"""


def look_at(name, file, browser, axe):
    with open(file, encoding="utf-8") as f:
        text = re.sub('"data:[^"]*"', '""', f.read())
    check(os.path.getsize(file) < BYTES, "%s: the page has %d bytes" % (name, os.path.getsize(file)))
    check("<script" not in text and not re.search(r"""(?:src=|url\()["']?[^"']""", text), name + ": the page needs no script and no other file")
    check("What was asked" in text and "<title>%s</title>" % name in text, name + ": the page says what was asked")
    grounds = {}
    for width in [390, 1280]:
        for scheme in ["light", "dark"]:
            where = "%s, %d wide, %s" % (name, width, scheme)
            page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
            said = []
            page.on("console", lambda m: said.append(m.text))
            page.on("pageerror", lambda e: said.append(str(e)))
            page.on("requestfailed", lambda r: said.append(r.url[:80]))
            page.goto("file://" + file)
            page.screenshot(path="%s-%d-%s.png" % (file[:-5], width, scheme), full_page=True)
            check(not said, where + ": the console is silent, not " + "; ".join(said))
            page.evaluate(axe)
            found = page.evaluate(PROBE)
            check(found["page"] <= width, where + ": the page is %d wide" % found["page"])
            check(not found["faults"], where + ": axe-core finds " + "; ".join(found["faults"]))
            grounds[scheme] = found["ground"]
            page.close()
    check(grounds["light"] != grounds["dark"], name + ": the page is light or dark as its reader has it")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True, metavar="FOLDER", help="where the programs are")
    parser.add_argument("--keep", metavar="FOLDER", help="keep pages and screenshots there")
    parser.add_argument("programs", nargs="*", help="some of them, by name (default: all)")
    o = parser.parse_args()
    names = o.programs or sorted(os.path.basename(p)[:-4] for p in glob.glob(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "[0-9]*.cpp")))
    program = next(filter(shutil.which, BROWSERS), None)
    python = program and python_with(*PACKAGES)
    if not python:
        print("there is no %s; the pages were not looked at" % (" or ".join(PACKAGES) + " from PyPI" if program else " and no ".join(BROWSERS)))
        return SKIPPED
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(os.path.dirname(python), "..")):
        return subprocess.run([python, *sys.argv]).returncode
    import axe_core_python, playwright.sync_api
    with open(os.path.join(os.path.dirname(axe_core_python.__file__), "axe.min.js"), encoding="utf-8") as f:
        axe = f.read()
    with tempfile.TemporaryDirectory() as folder, playwright.sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which(program), args=["--no-sandbox"])
        for name in names:
            out = os.path.abspath(os.path.join(o.keep or folder, name))
            run = subprocess.run([os.path.join(o.build, name), "--quick", "--out", out, *SHORT.get(name, [])],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
            if check(run.returncode == 0, name + ": " + run.stderr):
                look_at(name, os.path.join(out, "report.html"), browser, axe)
        browser.close()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The programs as a user meets them, and the README's claims about them.

  tests/programs.py --build FOLDER --source FOLDER
"""
import argparse, json, os, re, subprocess, sys, tempfile

RULES = ["zero", "exact", "score-function", "score-function+mean", "score-function+leave-one-out", "straight-through",
         "straight-through-identity", "gumbel-softmax", "st-gumbel-softmax", "reinmax"]
PATHWISE = RULES[5:]
counts = {"passed": 0, "failed": 0}


def check(holds, what):
    counts["passed" if holds else "failed"] += 1
    if not holds:
        print("FAIL  " + what)


def run(program, *flags):
    r = subprocess.run([os.path.join(build, program), "--threads", "1", *flags], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, universal_newlines=True)
    return r.returncode, r.stdout, r.stderr


def run_json(program, *flags):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run.json")
        status, out, err = run(program, *flags, "--json", file)
        check(status == 0, "%s %s ends with %d: %s" % (program, " ".join(flags), status, err))
        with open(file) as f:
            return json.load(f), out


def refused(status, message, program, *flags):
    code, out, err = run(program, *flags)
    check(code == status and err.strip().count("\n") == 0 and message in err,
          "%s %s: status %d instead of %d, or the message is %r" % (program, " ".join(flags), code, status, err))


def manners():
    for program in programs:
        status, out, err = run(program, "--help")
        check(status == 0 and "--seed" in out and "--json" in out and "--out" in out and not err, program + " --help")
        refused(2, "", program, "--no-such-flag")
        refused(2, "", program, "--seed", "one")
        refused(2, "", program, "--threads", "0")
        refused(2, "no/such/folder", program, "--quick", "--json", "no/such/folder/run.json")


def chain_rule(readme):
    status, out, _ = run("01_chain_rule")
    check(status == 0 and out.strip() in readme, "the README shows what 01_chain_rule prints:\n" + out)


def sections(readme):
    """Each part of an example between 'README x begins' and 'README x ends' stands in the README word for word."""
    for name in os.listdir(os.path.join(source, "examples")):
        if not name.endswith(".cpp"):
            continue
        with open(os.path.join(source, "examples", name)) as f:
            text = f.read()
        for part in re.findall(r"// README[^\n]* begins\n(.*?)\n *// README[^\n]* ends", text, re.S):
            indent = re.match(r" *", part).group()
            plain = "\n".join(line[len(indent):] if line.startswith(indent) else line for line in part.split("\n"))
            check(plain in readme, "the README shows this part of %s:\n%s" % (name, plain))


def argmax_gradients():
    first, out = run_json("02_argmax_gradients", "--draws", "4000", "--seed", "3")
    for key, kind in {"program": str, "seed": int, "categories": int, "cost": str, "draws": int, "exact": list}.items():
        check(isinstance(first.get(key), kind), "02's JSON has " + key)
    check(first["program"] == "02_argmax_gradients" and first["seed"] == 3 and first["categories"] == 5 and first["draws"] == 4000
          and first["cost"] == "quadratic" and len(first["exact"]) == 5, "02's JSON says what was asked for")
    check([r["rule"] for r in first["rules"]] == RULES, "02 has every rule")
    rows = {r["rule"]: r for r in first["rules"]}
    for name, row in rows.items():
        for key in ["bias", "bias_se", "std", "mse", "cosine", "evaluations", "backwards", "microseconds"]:
            check(isinstance(row.get(key), (int, float)), "02: %s has %s" % (name, key))
        check(abs(row["mse"] - row["bias"] ** 2 - row["std"] ** 2) < 1e-4 * (1 + row["mse"]), "02: %s: mse = bias^2 + variance" % name)
        check(row["evaluations"] == {"exact": 5, "score-function+leave-one-out": 4}.get(name, 1), "02: evaluations of " + name)
        check(row["backwards"] == (1 if name in PATHWISE else 0), "02: backward passes of " + name)
    check(rows["zero"]["bias"] == 1 and rows["zero"]["std"] == 0 and rows["zero"]["cosine"] == 0, "02: zero is zero")
    check(rows["exact"]["bias"] == 0 and rows["exact"]["cosine"] == 1, "02: exact is exact")
    for name in ["score-function", "score-function+mean", "score-function+leave-one-out", "reinmax"]:
        check(rows[name]["bias"] < 4 * rows[name]["bias_se"], "02: %s is unbiased for a quadratic cost" % name)
    check(rows["straight-through"]["bias"] > 4 * rows["straight-through"]["bias_se"], "02: straight-through is not")
    again, _ = run_json("02_argmax_gradients", "--draws", "4000", "--seed", "3")
    for r in first["rules"] + again["rules"]:
        r["microseconds"] = 0
    check(first == again, "02: the same seed gives the same figures")
    linear, _ = run_json("02_argmax_gradients", "--cost", "linear", "--quick", "--categories", "3")
    check({r["rule"]: r for r in linear["rules"]}["straight-through"]["bias"] < 1e-5, "02: straight-through is exact for a linear cost")
    hidden, out = run_json("02_argmax_gradients", "--cost", "black-box", "--quick")
    for row in hidden["rules"]:
        check(("refusal" in row) == (row["rule"] in PATHWISE), "02: behind a black box: " + row["rule"])
    check("use score_function()" in out, "02 prints what a refusing rule says")
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "new folder")
        status, _, _ = run("02_argmax_gradients", "--quick", "--out", place)
        files = os.listdir(place)
        check(status == 0 and "argmax_gradients.csv" in files and "argmax_gradients_bias_variance.csv" in files, "02 writes its CSV")
    refused(2, "--cost is 'cubic'; need linear, quadratic, zero-one or black-box", "02_argmax_gradients", "--cost", "cubic")
    refused(2, "--categories", "02_argmax_gradients", "--categories", "1")
    refused(2, "--temperature must be more than 0", "02_argmax_gradients", "--temperature", "0")
    run_json("02_argmax_gradients", "--temperature", "0.5", "--quick")


def readme_table(readme):
    """The README's table of rules, up to the last decimal shown."""
    run_, _ = run_json("02_argmax_gradients")
    shown = {}
    for line in readme.split("\n"):
        cells = [c.strip() for c in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in RULES:
            shown[cells[0]] = [float(c.split()[0]) for c in cells[1:]]
    check(sorted(shown) == sorted(RULES), "the README's table has every rule")
    for row in run_["rules"]:
        for key, value in zip(["bias", "std", "cosine", "evaluations", "backwards"], shown.get(row["rule"], [])):
            check(abs(row[key] - value) <= 0.0051, "the README's %s of %s: %s, not %s" % (key, row["rule"], row[key], value))


def zero_one_loss():
    run_, out = run_json("03_zero_one_loss", "--quick")
    check(run_["program"] == "03_zero_one_loss" and run_["data"] == "UCI digits" and run_["train"] == 1437 and run_["test"] == 360,
          "03's JSON says what was asked for")
    check([r["rule"] for r in run_["rules"]] == RULES + ["cross-entropy"], "03 has every rule")
    rows = {r["rule"]: r for r in run_["rules"]}
    for name, row in rows.items():
        check(row["steps"] > 0 and row["seconds"] > 0, "03: steps and seconds of " + name)
        check(name == "zero" or row["test_accuracy"] > 0.7, "03: %s learns: %s" % (name, row["test_accuracy"]))
    check(rows["zero"]["test_accuracy"] < 0.3 and not rows["zero"]["moved"], "03: the zero rule learns nothing")
    check(rows["straight-through"]["test_accuracy"] == rows["exact"]["test_accuracy"], "03: straight-through is exact")
    check("argmax[zero]" in out and "passes nothing back" in out, "03 prints the stop report")
    refused(2, "--rule is 'gumble'", "03_zero_one_loss", "--rule", "gumble")
    refused(2, "no/such/folder", "03_zero_one_loss", "--data", "no/such/folder")
    refused(2, "empty", "03_zero_one_loss", "--data", "")
    refused(2, "--batch", "03_zero_one_loss", "--batch", "100000")
    refused(2, "--rate", "03_zero_one_loss", "--rate", "0")
    refused(1, "lower --rate", "03_zero_one_loss", "--quick", "--rule", "straight-through", "--rate", "1e30")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "digits.csv"), "w") as f:
            f.write("1,2,3\n")
        refused(1, "line 1", "03_zero_one_loss", "--data", folder)


def your_own(readme):
    status, out, _ = run("04_your_own")
    with open(os.path.join(source, "examples/04_your_own.cpp")) as f:
        check(f.read().strip() in readme, "the README shows examples/04_your_own.cpp in full")
    check(out.strip() in readme, "the README shows what 04_your_own prints:\n" + out)
    biases = dict(re.findall(r"(\S+): bias (\S+) ±", out))
    check(status == 0 and "right, to second order" in out and float(biases["zgr"]) < 0.1 < float(biases["straight-through"]),
          "04: the op is right, and zgr is less biased:\n" + out)


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--build", required=True)
ap.add_argument("--source", required=True)
o = ap.parse_args()
build, source = o.build, o.source
programs = sorted(n[:-4] for n in os.listdir(os.path.join(source, "examples")) if re.match(r"\d\d_.*\.cpp$", n))
with open(os.path.join(source, "README.md")) as f:
    text = f.read()
manners()
chain_rule(text)
sections(text)
argmax_gradients()
readme_table(text)
zero_one_loss()
your_own(text)
print("%(passed)d passed, %(failed)d failed" % counts)
sys.exit(1 if counts["failed"] else 0)

#!/usr/bin/env python3
"""The programs as a user meets them, and the README's claims about them.

  tests/programs.py --build FOLDER --source FOLDER
"""
import argparse, csv, gzip, json, os, re, resource, stat, subprocess, sys, tempfile

from hand_made import judged
from saved import safetensors
from short_runs import NETWORKS, SHORT_RUNS
from tally import check, verdict

RULES = ["zero", "exact", "score-function", "score-function+mean", "score-function+leave-one-out", "straight-through",
         "straight-through-identity", "gumbel-softmax", "st-gumbel-softmax", "reinmax"]
PATHWISE = RULES[5:]
SORTING = ["zero", "score-function", "score-function+mean", "score-function+leave-one-out", "straight-through-identity",
           "straight-through-sinkhorn", "gumbel-sinkhorn", "st-gumbel-sinkhorn", "perturbed", "blackbox", "i-mle", "neural-sort",
           "soft-sort"]


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


def text_flags(program):
    """The flags that take a name or a path, as --help lists them."""
    return re.findall(r"(--[\w-]+) (?:TEXT|FILE|DIR|FILE\|DIR)\b", run(program, "--help")[1])


def where_output_fails(program, *flags):
    """A standard output that is full, closed, or read by nobody: the JSON is there all the same, and the run says so."""
    reader, writer = os.pipe()
    os.close(reader)
    ways = {"is closed": {"preexec_fn": lambda: os.close(1)}, "nobody reads": {"stdout": writer}}
    if os.path.exists("/dev/full"):
        ways["is full"] = {"stdout": os.open("/dev/full", os.O_WRONLY)}
    for how, way in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "run.json")
            r = subprocess.run([os.path.join(build, program), *flags, "--json", file], stderr=subprocess.PIPE, universal_newlines=True, **way)
            check(r.returncode == 1 and r.stderr == program + ": standard output cannot be written\n",
                  "%s where standard output %s: status %d, %r" % (program, how, r.returncode, r.stderr))
            with open(file) as f:
                check(json.load(f)["program"] == program, "%s where standard output %s: the JSON is whole" % (program, how))
    if "is full" in ways:
        r = subprocess.run([os.path.join(build, program), "--help"], stdout=ways["is full"]["stdout"], stderr=subprocess.PIPE)
        check(r.returncode == 1, program + " --help where standard output is full")


def json_file_keeps_its_mode(program, *flags):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "run.json")
        for mode in [0o600, 0o640]:
            with open(file, "w") as f:
                f.write("old")
            os.chmod(file, mode)
            run(program, *flags, "--json", file)
            check(stat.S_IMODE(os.stat(file).st_mode) == mode and os.path.getsize(file) > 10, "--json keeps a file's mode %o" % mode)


def json_in_standard_output(program, *flags):
    """Behind what is printed, in a pipe and in a file."""
    with tempfile.TemporaryFile("w+") as f:
        command = [os.path.join(build, program), *flags, "--json", "/dev/stdout"]
        subprocess.run(command, stdout=f)
        f.seek(0)
        for text in [f.read(), subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True).stdout]:
            printed = run(program, *flags)[1]
            check(text.startswith(printed) and json.loads(text[len(printed):])["program"] == program, "--json /dev/stdout: %r" % text)


def out_of_memory(program, *flags):
    r = subprocess.run([os.path.join(build, program), *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)))
    check(r.returncode == 1 and r.stderr == "%s: there is not enough memory; choose less for %s\n" % (program, flags[-2]),
          "%s %s: %r" % (program, " ".join(flags), r.stderr))


def idx(folder, part, n):
    """n digits of 8 x 8 in MNIST's files."""
    with open(os.path.join(folder, part + "-images-idx3-ubyte"), "wb") as f:
        f.write(b"\0\0\x08\x03" + b"".join(x.to_bytes(4, "big") for x in [n, 8, 8]) + bytes(i * i % 251 * (i % 7) % 256 for i in range(64 * n)))
    with open(os.path.join(folder, part + "-labels-idx1-ubyte"), "wb") as f:
        f.write(b"\0\0\x08\x01" + n.to_bytes(4, "big") + bytes(i % 10 for i in range(n)))


def folder_of_digits():
    """A folder's digits are called as the folder is, and split as its files are."""
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "clothes")
        os.mkdir(place)
        idx(place, "train", 30)
        flags = ["--data", place, "--rule", "exact", "--epochs", "1", "--batch", "4"]
        run_, out = run_json("03_zero_one_loss", *flags)
        check((run_["data"], run_["train"], run_["test"]) == ("clothes", 24, 6) and out.startswith("clothes: "), "03 on a folder of digits")
        idx(place, "t10k", 20)
        run_, out = run_json("03_zero_one_loss", *flags)
        check((run_["train"], run_["test"]) == (30, 20), "03 takes train and t10k as they are")
        run_, out = run_json("09_kmeans", "--data", place, "--steps", "2")
        check((run_["data"], run_["points"]) == ("clothes", 50) and "MNIST" not in out, "09 on a folder of digits")


def manners():
    for program in programs:
        for flag in text_flags(program):
            refused(2, "empty", program, "--quick", flag, "")
            refused(2, "", program, "--quick", flag, "x" * 400)  # too long for a file's name, too
        status, out, err = run(program, "--help")
        check(status == 0 and "--seed" in out and "--json" in out and "--out" in out and not err, program + " --help")
        refused(2, "", program, "--no-such-flag")
        refused(2, "", program, "--seed", "one")
        refused(2, "", program, "--threads", "0")
        for place in ["no/such/folder", "/dev/no/such"]:
            refused(2, place, program, "--quick", "--json", place + "/run.json")
    check(all({"--json", "--out"} <= set(text_flags(p)) for p in programs) and "--rule" in text_flags("07_sort_numbers"), "--help names the kind of a flag")
    where_output_fails("01_chain_rule")
    where_output_fails("02_argmax_gradients", "--quick")
    json_file_keeps_its_mode("01_chain_rule")
    json_in_standard_output("01_chain_rule")
    folder_of_digits()
    if not o.brief:  # sanitizers take their own way out
        out_of_memory("03_zero_one_loss", "--hidden", "2000000000")
        out_of_memory("09_kmeans", "--points", "2000000000")


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
    refused(2, "--temperature must be at least 1e-20, and at most 1e20", "02_argmax_gradients", "--temperature", "0")
    refused(2, "--temperature must be at least 1e-20, and at most 1e20", "02_argmax_gradients", "--temperature", "1e50")
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


UNBIASED = ["score-function", "score-function+mean", "score-function+leave-one-out", "muprop", "rebar", "relax",
            "sum-and-sample", "unordered-set", "arm", "disarm"]
TEMPERED = ["straight-through", "annealed-straight-through", "gumbel-softmax", "st-gumbel-softmax", "gumbel-rao",
            "gapped-straight-through", "perturbed"]
ESTIMATORS = UNBIASED + TEMPERED + ["zero", "exact", "straight-through-identity", "reinmax", "darn", "zgr", "mve",
                                    "blackbox", "i-mle", "nvil", "vimco"]
SUBSETS = {"zero", "exact", "score-function", "score-function+mean", "score-function+leave-one-out", "straight-through",
           "straight-through-identity", "gumbel-softmax", "st-gumbel-softmax", "annealed-straight-through", "perturbed", "blackbox",
           "i-mle"}


def estimators(syllabus):
    keys = ["problem", "K", "tau", "rule", "bias", "bias_se", "std", "mse", "cosine", "evaluations", "backwards", "solver_calls",
            "microseconds"]
    run_, out = run_json("05_estimators", "--quick", "--seed", "1")
    check(run_["program"] == "05_estimators" and run_["seed"] == 1 and run_["draws"] == 2000, "05's JSON says what was asked for")
    rows = {}
    for r in run_["rows"]:
        check(list(r) == keys, "05: the keys of a row are %s" % list(r))
        rows[r["problem"], r["K"], r["rule"], r["tau"]] = r
    check(len(rows) == len(run_["rows"]), "05: no row twice")
    problems = sorted({(name, k) for name, k, _, _ in rows})
    check(problems == sorted([(n, k) for n in ["linear", "quadratic", "network"] for k in [2, 8, 64]]
                             + [(n, 2) for n in ["toy t=0.45", "toy t=0.499", "p-norm p=1.5", "p-norm p=2", "p-norm p=3"]]
                             + [("subset k=3", 8)]),
          "05's problems are %s" % problems)
    for name, k in problems:
        what = "05, %s, K = %d: " % (name, k)

        def of(rule, tau=None):
            return rows[name, k, rule, tau]
        large, subset = name.startswith("p-norm"), name.startswith("subset")
        expected = {r for r in ESTIMATORS if (k == 2 or r not in ["arm", "disarm"])
                    and not (large and r in ["exact", "vimco", "sum-and-sample", "unordered-set"])
                    and (not subset or r in SUBSETS)}
        check({r for n, q, r, _ in rows if (n, q) == (name, k)} == expected, what + "every rule and method")
        check(what[4:-2] in out, what + "is printed")
        check(of("score-function+leave-one-out")["std"] < of("score-function")["std"], what + "leave-one-out spreads less")
        check(abs(of("zero")["mse"] - 1) < 1e-4, what + "the zero gradient is off by the gradient")
        for rule in UNBIASED:
            if rule in expected:
                r = of(rule, 0.5 if rule in ["rebar", "relax"] else None)
                check(r["bias"] <= 4 * r["bias_se"] + 1e-4, what + "%s is unbiased: %s +- %s" % (rule, r["bias"], r["bias_se"]))
        if not large:
            check(of("exact")["bias"] < 1e-6 and of("exact")["std"] == 0, what + "exact is exact")
            check(of("exact")["evaluations"] == (56 if subset else k), what + "and evaluates each choice once")  # 56: 3 out of 8
            alone = [of("score-function"), of("straight-through", 1)] if subset else [of("mve"), of("zgr")]
            check(all(r["bias_se"] == 0 for r in alone), what + "what depends on the choice alone is enumerated")
        for tau in [] if subset else [0.1, 0.5, 1, 2, 5]:
            st, rao = of("st-gumbel-softmax", tau), of("gumbel-rao", tau)
            check(rao["std"] < 1.01 * st["std"], what + "Gumbel-Rao spreads no more than ST Gumbel-softmax at %s" % tau)
            check(abs(rao["bias"] - st["bias"]) < 4 * (rao["bias_se"] + st["bias_se"]), what + "and has its mean")
        plain = of("straight-through", 1)
        if name == "linear":
            for r in [plain, of("zgr"), of("reinmax", 1), of("mve"), of("darn")]:
                check(r["bias"] < 1e-5, what + r["rule"] + " is exact")
        if name == "quadratic":
            for r in [of("zgr"), of("reinmax", 1), of("mve")]:
                check(r["bias"] < 1e-5, what + r["rule"] + " is exact")
            check(plain["bias"] > 0.05 and (k == 2 or of("darn")["bias"] > 0.05), what + "first order is not")
        if name == "p-norm p=2":
            check(of("zgr")["bias"] < 4 * of("zgr")["bias_se"] and plain["bias"] > 4 * plain["bias_se"], what + "second order is needed")
        if name == "network" and k > 2:
            cold, hot = of("gumbel-softmax", 0.1), of("gumbel-softmax", 5)
            check(cold["bias"] < hot["bias"] and cold["std"] > hot["std"], what + "the temperature trades bias for variance")
        if name == "toy t=0.499":
            for rule in ["rebar", "relax"]:
                check(of(rule, 0.5)["std"] < of("score-function+leave-one-out")["std"], what + rule + " spreads less than leave-one-out")
    for rule, tau in [("straight-through", 1), ("zgr", None), ("reinmax", 1), ("mve", None)]:
        shown = "%.3f" % rows["network", 8, rule, tau]["bias"]
        check(shown in syllabus, "examples/README.md has %s's bias on the network, %s" % (rule, shown))
    for what in ["network", "subset k=3"]:
        check(all(rows[what, 8, "perturbed", tau]["solver_calls"] == 10 for tau in [0.1, 0.5, 1, 2, 5]), "05 counts the solver's calls")
    st, soft = rows["subset k=3", 8, "straight-through", 1], rows["subset k=3", 8, "gumbel-softmax", 0.5]
    check("%.2f" % st["bias"] in syllabus, "examples/README.md has straight-through's bias on the subset, %s" % st["bias"])
    check(soft["bias"] + 4 * soft["bias_se"] < st["bias"], "05: the relaxed subset has less bias")
    budget = {(r["rule"], r["setting"]): r for r in run_["budget"]}
    loo = [budget["score-function+leave-one-out", m] for m in [2, 3, 4, 6, 8, 12, 16]]
    check([r["evaluations"] for r in loo] == [2, 3, 4, 6, 8, 12, 16] and all(a["mse"] > b["mse"] for a, b in zip(loo, loo[1:])),
          "05: leave-one-out gets better with more samples")
    check(budget["gumbel-rao", 100]["mse"] < budget["gumbel-rao", 1]["mse"] and budget["gumbel-rao", 100]["backwards"] == 1,
          "05: Gumbel-Rao's draws lower its error, and cost no evaluation")
    check(budget["unordered-set", 6]["mse"] < budget["unordered-set", 1]["mse"] and budget["unordered-set", 6]["evaluations"] == 6,
          "05: the unordered set gets better with its size")

    def twice():
        again, _ = run_json("05_estimators", "--quick", "--problem", "toy", "--tuning", "20", "--seed", "4")
        check(again["budget"] == [] and {r["problem"] for r in again["rows"]} == {"toy t=0.45", "toy t=0.499"}, "05 --problem toy")
        for r in again["rows"]:
            r["microseconds"] = 0
        return again
    check(twice() == twice(), "05: the same seed gives the same figures")


def estimators_files():
    refused(2, "--problem is 'cubic'; need linear, quadratic, network, toy, p-norm, or subset", "05_estimators", "--problem", "cubic")
    refused(2, "--draws", "05_estimators", "--draws", "10")


def temperature():
    run_, out = run_json("06_temperature", "--quick")
    check(run_["program"] == "06_temperature" and run_["data"] == "UCI digits" and run_["draws"] == 10000 and run_["seeds"] == 2,
          "06's JSON says what was asked for")
    for r in run_["frequencies"]:
        what = "06, category %d: " % r["category"]
        check(abs(r["gumbel"] - r["softmax"]) < 4 * r["gumbel_se"], what + "Gumbel noise gives softmax's frequency")
        for noise in ["uniform_on_weights", "uniform_on_logits"]:
            check(abs(r[noise] - r["softmax"]) > 10 * r[noise + "_se"], what + noise + " does not")
            check(abs(r[noise] - r[noise + "_integral"]) <= 4 * r[noise + "_se"] + 1e-9, what + noise + " is as its integral says")
    check(len(run_["frequencies"]) == 3, "06 has three categories")
    trade = {(r["rule"], r["tau"]): r for r in run_["trade_off"]}
    for rule in ["gumbel-softmax", "st-gumbel-softmax"]:
        taus = sorted(tau for name, tau in trade if name == rule)
        check(len(taus) == 12 and all(trade[rule, a]["std"] > trade[rule, b]["std"] for a, b in zip(taus, taus[1:])),
              "06: %s spreads less the hotter it is" % rule)
        check(all(trade[rule, a]["bias"] < trade[rule, b]["bias"] + 4 * trade[rule, a]["bias_se"] for a, b in zip(taus, taus[1:]))
              and trade[rule, 5]["bias"] > trade[rule, 0.1]["bias"] + 4 * trade[rule, 0.1]["bias_se"], "06: %s has more bias" % rule)
    cold = trade["gumbel-softmax", 0.05], trade["st-gumbel-softmax", 0.05]
    check(cold[0]["bias"] < 4 * cold[0]["bias_se"] < cold[1]["bias"], "06: cold, the soft form has next to no bias, the other has")
    largest = [r["mean_of_largest"] for r in run_["density"]]
    check(len(largest) == 6 and largest == sorted(largest, reverse=True), "06: the colder, the nearer to one-hot")
    for r in run_["density"]:
        check(abs(r["integral_2"] - 1) < 1e-4 and abs(r["integral_3"] - 1) < 1e-4, "06: the density's integral at %s" % r["tau"])
    check(abs(run_["density"][0]["mean_of_first"] - 0.1) < 0.002, "06: cold, the mean of y is w")
    runs = {(r["rule"], r["temperature"]): r for r in run_["training"]}
    check(len(runs) == 16 and len(runs["gumbel-softmax", "2"]["by_seed"]) == 2, "06 trains each rule at five temperatures, and annealed in three ways")
    for (rule, tau), r in runs.items():
        check(rule == "gumbel-softmax" or r["one_hot"] == r["relaxed"], "06: a straight-through code is one-hot")
        check(r["annealed"] == (" to " in tau), "06: %s is annealed or not" % tau)
    soft = [runs["gumbel-softmax", tau] for tau in ["0.1", "0.5", "1", "2"]]
    check(all(a["one_hot"] - a["relaxed"] < b["one_hot"] - b["relaxed"] for a, b in zip(soft, soft[1:])), "06: the hotter, the larger the gap")
    check(runs["gumbel-softmax", "2 to 0.3"]["one_hot"] < soft[2]["one_hot"] - 0.5, "06: annealing beats a fixed 1")


def temperature_files():
    refused(2, "no/such/folder", "06_temperature", "--data", "no/such/folder")
    refused(2, "--steps", "06_temperature", "--steps", "3")


def sort_numbers():
    run_, out = run_json("07_sort_numbers", "--n", "5", "--quick", "--seed", "2")
    for key, kind in {"program": str, "seed": int, "n": int, "steps": int, "seconds": float, "rules": list}.items():
        check(isinstance(run_.get(key), kind), "07's JSON has " + key)
    check(run_["program"] == "07_sort_numbers" and run_["seed"] == 2 and run_["n"] == 5 and run_["steps"] == 200, "07's JSON says what was asked for")
    rows = {r["rule"]: {i["interval"]: i for i in r["intervals"]} for r in run_["rules"]}
    check(list(rows) == SORTING, "07 has every rule, and the peers")
    for name, intervals in rows.items():
        check(list(intervals)[0] == "U(0,1)" and "U(0,10)" in intervals and "U(10,20)" in intervals, "07: the intervals of " + name)
        for i in intervals.values():
            check(0 <= i["wrong"] <= i["any"] <= min(1, 5 * i["wrong"]) + 1e-9, "07: wrong and any of " + name)
    check(rows["zero"]["U(0,1)"]["any"] > 0.5, "07: the zero rule learns nothing")
    check("is {{0.5, 0.5}, {0.5, 0.5}}." in out, "07 says where Sinkhorn's operator goes at a tie")
    for name, intervals in rows.items():
        wrong = intervals["U(0,1)"]["any"] <= 0.01 and max(i["any"] for i in intervals.values()) >= 0.5
        check((" %s (U(" % name in out) == wrong, "07 says whether %s is right elsewhere" % name)
    for name in ["straight-through-sinkhorn", "gumbel-sinkhorn", "st-gumbel-sinkhorn", "neural-sort", "soft-sort"]:
        check(rows[name]["U(0,1)"]["any"] <= 0.05, "07: %s sorts: %s" % (name, rows[name]["U(0,1)"]))
    again, _ = run_json("07_sort_numbers", "--n", "5", "--quick", "--seed", "2")
    for r in [run_, again] + run_["rules"] + again["rules"]:
        r["seconds"] = 0
    check(run_ == again, "07: the same seed gives the same figures")


def sort_numbers_files():
    few, out = run_json("07_sort_numbers", "--n", "30", "--steps", "20", "--lists", "20", "--rule", "gumbel-sinkhorn", "--iterations", "3")
    check(few["rules"][0]["residual"] > 0.05 and "raise --iterations" in out, "07 says that 3 iterations are too few")
    many, _ = run_json("07_sort_numbers", "--n", "16", "--steps", "1", "--lists", "1")
    check([r["rule"] for r in many["rules"]] == [r for r in SORTING if "sinkhorn" in r or "-sort" in r], "07: for many numbers the fast rules")
    with tempfile.TemporaryDirectory() as folder:
        status, _, _ = run("07_sort_numbers", "--steps", "20", "--lists", "20", "--n", "3", "--out", folder)
        files = os.listdir(folder)
        check(status == 0 and "sort_numbers.csv" in files and "sort_numbers_loss.csv" in files, "07 writes its CSV")
    refused(2, "--rule is 'gumble'", "07_sort_numbers", "--rule", "gumble")
    refused(2, "--n", "07_sort_numbers", "--n", "0")
    refused(2, "--temperature must be more than 0", "07_sort_numbers", "--temperature", "0")
    refused(2, "--tolerance must be", "07_sort_numbers", "--tolerance", "1")
    refused(2, "--rate must be more than 0", "07_sort_numbers", "--rate", "-1")
    refused(2, "--lambda must be more than 0", "07_sort_numbers", "--lambda", "0")
    refused(1, "lower --rate", "07_sort_numbers", "--quick", "--rule", "gumbel-sinkhorn", "--rate", "1e30")
    for flag, value, rule in [("--temperature", "1e-30", "gumbel-sinkhorn"), ("--lambda", "1e60", "blackbox")]:
        refused(1, "choose a milder " + flag, "07_sort_numbers", "--quick", "--rule", rule, flag, value)


def jigsaw():
    run_, out = run_json("08_jigsaw", "--grid", "2", "--quick")
    check(run_["program"] == "08_jigsaw" and run_["data"] == "UCI digits" and run_["grid"] == 2 and run_["steps"] == 300, "08's JSON says what was asked for")
    for key in ["seconds", "wrong", "any", "wrong_pixels", "any_pixels", "kendall", "l1", "l2"]:
        check(isinstance(run_.get(key), (int, float)), "08's JSON has " + key)
    check(run_["wrong_pixels"] <= run_["wrong"] < 0.3 and run_["any_pixels"] <= run_["any"], "08: puzzles are put back: %s" % run_["wrong"])
    check(run_["kendall"] > 0.5 and run_["l2"] <= run_["l1"] < 0.1, "08: Kendall's tau, l1 and l2")
    again, _ = run_json("08_jigsaw", "--grid", "2", "--quick")
    run_["seconds"] = again["seconds"] = 0
    check(run_ == again, "08: the same seed gives the same figures")


def jigsaw_files():
    for flags in [["--alone"], ["--iterations", "20"], ["--grid", "8"], ["--grid", "5"]]:
        run_json("08_jigsaw", "--steps", "2", *flags)
    with tempfile.TemporaryDirectory() as folder:
        status, _, _ = run("08_jigsaw", "--steps", "2", "--out", folder)
        files = os.listdir(folder)
        check(status == 0 and all(f in files for f in ["jigsaw.csv", "jigsaw_puzzles.csv", "jigsaw_loss.csv"]), "08 writes its CSV")
    refused(2, "--grid is more than the 8 pixels", "08_jigsaw", "--grid", "9")
    refused(2, "--grid", "08_jigsaw", "--grid", "0")
    refused(2, "--temperature must be more than 0", "08_jigsaw", "--temperature", "0")
    refused(2, "no/such/folder", "08_jigsaw", "--data", "no/such/folder")
    refused(1, "lower --rate", "08_jigsaw", "--quick", "--rate", "1e30")
    refused(1, "choose a milder --temperature", "08_jigsaw", "--quick", "--temperature", "1e-30")


def kmeans_table(syllabus):
    """The table of k-means in examples/README.md, its bullets' figures, and where they come from: three seeds."""
    runs = [run_json("09_kmeans", "--seed", seed) for seed in ["1", "2", "3"]]
    check(all("all centres meet" in out for _, out in runs), "09 says that soft and hot the centres meet")
    runs = [run_ for run_, _ in runs]
    methods = [{r["method"]: r for r in run_["methods"]} for run_ in runs]

    def thrice(values, form):
        shown = [form(v) for v in values]
        return shown[0] if len(set(shown)) == 1 else " ".join(shown)

    def percent(x):
        return "0" if x == 0 else ("%.2f" % x).replace("0.", ".", 1)

    def count(x):
        return "never" if x is None else "{:,}".format(x) if x != 1000 else "1000"
    for name, label in {"lloyd": "Lloyd", "k-means++": "the same from k-means++", "newton": "Newton", "adam": "Adam 0.01, all points",
                        "adam-batches": "Adam 0.01 to 0, batches of 100", "gradient-descent": "gradient descent, rate 1",
                        "sgd": "SGD 0.5 to 0, batches of 100",
                        "sgd-document": "SGD on sums, rate 1e-5, as in the question that it comes from"}.items():
        rows = [m[name] for m in methods]
        line = "| " + " | ".join([label, thrice([r["loss"] for r in rows], lambda x: "%.0f" % x), thrice([r["over_lloyd_percent"] for r in rows], percent),
                                  thrice([r["steps_to_1_percent"] for r in rows], count), thrice([r["iterations"] for r in rows], "{:,}".format),
                                  thrice([r["largest_cluster"] for r in rows], count)]) + " |"
        check(line in syllabus, "examples/README.md has the row " + line)
    ones = [(run_["one_centre"], 100 * (run_["one_centre"] / m["lloyd"]["loss"] - 1)) for run_, m in zip(runs, methods)]
    line = "| one centre for all points | %s | %s | | | 1000 |" % (" ".join("%.0f" % x for x, _ in ones), " ".join(percent(x) for _, x in ones))
    check(line in syllabus, "examples/README.md has the row " + line)
    words = " ".join(syllabus.split())
    points = [run_["separated"]["from_points"] for run_ in runs]
    for said in ["a centre in %d, %d and %d of them" % tuple(p["clusters_met"] for p in points),
                 "%.0f, %.0f and %.0f %% over Lloyd" % tuple(p["over_lloyd_percent"] for p in points)]:
        check(said in words, "examples/README.md says " + said)
    rules = [{(r["rule"], r["tau_over_loss"]): r for r in run_["rules"]} for run_ in runs]

    def ends(rule, tau, key="over_lloyd_percent"):
        return sorted(r[rule, tau][key] for r in rules)
    soft, hot, through, cold = ends("soft", 0.01), ends("soft", 0.1), ends("straight-through", 0.1), ends("straight-through", 0.001)
    for said in ["ends %.1f to %.1f %% below Lloyd at 0.01, %.1f to %.1f %% over at 0.1" % (-soft[2], -soft[0], hot[0], hot[2]),
                 "up to %.1f %% below at 0.001 and up to %.1f %% over at 0.1" % (-cold[0], through[2]),
                 "up to %s centres" % {4: "four", 5: "five"}.get(ends("straight-through", 0.1, "empty_clusters")[2])]:
        check(said in words, "examples/README.md says " + said)
    check(all(abs(x[0] / r["soft", 1]["loss"] - 1) < 1e-4 for x, r in zip(ones, rules)), "09: soft at 1 is as one centre")


def nearest_two(point, centres):
    """The squared distances to the nearest two centres."""
    return sorted(sum((a - b) ** 2 for a, b in zip(point, c)) for c in centres)[:2]


def kmeans(syllabus):
    run_, out = run_json("09_kmeans", "--quick")
    for key, kind in {"program": str, "seed": int, "points": int, "dimensions": int, "clusters": int, "methods": list,
                      "newton_minus_lloyd": float}.items():
        check(isinstance(run_.get(key), kind), "09's JSON has " + key)
    check(run_["program"] == "09_kmeans" and run_["seed"] == 1 and (run_["points"], run_["dimensions"], run_["clusters"]) == (1000, 200, 20),
          "09's JSON says what was asked for")
    rows = {r["method"]: r for r in run_["methods"]}
    check(list(rows) == ["lloyd", "k-means++", "newton", "adam", "adam-batches", "gradient-descent", "sgd", "sgd-document"], "09 has every method")
    for name, r in rows.items():
        check(list(r)[:5] == ["method", "loss", "iterations", "steps_to_1_percent", "largest_cluster"], "09: the keys of " + name)
        within = r["steps_to_1_percent"]
        check(within is None or 0 <= within <= r["iterations"], "09: %s: within 1 %% after %s steps" % (name, within))
    lloyd = rows["lloyd"]["loss"]
    check(run_["newton_minus_lloyd"] < 1e-10 and abs(rows["newton"]["loss"] / lloyd - 1) < 1e-12 and
          rows["newton"]["iterations"] == rows["lloyd"]["iterations"], "09: Newton is Lloyd: %s" % run_["newton_minus_lloyd"])
    check(rows["adam"]["steps_to_1_percent"] <= 80 and rows["adam"]["loss"] < 1.005 * lloyd, "09: Adam reaches Lloyd: %s" % rows["adam"])
    for name in ["gradient-descent", "sgd"]:
        r = rows[name]
        check(r["largest_cluster"] > 400 and 1.015 * lloyd < r["loss"] < min(1.06 * lloyd, run_["one_centre"]) and
              r["steps_to_1_percent"] is None, "09: %s collapses: %s" % (name, r))
    check("collapses" in out and "981, 1 x 19" in out, "09 says so")
    check("its largest cluster has 981 points" in out, "09 says where the question's settings end")
    apart = run_["separated"]
    check(abs(apart["over_lloyd_percent"]) < 0.2 and apart["clusters_met"] == 20, "09: on separated clusters SGD reaches Lloyd: %s" % apart)
    check(apart["from_points"]["over_lloyd_percent"] > 10 and apart["from_points"]["clusters_met"] < 20,
          "09: but not from points that share a cluster: %s" % apart["from_points"])
    check(run_["parabola_off"] < 1e-13 and -1e-12 < run_["parabola_minus_loss_least"] <= 0 and run_["kinks"] >= 3,
          "09: the parabola lies on the loss, and nowhere below: %s" % run_["parabola_minus_loss_least"])
    check("the loss is no higher" in out and ("all centres meet" in out) == any(r["centres_spread_over_lloyd"] < 0.01 for r in run_["rules"]),
          "09 says what its figures say")
    rules = {(r["rule"], r["tau_over_loss"]): r for r in run_["rules"]}
    check(len(rules) == 9 and abs(rules["soft", 1]["loss"] / run_["one_centre"] - 1) < 0.01 and
          rules["soft", 1]["centres_spread_over_lloyd"] < 0.5, "09: soft and hot, the centres meet")
    check(rules["zero", None]["loss"] == rows["adam"]["loss"], "09: the zero rule is Adam's row")
    again, _ = run_json("09_kmeans", "--quick")
    for r in run_["methods"] + again["methods"]:
        r["seconds"] = 0
    check(run_ == again, "09: the same seed gives the same figures")
    for seed in ["2", "3"]:
        other, _ = run_json("09_kmeans", "--seed", seed, "--start", "cube", "--steps", "5")
        check(other["newton_minus_lloyd"] < 1e-10, "09: Newton is Lloyd, from a cube start, seed " + seed)
    apart, _ = run_json("09_kmeans", "--problem", "separated", "--quick")
    rows = {r["method"]: r for r in apart["methods"]}
    check(apart["clusters_met"] == 20 and "sgd-document" not in rows, "09: the separated problem")
    for name in ["k-means++", "newton", "adam", "gradient-descent", "sgd"]:
        check(abs(rows[name]["loss"] / rows["lloyd"]["loss"] - 1) < 0.002, "09: on separated clusters all come to Lloyd's: %s" % rows[name])
    apart, out = run_json("09_kmeans", "--problem", "separated", "--start", "points", "--tries", "1", "--quick")
    check(apart["clusters_met"] < 20 and "has a centre in %d of the 20 clusters" % apart["clusters_met"] in out, "09 says what the start misses")
    kmeans_table(syllabus)
    digits, out = run_json("09_kmeans", "--problem", "digits", "--steps", "10")
    check("collapses" not in out and "all centres meet" not in out, "09: on digits nothing collapses, and it does not say so")
    check(digits["data"] == "UCI digits" and (digits["points"], digits["clusters"]) == (1797, 10) and digits["newton_minus_lloyd"] < 1e-10, "09 takes the digits")


def table_of(folder, name):
    with open(os.path.join(folder, name), newline="") as f:
        return list(csv.reader(f))


def kmeans_files():
    with tempfile.TemporaryDirectory() as folder:
        def write(name, text):
            path = os.path.join(folder, name)
            with open(path, "w") as f:
                f.write(text)
            return path
        # Three blobs far from 0, with a header; one line stands twice.
        blobs = [(1e6 + 10 * (i % 3) + i * 7 % 11 / 10, -1e6 + i * 5 % 13 / 10) for i in range(60)]
        points = write("blobs.csv", "x,y\n" + "".join("%r,%r\n" % b for b in blobs) + "%r,%r\n" % blobs[-1])
        flags = ["--data", points, "--clusters", "3", "--start", "k-means++", "--tries", "10", "--steps", "20"]
        run_, _ = run_json("09_kmeans", *flags, "--out", folder)
        check((run_["points"], run_["dimensions"], run_["clusters"], run_["data"]) == (61, 2, 3, "blobs.csv") and run_["newton_minus_lloyd"] < 1e-9,
              "09 takes a CSV file")
        names = ["kmeans", "kmeans_newton", "kmeans_rules", "kmeans_centres", "kmeans_clusters", "kmeans_cells", "kmeans_cells_found",
                 "kmeans_line", "kmeans_loss", "kmeans_sizes"]
        check({n + ".csv" for n in names} <= set(os.listdir(folder)), "09 writes its CSV")
        centres = [[float(x) for x in r] for r in table_of(folder, "kmeans_centres.csv")[1:]]
        member = [int(r[1]) - 1 for r in table_of(folder, "kmeans_clusters.csv")[1:]]
        for m in range(3):
            own = [b for b, c in zip(blobs + blobs[-1:], member) if c == m]
            check(len(own) >= 20 and all(abs(sum(b[j] for b in own) / len(own) - centres[m][j]) < 1e-6 for j in range(2)),
                  "09: a centre is the mean of its points, where the file has them")
        for name in ["kmeans_cells", "kmeans_cells_found"]:
            rows = [r for r in table_of(folder, name + ".csv")[1:] if r[1] != "nan"]
            names = list(dict.fromkeys(r[0] for r in rows))
            check(names[:2] == ["borders", "centres"], "09: %s begins with the borders, %s" % (name, names))
            ends = [[float(r[1]), float(r[2])] for r in rows if r[0] == "borders"]
            middles = [[float(r[1]), float(r[2])] for r in rows if r[0] == "centres"]
            check(len(middles) == 3 and len(ends) >= 4, "09: %s has borders" % name)
            for p in ends:
                a, b = nearest_two(p, middles)
                check(b - a < 1e-6 * b, "09: a border of %s is as far from two centres, %s, %s" % (name, a, b))
        starts = {}
        for r in table_of(folder, "kmeans_loss.csv")[1:]:
            starts.setdefault(r[0], r[1])
        check(len(starts) >= 5 and set(starts.values()) == {"1"}, "09: kmeans_loss shows the starts: %s" % starts)
        line = {}
        for r in table_of(folder, "kmeans_line.csv")[1:]:
            line.setdefault(r[0].split(":")[0].split(" of ")[0], []).append((float(r[1]), float(r[2])))
        loss, parabola, kinks = line["loss"], dict(line["parabola"]), sorted(k for k, _ in line["a point changes its cluster"])
        (lands, lowest), = line["Newton's step"]
        near = min(parabola, key=lambda s: abs(s - lands))
        check(abs(parabola[near] - lowest) < 1e-4 and lowest <= min(y for y in parabola.values() if y == y) + 1e-12,
              "09: Newton's step ends where the parabola is lowest: %s" % lowest)
        left, right = max(k for k in kinks if k < 0), min(k for k in kinks if k > 0)
        check(all(abs(y - parabola[s]) < 1e-12 if left <= s <= right else parabola[s] != parabola[s] or parabola[s] > y - 1e-12 for s, y in loss),
              "09: the parabola lies on the loss inside its cell, and above outside")
        step = loss[1][0] - loss[0][0]
        bends = [(loss[i - 1][1] - 2 * loss[i][1] + loss[i + 1][1]) / step ** 2 for i in range(1, len(loss) - 1)]
        smooth = [i for i in range(1, len(bends)) if not any(loss[i - 1][0] <= k <= loss[i + 2][0] for k in kinks)]
        check(len(smooth) > 200 and all(abs(bends[i] - bends[i - 1]) < 1e-4 for i in smooth), "09: between the kinks the second difference stands still")

        def file_refused(text, message, *flags):
            refused(1, message, "09_kmeans", "--data", write("bad.csv", text), "--clusters", "2", *flags)
        file_refused("1,2\n3\n", "bad.csv, line 2 has 1 cell; need 2, as line 1 has")
        file_refused("1,2\n3,four\n", "bad.csv, line 2, column 2 is 'four'; need a number")
        file_refused("1,2\nnan,4\n", "bad.csv, line 2, column 1 is 'nan'; need a finite number")
        file_refused("", "bad.csv holds no points; need a line of numbers for each")
        file_refused("5,5\n" * 9, "2 clusters for 9 points of which 1 is distinct; need at most one cluster a distinct point")
        file_refused("0\n1e200\n", "for a sum of squares: scale them")
        refused(2, "--clusters is 20, the default, for 9 points", "09_kmeans", "--data", write("nine.csv", "5,5\n" * 9))
        # Lloyd's loss is 0.
        for i, zero in enumerate([["--data", write("nine.csv", "5,5\n" * 9), "--clusters", "1", "--quick"],
                                  ["--points", "20", "--clusters", "20", "--steps", "3"]]):
            into = os.path.join(folder, "zero%d" % i)
            run_, out = run_json("09_kmeans", *zero, "--out", into)
            check(run_["methods"][0]["loss"] == 0 and run_["methods"][0]["over_lloyd_percent"] is None and "nan" not in out and "kmeans_sizes.csv" in os.listdir(into),
                  "09: a loss of 0, " + " ".join(zero))
        refused(2, "--data and --problem file exclude each other", "09_kmeans", "--data", points, "--problem", "file")
        for flag in ["--points", "--dimensions", "--spread"]:
            refused(2, "--data and %s exclude each other" % flag, "09_kmeans", "--data", points, flag, "3")
            refused(2, "--problem digits and %s exclude each other" % flag, "09_kmeans", "--problem", "digits", flag, "3")
        refused(2, "--problem uniform and --spread exclude each other", "09_kmeans", "--spread", "3")
        file_refused("x\n0,5\n1,5\n", "bad.csv, line 2 has 2 cells; need 1, as the header in line 1 has")
        with open(os.path.join(folder, "cut.npy"), "wb") as f:
            header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9, 2), }\n"
            f.write(b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header + b"\x00" * 16)
        refused(1, "as its header promises the shape (9, 2)", "09_kmeans", "--data", os.path.join(folder, "cut.npy"))
    refused(2, "there is no file or folder 'no/such/file'", "09_kmeans", "--data", "no/such/file")
    refused(2, "it is empty; need a name", "09_kmeans", "--data", "")
    refused(2, "--problem is 'round'; need uniform, separated or digits", "09_kmeans", "--problem", "round")
    refused(2, "--data and --problem uniform exclude each other", "09_kmeans", "--data", build, "--problem", "uniform")
    refused(2, "--start is 'middle'", "09_kmeans", "--start", "middle")
    refused(2, "--clusters is 21 for 20 points", "09_kmeans", "--points", "20", "--clusters", "21")
    refused(2, "--batch is more than the 50 points", "09_kmeans", "--points", "50", "--batch", "51")
    refused(2, "--rate must be more than 0", "09_kmeans", "--rate", "0")
    for spread in ["-1", "1e200"]:
        refused(2, "--spread must be 0 or more, and at most 1e100", "09_kmeans", "--problem", "separated", "--spread", spread)
    refused(1, "need a lower rate", "09_kmeans", "--quick", "--rate", "1e300")


SEARCH = ["darts", "darts-second-order", "gumbel-softmax", "st-all", "gdas", "gdas-scalars", "score-function", "exact"]
OPERATIONS = ["none", "skip", "conv3x3", "conv5x5", "avg3x3", "max3x3"]


def architecture_search():
    run_, out = run_json("10_architecture_search", "--quick")
    check(run_["program"] == "10_architecture_search" and run_["seed"] == 1 and run_["data"] == "UCI digits", "10's JSON says what was asked for")
    check([m["method"] for m in run_["methods"]] == SEARCH, "10 has every method")
    for m in run_["methods"]:
        check(len(m["cell"]) == 3 and set(m["cell"]) <= set(OPERATIONS[1:]), "10: the cell of " + m["method"])
        check(m["test_accuracy"] > 0.8 and m["ms_per_step"] > 0 and 0 < m["kept_bytes"] < m["peak_bytes"], "10: the figures of %s: %s" % (m["method"], m))
    check(len(run_["random"]) == 3 and len(run_["fixed"]) == 2, "10 has random and fixed cells beside them")
    chance = [r["test_accuracy"] for r in run_["random"]]
    for name, where in [("better_than_random", lambda a: a > max(chance)), ("worse_than_random", lambda a: a < min(chance)),
                        ("among_random", lambda a: min(chance) <= a <= max(chance))]:
        check(run_[name] == [m["method"] for m in run_["methods"] if where(m["test_accuracy"])], "10: " + name)
    check(("search does not beat random choice" in out) == bool(run_["among_random"])
          and ("search is worse than random choice" in out) == bool(run_["worse_than_random"]), "10 says so")
    by_cell = {}
    for r in run_["methods"] + run_["random"] + run_["fixed"]:
        check(by_cell.setdefault(tuple(r["cell"]), r["test_accuracy"]) == r["test_accuracy"], "10: the same cell, the same accuracy")
    cost = {(c["method"], c["candidates"]): c for c in run_["cost"]}
    for key in ["kept_bytes", "peak_bytes"]:
        growth = {m: cost[m, 8][key] / cost[m, 2][key] for m in ["darts", "gumbel-softmax", "gdas", "score-function"]}
        check(growth["darts"] > 3 and growth["gumbel-softmax"] > 3, "10: where all operations run, %s grows: %s" % (key, growth))
        check(growth["gdas"] < 1.2 and growth["score-function"] < 1.2, "10: where one runs, %s does not: %s" % (key, growth))
    check(4 * cost["gdas", 8]["kept_bytes"] < cost["darts", 8]["kept_bytes"], "10: gdas keeps less than a quarter at 8 operations")
    for weights in ["of a mixture", "of sampled cells"]:
        rows = {g["method"]: g for g in run_["gradient"] if g["weights"] == weights}
        check(list(rows) == ["darts", "gumbel-softmax", "st-all", "gdas", "gdas-scalars", "score-function", "score-function+mean"], "10 judges the gradients")
        check(rows["score-function"]["bias"] < 1e-4 and rows["darts"]["std"] == 0, "10: the score function is exact on average, DARTS draws nothing")
        check(rows["gdas"]["bias"] > rows["darts"]["bias"] + 2 * rows["gdas"]["bias_se"], "10: gdas has more bias than DARTS' mixture, weights " + weights)
    check(len(run_["gdas"]) == 1 and run_["gdas"][0]["nothing"]["cell"] == run_["methods"][4]["cell"], "10: both forms of GDAS side by side")


def architecture_search_files():
    short = ["--quick", "--steps", "3", "--warm-up", "2", "--retrain", "3", "--cells", "1", "--draws", "10", "--batch", "20", "--channels", "2"]

    def some():
        run_, _ = run_json("10_architecture_search", *short, "--methods", "gdas,darts-second-order", "--seed", "5")
        for r in run_["methods"] + run_["cost"]:
            r["ms_per_step"] = 0
        return run_
    first = some()
    check(first == some(), "10: the same seed gives the same figures")
    check([m["method"] for m in first["methods"]] == ["gdas", "darts-second-order"] and "gdas" not in first, "10 --methods")
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "it's new")
        status, _, _ = run("10_architecture_search", *short, "--methods", "gdas,gdas-scalars", "--out", place)
        names = [".csv", "_gdas.csv", "_cost.csv", "_gradient.csv", "_ms.csv", "_bytes.csv", "_probabilities.csv", "_cells.dot"]
        check(status == 0 and {"architecture_search" + n for n in names} <= set(os.listdir(place)), "10 writes its files")
    refused(2, "--methods has 'dart'", "10_architecture_search", "--methods", "gdas,dart")
    refused(2, "--rate must be more than 0", "10_architecture_search", "--rate", "0")
    refused(2, "--retrain-rate must be more than 0", "10_architecture_search", "--retrain-rate", "-1")
    refused(2, "--bias-temperature must be at least 1e-20", "10_architecture_search", "--bias-temperature", "1e-30")
    refused(2, "--temperature-end must be at least", "10_architecture_search", "--temperature-end", "0")
    refused(2, "--temperature must be at least 1e-20, and at most 1e20", "10_architecture_search", "--temperature", "1e40")
    refused(2, "--architecture-rate must be at least 0", "10_architecture_search", "--architecture-rate", "-1")
    refused(2, "--methods has 'gdas' twice", "10_architecture_search", "--methods", "gdas,gdas")
    refused(2, "--cells must be at most 100", "10_architecture_search", "--cells", "101")
    refused(2, "--batch is more than half of the 1437 digits", "10_architecture_search", "--batch", "719")
    refused(2, "no/such/folder", "10_architecture_search", "--data", "no/such/folder")
    refused(1, "need a lower rate: --rate", "10_architecture_search", *short, "--rate", "1e30")
    refused(1, "need a lower rate: --retrain-rate", "10_architecture_search", *short, "--retrain-rate", "1e30")


COLUMNS = ["score-function", "score-function+mean", "nvil", "darn", "muprop", "straight-through", "annealed-straight-through",
           "gumbel-softmax", "st-gumbel-softmax", "reinmax", "zgr", "gumbel-rao", "score-function+leave-one-out", "rebar", "disarm"]
STOCHASTIC = {"11_structured_prediction": (["categorical", "binary"], 32), "12_categorical_vae": (["notebook", "categorical", "binary"], 64)}


def without_times(rows):
    return [{k: v for k, v in r.items() if k not in ("seconds", "ms_per_step")} for r in rows]


def stochastic_networks():
    published = {("11_structured_prediction", "categorical"): 59.0, ("11_structured_prediction", "binary"): 58.5,
                 ("12_categorical_vae", "categorical"): 101.5, ("12_categorical_vae", "binary"): 105.0}
    for program, (networks, pixels) in STOCHASTIC.items():
        run_, out = run_json(program, "--quick")
        check(run_["program"] == program and run_["seed"] == 1 and run_["data"] == "UCI digits" and run_["steps"] > 0, program + ": what was asked for")
        rows = {(r["network"], r["rule"]): r for r in run_["rows"]}
        check(list(rows) == [(n, r) for n in networks for r in COLUMNS if r != "disarm" or n == "binary"], program + " has every column")
        for (network, rule), r in rows.items():
            what = "%s: %s, %s: %s" % (program, network, rule, r)
            check(list(r) == ["network", "rule", "seed", "m1", "m100", "m1000", "kl", "train", "ms_per_step", "seconds", "published"], "the keys of " + what)
            check(0.2 * pixels < r["m1000"] and r["m100"] <= r["m1"] and r["m1"] < pixels * 0.7 and r["ms_per_step"] > 0, "the figures of " + what)
            check((r["kl"] is None) == (program[:2] == "11") and (r["kl"] is None or r["kl"] > 0), "the KL of " + what)
        for (_, network), figure in [(k, v) for k, v in published.items() if k[0] == program]:
            check(rows[network, "gumbel-softmax"]["published"] == figure, "%s: what is published of %s" % (program, network))
        check("disarm: logits are" in out and "need (..., 2), binary variables" in out, program + " says why a column is empty")


def hand_made(program, folder, *names):
    """Files of a run's folder that are not as the program writes them, for the table and the pictures (their CSV alone: no gnuplot)."""
    with tempfile.TemporaryDirectory() as place:
        def table():
            r = subprocess.run([os.path.join(build, program), "--run", folder, "--table", "--out", place], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, universal_newlines=True, env={"PATH": ""})
            return r.returncode, r.stdout, re.sub(r"[^\n]*gnuplot[^\n]*\n", "", r.stderr)
        for name in names:
            judged(os.path.join(folder, name), table, check, every=1 if o.figures else 40)


def files_by_hand():
    """All changes once; a few where another compiler or a sanitizer looks on."""
    for program, flags, names in [
            ("12_categorical_vae", NETWORKS + "categorical --rules gumbel-softmax,muprop --temperatures 2",
             ["grid.json", "categorical,muprop,1.json", "categorical,gumbel-softmax-tau2,1.json"]),
            ("13_semi_supervised", SHORT_RUNS["13_semi_supervised"][0], ["grid.json", "cost.json", "marginalised,1.json"])]:
        with tempfile.TemporaryDirectory() as folder:
            kept = os.path.join(folder, "run")
            run_json(program, *flags.split(), "--run", kept)
            hand_made(program, kept, *names)


def shapes(file):
    return {name: shape for name, (shape, _) in safetensors(file).items()}


def accuracy_of(file, cell):
    """Of q(y|x) of program 13, computed anew from the saved parameters on the embedded test digits."""
    found = safetensors(file)
    (w0, b0, w1, b1) = [found["%s.parameters.%d" % (cell, i)] for i in range(4)]

    def dense(x, w, b):
        (_, n), numbers = w
        return [sum((v * numbers[i * n + j] for i, v in enumerate(x) if v), b[1][j]) for j in range(n)]
    with gzip.open(os.path.join(source, "examples", "data", "digits.csv.gz"), "rt") as f:
        rows = [[int(v) for v in line.split(",")] for line in f][1437:]
    right = 0
    for *pixels, label in rows:
        logits = dense([max(0, v) for v in dense([v / 16 for v in pixels], w0, b0)], w1, b1)
        right += max(range(10), key=logits.__getitem__) == label
    return right / len(rows)


def first_mark_too_late(program, folder):
    """Nothing is known of a rule at a time before its curve begins."""
    for rule, seconds in [("gumbel-softmax", [1, 2, 3, 4]), ("muprop", [5, 6, 7, 8])]:
        for seed in [1, 2]:
            file = os.path.join(folder, "categorical,%s,%d.json" % (rule, seed))
            with open(file) as f:
                row = json.load(f)
            row["curve"] = {"step": [1, 2, 3, 4], "seconds": seconds, "bound": [40, 30, 20, 10]}
            with open(file, "w") as f:
                json.dump(row, f)
    out = run(program, "--run", folder, "--table")[1]
    check(re.search(r"after 4 s of training +- +10\.0\n", out), "%s: a curve that begins later has no figure:\n%s" % (program, out))
    row["curve"] = {"step": [], "seconds": [], "bound": []}
    with open(file, "w") as f:
        json.dump(row, f)
    out = run(program, "--run", folder, "--table")[1]
    check(re.search(r"after 4 s of training +- +10\.0\n", out), "%s: one without any place has no say:\n%s" % (program, out))


def stochastic_network_files():
    for program, (networks, _) in STOCHASTIC.items():
        short = ["--quick", "--steps", "4", "--test", "20", "--bound-test", "4", "--networks", "categorical"]
        few = short + ["--rules", "gumbel-softmax,muprop", "--seeds", "2", "--temperatures", "0.5,2"]
        with tempfile.TemporaryDirectory() as folder:
            place, kept = os.path.join(folder, "pictures"), os.path.join(folder, "run")
            networks_file = os.path.join(folder, "networks.safetensors")
            first, out = run_json(program, *few, "--out", place, "--run", kept, "--save", networks_file)
            found, pixels = shapes(networks_file), STOCHASTIC[program][1]
            inner = {"11_structured_prediction": [32, 200, 200, 32], "12_categorical_vae": [64, 200, 200, 64]}[program]
            check(sorted(found) == sorted("categorical/%s/%d.parameters.%d" % (r, s, i) for r in
                                          ["gumbel-softmax", "muprop", "gumbel-softmax-tau0.5", "gumbel-softmax-tau2", "st-gumbel-softmax-tau0.5",
                                           "st-gumbel-softmax-tau2"] for s in [1, 2] for i in range(6)), "%s --save: %s" % (program, sorted(found)))
            check([found["categorical/muprop/2.parameters.%d" % i] for i in range(6)]
                  == [s for a, b in zip(inner, inner[1:]) for s in [(a, b), (b,)]], "%s --save: weights and biases in turn" % program)
            key = program[3:]
            names = [key + "_categorical" + n for n in [".csv", "_steps.csv", "_seconds.csv", "_temperature.csv", "_digits.csv"]]
            check(set(names) <= set(os.listdir(place)), "%s writes its files: %s" % (program, os.listdir(place)))
            check(len(first["rows"]) == 4 and len(first["temperatures"]) == 8, program + ": two rules, two seeds, two temperatures")
            again, _ = run_json(program, *few, "--run", kept, "--resume")
            check(again["rows"] == first["rows"], program + " --resume: what is done stays")
            table, _ = run_json(program, "--table", "--run", kept)
            check(table["rows"] == first["rows"], program + " --table")
            other = [p for p in STOCHASTIC if p != program][0]
            refused(2, "holds a run of " + program, other, "--table", "--run", kept)
            refused(2, 'fixed_temperatures is "0.5,2" there and "1" here', program, *few[:-1], "1", "--run", kept, "--resume")
            first_mark_too_late(program, kept)
            two, _ = run_json(program, *few, "--jobs", "2")
            check(without_times(two["rows"]) == without_times(first["rows"]), program + " --jobs 2: the same table")
        refused(2, "--rules has 'gumble'", program, "--rules", "gumble")
        refused(2, "--networks has 'small'", program, "--networks", "small")
        refused(2, "--temperatures has '0'", program, *short, "--temperatures", "0")
        refused(2, "--rate must be at least 0", program, *short, "--rate", "-1")
        refused(2, "--tau-rate must be at least 0", program, *short, "--tau-rate", "-0.5")
        refused(2, "no/such/folder", program, "--data", "no/such/folder")
        refused(1, "--rate", program, *short, "--rules", "straight-through", "--rate", "1e30")


SEMI_SUPERVISED = ["labels-only", "marginalised", "gumbel-softmax", "st-gumbel-softmax"]


def semi_supervised():
    with tempfile.TemporaryDirectory() as folder:
        place = os.path.join(folder, "run")
        run_, out = run_json("13_semi_supervised", "--quick", "--out", folder, "--run", place)
        check(run_["program"] == "13_semi_supervised" and run_["seed"] == 1 and run_["data"] == "UCI digits" and
              (run_["train"], run_["test"], run_["steps"]) == (1437, 360, 400), "13's JSON says what was asked for")
        check([r["method"] for r in run_["rows"]] == SEMI_SUPERVISED, "13 has every method")
        rows = {r["method"]: r for r in run_["rows"]}
        for name, r in rows.items():
            check(list(r) == ["method", "seed", "accuracy", "bound", "ms_per_step"], "13: the keys of " + name)
            check(r["accuracy"] > 0.7 and r["ms_per_step"] > 0, "13: %s learns: %s" % (name, r["accuracy"]))
            check(name == "labels-only" or r["bound"] > rows["labels-only"]["bound"] + 0.3,
                  "13: digits without labels teach the generator, %s: %s" % (name, r["bound"]))
        check([(r["method"], r["classes"]) for r in run_["cost"]] == [(m, k) for k in [5, 10, 20, 50, 100] for m in SEMI_SUPERVISED[1:]]
              and all(list(r) == ["method", "classes", "ms_per_step"] and r["ms_per_step"] > 0 for r in run_["cost"]), "13 measures every cost")
        check("k (I + G)" in out and "published" not in out, "13 says what its costs are, and on other digits than MNIST's nothing published")
        names = ["semi_supervised", "semi_supervised_cost", "semi_supervised_cost_lines", "semi_supervised_accuracy", "semi_supervised_bound"]
        check({n + ".csv" for n in names + ["semi_supervised_analogies_" + m for m in SEMI_SUPERVISED]} <= set(os.listdir(folder)), "13 writes its CSV")
        # A digit and its style in ten classes, eight times over.
        check(len(table_of(folder, "semi_supervised_analogies_marginalised.csv")) == 1 + 88 * 64, "13: the analogies' rows of pixels")
        shown, _ = run_json("13_semi_supervised", "--table", "--run", place)
        check(shown["rows"] == run_["rows"] and shown["cost"] == run_["cost"], "13 --table shows what the folder has")
        refused(2, "", "13_semi_supervised", "--quick", "--resume", "--run", place, "--alpha", "2")


def semi_supervised_files():
    few = ["--steps", "4" if o.brief else "40", "--classes", "5", "--methods", "st-gumbel-softmax,labels-only", "--seeds", "2"]
    with tempfile.TemporaryDirectory() as folder:
        file, other = os.path.join(folder, "saved.safetensors"), os.path.join(folder, "UCI digits")
        first, second = [run_json("13_semi_supervised", *few, *more)[0] for more in [["--save", file], ["--jobs", "2"]]]
        found = shapes(file)
        check(len(found) == 4 * 14 and found["labels-only/2.parameters.0"] == (64, 256), "13 --save: %s" % sorted(found))
        row, = [r for r in first["rows"] if (r["method"], r["seed"]) == ("labels-only", 2)]
        check(abs(accuracy_of(file, "labels-only/2") - row["accuracy"]) < 1e-3, "13 --save has what it judged: %s" % row)
        # Others of the same name are told by what they are.
        os.mkdir(other)
        idx(other, "train", 1797)
        place = os.path.join(folder, "run")
        short = ["--methods", "labels-only", "--steps", "4", "--run", place]
        run("13_semi_supervised", *short)
        refused(2, "where digits is [", "13_semi_supervised", *short, "--resume", "--data", other)
    for r in first["rows"] + second["rows"]:
        r["ms_per_step"] = 0
    check(first["rows"] == second["rows"] and [r["seed"] for r in first["rows"]] == [1, 2, 1, 2], "13: the same seeds give the same figures, in any order")
    refused(2, "--methods has 'gumble'", "13_semi_supervised", "--methods", "gumble")
    refused(2, "--classes has '7'", "13_semi_supervised", "--classes", "7")
    refused(2, "--conv needs digits of 28 x 28", "13_semi_supervised", "--conv")
    refused(2, "--rate must be more than 0", "13_semi_supervised", "--rate", "0")
    refused(2, "--alpha must be more than 0", "13_semi_supervised", "--alpha", "-1")
    refused(2, "--dropout must be at least 0 and less than 1", "13_semi_supervised", "--dropout", "1")
    refused(2, "--labelled-weight must be at least 0", "13_semi_supervised", "--labelled-weight", "-1")
    refused(2, "--decline must be at least 0 and at most 1", "13_semi_supervised", "--decline", "2")
    refused(2, "--labels is more than the", "13_semi_supervised", "--labels", "1000")
    refused(2, "no/such/folder", "13_semi_supervised", "--data", "no/such/folder")
    refused(1, "lower --rate", "13_semi_supervised", "--quick", "--methods", "labels-only", "--rate", "1e30")


def few_steps():
    """All that the programs compute and draw, in steps too few to learn by: a crash, or a sanitizer's word, ends a run."""
    longer = {"05_estimators": "--quick --draws 500 --tuning 1", "12_categorical_vae": NETWORKS + "notebook"}
    files = {longer["05_estimators"]: ["estimators.csv"] + ["estimators_%s.csv" % n for n in ["bias_variance", "unbiased", "budget"]],
             SHORT_RUNS["06_temperature"][0]: ["temperature_%s.csv" % n for n in ["noise", "trade_off", "density", "simplex", "training"]]}
    for program, flags in [(p, flags) for p, runs in SHORT_RUNS.items() if p[:2] > "04" for flags in runs] + list(longer.items()):
        with tempfile.TemporaryDirectory() as folder:
            more = ["--run", os.path.join(folder, "run")] if program[:2] in ["11", "12", "13"] else []
            run_json(program, *flags.split(), *more, "--out", folder)
            check(set(files.get(flags, [])) <= set(os.listdir(folder)), program + " writes its CSV")
            if more:
                run_json(program, "--table", *more)


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--build", required=True)
ap.add_argument("--source", required=True)
ap.add_argument("--figures", action="store_true", help="instead, what each program learns, judged by its figures, and every change of a file")
ap.add_argument("--brief", action="store_true", help="fewer steps, and none in which a program has no memory, for a build with sanitizers")
o = ap.parse_args()
build, source = o.build, o.source
programs = sorted(n[:-4] for n in os.listdir(os.path.join(source, "examples")) if re.match(r"\d\d_.*\.cpp$", n))
check(programs == list(SHORT_RUNS), "short_runs.py has each program's: %s" % list(SHORT_RUNS))
with open(os.path.join(source, "README.md")) as f:
    text = f.read()
with open(os.path.join(source, "examples", "README.md")) as f:
    syllabus = f.read()
files_by_hand()
if o.figures:
    estimators(syllabus)
    temperature()
    sort_numbers()
    jigsaw()
    kmeans(syllabus)
    architecture_search()
    stochastic_networks()
    semi_supervised()
else:
    manners()
    chain_rule(text)
    sections(text)
    argmax_gradients()
    readme_table(text)
    zero_one_loss()
    your_own(text)
    few_steps()
    sort_numbers_files()
    jigsaw_files()
    semi_supervised_files()
    estimators_files()
    temperature_files()
    kmeans_files()
    architecture_search_files()
    stochastic_network_files()
sys.exit(verdict())

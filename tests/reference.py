#!/usr/bin/env python3
"""The acceptance thresholds of the 0/1-loss experiment, on MNIST's 10,000 test digits (first 8,000 to train).

  tests/reference.py --program build/03_zero_one_loss --data FOLDER [--seeds 3]

Judged as the PyTorch reference was: every learning rule at least 0.78 on each seed and 0.93 at its best (gumbel-softmax
0.92, score-function 0.80), cross-entropy 0.945 on each, the zero rule unmoved, straight-through equal to exact.
"""
import argparse, json, subprocess, sys, tempfile, os

LEAST, BEST = 0.78, {"gumbel-softmax": 0.92, "score-function": 0.80}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--seeds", type=int, default=3)
    o = ap.parse_args()
    accuracies, passed, failed = {}, 0, 0

    def judge(holds, what):
        nonlocal passed, failed
        passed, failed = passed + holds, failed + (not holds)
        print(("ok    " if holds else "FAIL  ") + what)

    for seed in range(1, o.seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "run.json")
            subprocess.run([o.program, "--data", o.data, "--seed", str(seed), "--threads", "1", "--json", file], check=True,
                           stdout=subprocess.DEVNULL)
            with open(file) as f:
                run = json.load(f)
        rows = {r["rule"]: r for r in run["rules"]}
        for rule, row in rows.items():
            accuracies.setdefault(rule, []).append(row["test_accuracy"])
        judge(not rows["zero"]["moved"], "seed %d: the zero rule leaves every weight as it was" % seed)
        judge(rows["straight-through"]["test_accuracy"] == rows["exact"]["test_accuracy"]
              and rows["straight-through"]["train_accuracy"] == rows["exact"]["train_accuracy"],
              "seed %d: straight-through and exact are one run" % seed)
    for rule, seen in accuracies.items():
        figures = "%-28s %s" % (rule, " ".join("%.4f" % a for a in seen))
        if rule == "cross-entropy":
            judge(min(seen) >= 0.945, figures)
        elif rule != "zero":
            judge(min(seen) >= LEAST and max(seen) >= BEST.get(rule, 0.93), figures)
        else:
            print("      " + figures)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

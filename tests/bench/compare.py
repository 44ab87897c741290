#!/usr/bin/env python3
"""Two builds of one benchmark, run in turn: the median ratio new / old for each workload, the worst first.

  tests/bench/compare.py [--rounds 5] OLD NEW [OPTION ...]

OLD and NEW are programs, or commands in quotes; the options are given to both. They print bench_ours's JSON lines, or
Google Benchmark's --benchmark_format=json. A ratio of time or memory over 1.03 is marked with a star, and of the time the
least and largest of the rounds stand beside it. The status is 1 if a run failed, if the builds' figures differ,
or if they share no workload.
"""
import json, shlex, statistics, subprocess, sys

LIMIT = 1.03
MICROSECONDS = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}


def run(command):
    """(time in microseconds, peak memory or a node's or None, figures) for each workload of one run."""
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout
    except OSError as error:
        sys.exit("compare: %s" % error)
    except subprocess.CalledProcessError as error:
        sys.exit("compare: %s: ended with %d" % (" ".join(command), error.returncode))
    if '"benchmarks"' in out:
        return {row["name"]: (row["real_time"] * MICROSECONDS[row["time_unit"]], row.get("bytes_a_node"), [])
                for row in json.loads(out)["benchmarks"] if row["run_type"] == "iteration"}
    rows = [json.loads(line) for line in out.splitlines()]
    return {"%s, %d threads" % (row["workload"], row["threads"]) if row["threads"] > 1 else row["workload"]:
            (row["median_us"], row["peak_rss_mb"], row["check"]) for row in rows}


def agree(a, b):
    return len(a) == len(b) and all(abs(x - y) <= 1e-4 * abs(x) + 1e-6 for x, y in zip(a, b))


def marked(ratio):
    return "%.3f%s" % (ratio, "*" if ratio > LIMIT else " ")


def main(arguments):
    rounds = 5
    if arguments[:1] == ["--rounds"] and len(arguments) > 1 and arguments[1].isdigit() and int(arguments[1]) > 0:
        rounds, arguments = int(arguments[1]), arguments[2:]
    if len(arguments) < 2 or arguments[0].startswith("-"):
        asked = arguments[:1] in (["-h"], ["--help"])
        print(__doc__.strip(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    commands = [shlex.split(command) + arguments[2:] for command in arguments[:2]]
    runs = []  # (old, new), a pair for each round
    for i in range(rounds):
        order = (0, 1) if i % 2 == 0 else (1, 0)  # neither is always the first
        found = {which: run(commands[which]) for which in order}
        runs.append((found[0], found[1]))
        if sys.stderr.isatty():
            print("round %d of %d" % (i + 1, rounds), file=sys.stderr)
    old, new = runs[0]
    rows, differ = [], []
    for name in (name for name in old if name in new):
        pairs = [(a[name], b[name]) for a, b in runs]
        times = [b[0] / a[0] for a, b in pairs]
        memory = statistics.median(b[1] / a[1] for a, b in pairs) if all(a[1] and b[1] for a, b in pairs) else 0
        rows.append((statistics.median(times), memory, min(times), max(times), name,
                     [statistics.median(run[0] for run in side) for side in zip(*pairs)]))
        if not all(agree(a[2], b[2]) for a, b in pairs):
            differ.append(name)
    width = max((len(row[4]) for row in rows), default=8)
    print("%-*s %11s %11s  %-7s %-13s %s" % (width, "workload", "old us", "new us", "time", "least..most", "memory"))
    for time, memory, least, most, name, us in sorted(rows, reverse=True):
        print("%-*s %11.1f %11.1f  %-7s %.3f..%.3f  %s" % (width, name, us[0], us[1], marked(time), least, most,
                                                          marked(memory) if memory else "-"))
    print("%d workloads; over %.2f in time: %d, in memory: %d" % (
        len(rows), LIMIT, sum(row[0] > LIMIT for row in rows), sum(row[1] > LIMIT for row in rows)))
    for what, names in (("only in one", sorted(set(old) ^ set(new))), ("figures differ", differ)):
        if names:
            print("%s: %s" % (what, ", ".join(names)))
    return 0 if rows and not differ else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

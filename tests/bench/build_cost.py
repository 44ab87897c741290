#!/usr/bin/env python3
"""What a build costs its users: the time and memory in which g++ -O1 compiles a file of theirs, and the library's size.

  tests/bench/build_cost.py [--rounds 5] [BUILD ...]

Each BUILD is a build folder of meson, `build` if there is none; of several, which are taken in turn, it prints a line
each. The file is user.cpp, beside this script, against the headers of the build's source folder. It is linked and run
once: the status is 1 if that failed.
"""
import argparse, json, os, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))


def flags_of(build):
    with open(os.path.join(build, "meson-info", "meson-info.json"), encoding="utf-8") as f:
        source = json.load(f)["directories"]["source"]
    xtensor = subprocess.check_output(["pkg-config", "--cflags", "xtensor"], universal_newlines=True).split()
    return ["-std=c++17", "-O1", "-I" + source, "-I" + os.path.join(source, "models", "include")] + xtensor


def compile_once(build, to):
    """Seconds, and megabytes of memory, of one compilation."""
    command = ["g++", "-c", os.path.join(HERE, "user.cpp"), "-o", to] + flags_of(build)
    start = time.monotonic()
    process = subprocess.Popen(command, env=dict(os.environ, CCACHE_DISABLE="1"))
    status, use = os.wait4(process.pid, 0)[1:]
    if status != 0:
        sys.exit("build_cost: %s does not compile" % " ".join(command))
    return time.monotonic() - start, use.ru_maxrss / 1024


def library_size(build, to):
    """Bytes of the library without its symbols for debugging."""
    subprocess.check_call(["strip", "-o", to, os.path.join(build, "libargtape.so")])
    return os.path.getsize(to)


def runs(build, compiled, to):
    build = os.path.abspath(build)
    subprocess.check_call(["g++", compiled, "-o", to, "-L" + build, "-largtape", "-Wl,-rpath," + build])
    return subprocess.call([to], stdout=subprocess.DEVNULL) == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("builds", nargs="*", metavar="BUILD", default=["build"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compiled, other = os.path.join(folder, "user.o"), os.path.join(folder, "other")
        measured = {build: [] for build in given.builds}
        for _ in range(max(1, given.rounds)):
            for build in given.builds:
                measured[build].append(compile_once(build, compiled))
        failed = 0
        print("%-30s %10s %10s %12s" % ("build", "compile s", "memory MB", "library MB"))
        for build, of in measured.items():
            seconds, memory = (min(figures) for figures in zip(*of))
            print("%-30s %10.2f %10.0f %12.2f" % (build, seconds, memory, library_size(build, other) / 1e6))
            compile_once(build, compiled)
            if not runs(build, compiled, other):
                print("build_cost: user.cpp fails with %s" % build, file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compilers, optimisation and instruction sets: each build of the list below gives the documented results.

  tests/builds.py [--in FOLDER] [NAME...]

Sets each up, or those that are named, in FOLDER/NAME (default: build-each/), builds the library and the tests about numbers,
runs them, and ends with a table. What this machine cannot build or run is left out, and the table says what is missing.
CI does not run it: it takes five minutes of two cores a build, more at -O0, and an hour for aarch64. The newest compilers stand in
newer releases of Debian; it runs there as it does here, in a chroot that mmdebstrap makes too.

For aarch64 (Debian):
  dpkg --add-architecture arm64 && apt-get update && apt-get install --no-install-recommends crossbuild-essential-arm64 \\
    qemu-user libopenblas-dev:arm64 liblapack-dev:arm64 libsleef-dev:arm64 zlib1g-dev:arm64 libmpfr-dev:arm64 \\
    librapidcheck-dev:arm64
"""
import argparse, json, os, shutil, subprocess, sys

# The compiler, how much it optimises, the machine it compiles for, the standard. Together they cover each with several of
# the others; g++ 12 -O3 native, clang 14 -O3 for any machine as C++20, and the sanitizers are CI's.
BUILDS = {
    "g++-12-avx2": ("g++-12", 3, "x86-64-v3", "c++17"),
    "g++-12-sse2": ("g++-12", 0, "x86-64", "c++17"),
    "g++-13-avx512": ("g++-13", 1, "x86-64-v4", "c++20"),
    "g++-14-avx512": ("g++-14", 2, "native", "c++17"),
    "g++-15-sse2": ("g++-15", 3, "x86-64", "c++20"),
    "g++-16-avx2": ("g++-16", 2, "x86-64-v3", "c++20"),
    "clang-15-avx512": ("clang++-15", 1, "native", "c++17"),
    "clang-16-sse2": ("clang++-16", 0, "x86-64", "c++17"),
    "clang-17-avx512": ("clang++-17", 3, "x86-64-v4", "c++20"),
    "clang-18-sse4": ("clang++-18", 2, "x86-64-v2", "c++17"),
    "clang-19-avx2": ("clang++-19", 2, "x86-64-v3", "c++20"),
    "clang-22-avx2": ("clang++-22", 3, "x86-64-v3", "c++20"),
    "aarch64": ("aarch64-linux-gnu-g++", 2, "armv8-a", "c++17"),
}
# Of the library in float, as the programs are of it; for another kind of machine, every doctest program.
TESTS = ["random", "simd", "floats", "metamorphic", "models", "golden"]
ELSEWHERE = ["--suite", "doctest", "--suite", "golden"]


def meson_options(build):
    _, optimisation, machine, standard = BUILDS[build]
    # Without precompiled headers, which hide a missing #include.
    options = ["-Doptimization=%d" % optimisation, "-Dcpp_std=" + standard, "-Dnative=" + str(machine == "native").lower(), "-Db_pch=false"]
    # clang 19 warns of what libstdc++'s std::stable_sort calls; g++ 13 sees sizes below 0 in its std::string::resize.
    doubts = "-Wno-error=deprecated-declarations" + ("" if "clang" in build else " -Wno-error=stringop-overflow")
    return options + ["-Dcpp_args=" + doubts + ("" if machine == "native" else " -march=" + machine)]


def cross_file(folder):
    """For meson, with which the compiler's own machine runs programs of aarch64. The headers' packages serve any machine."""
    os.makedirs(os.path.join(folder, "headers"), exist_ok=True)
    for name in ["xtensor", "xsimd"]:
        pc = subprocess.check_output(["pkg-config", "--variable=pcfiledir", name], universal_newlines=True).strip()
        shutil.copy(os.path.join(pc, name + ".pc"), os.path.join(folder, "headers"))
    path = os.path.join(folder, "aarch64.ini")
    with open(path, "w") as f:
        f.write("""[binaries]
cpp = 'aarch64-linux-gnu-g++'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = 'qemu-aarch64'
[properties]
pkg_config_libdir = ['/usr/lib/aarch64-linux-gnu/pkgconfig', '/usr/share/pkgconfig', '%s/headers']
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
""" % folder)
    return ["--cross-file", path]


def lacking(build):
    """What this machine has not: a program, or the processor's instructions."""
    compiler, _, machine, _ = BUILDS[build]
    for program in [compiler] + ["qemu-aarch64"] * (build == "aarch64"):
        if not shutil.which(program):
            return "there is no " + program
    with open("/proc/cpuinfo") as f:
        has = f.read().split()
    needs = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512dq"}.get(machine)
    return needs and needs not in has and "the processor has no " + needs


def run(build, folder):
    """Sets up, builds and tests; what came out of it, in words."""
    where, log = os.path.join(folder, build), os.path.join(folder, build + ".log")
    cross = cross_file(folder) if build == "aarch64" else []
    env = dict(os.environ, **({"ARGTAPE_EMULATOR": "qemu-aarch64"} if cross else {"CXX": BUILDS[build][0]}))
    results = os.path.join(where, "meson-logs", "testlog.json")
    if os.path.exists(results):
        os.remove(results)
    with open(log, "w") as f:
        def step(*command):
            return subprocess.call(command, stdout=f, stderr=subprocess.STDOUT, env=env) == 0
        again = ["--reconfigure"] if os.path.exists(os.path.join(where, "build.ninja")) else []
        if not step("meson", "setup", where, source, "-Dwerror=true", *cross, *meson_options(build), *again):
            return False, "meson could not set it up, see " + log
        done = step("meson", "test", "-C", where, "--print-errorlogs", "--timeout-multiplier", "20" if cross else "10",
                    *(ELSEWHERE if cross else TESTS))
    if done:
        return True, "all pass"
    if not os.path.exists(results):
        return False, "it does not build, see " + log
    with open(results) as f:
        failed = [t["name"] for t in map(json.loads, f) if t["result"] != "OK"]
    return False, "%s failed, see %s" % (", ".join(failed) or "meson test", log)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--in", dest="folder", default=os.path.join(source, "build-each"))
    ap.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(BUILDS))
    o = ap.parse_args()
    for name in o.names:
        if name not in BUILDS:
            ap.error("NAME is '%s'; need one of %s" % (name, ", ".join(BUILDS)))
    os.makedirs(o.folder, exist_ok=True)
    good = True
    for build in o.names or BUILDS:
        missing = lacking(build)
        done, words = (True, "left out: " + missing) if missing else run(build, os.path.abspath(o.folder))
        good = good and done and not (missing and o.names)
        compiler, optimisation, machine, standard = BUILDS[build]
        print("%-16s %-22s -O%d %-10s %s  %s" % (build, compiler, optimisation, machine, standard, words), flush=True)
    sys.exit(0 if good else 1)


source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    main()

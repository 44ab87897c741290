#!/usr/bin/env python3
"""What a user gets: the installed library with its pkg-config and CMake files, its use as a meson subproject, and the
errors for a mix of the two scalar types.

  tests/install.py --build FOLDER --source FOLDER --cxx COMMAND --standard 17
"""
import argparse, glob, json, os, re, shlex, shutil, subprocess, sys, tempfile, time

from tally import check, verdict

PROGRAM = """
#include <iostream>
#include <argtape/argtape.hpp>
int main() {
  argtape::Rng rng(1);
  argtape::Tape tape;
  argtape::Var x = tape.parameter(argtape::Tensor{1.0, 2.0});
  std::cout << sizeof(argtape::Scalar) << " " << argtape::str(argtape::backward(argtape::sum(argtape::square(x)))[x]) << "\\n";
}
"""
SECOND_SCALAR = """
#include <argtape/argtape.hpp>
int main() {
  xt::xarray<double> other = {1.0, 2.0};
  argtape::Tape tape;
  tape.parameter(other);
}
"""
MESON = """project('user', 'cpp', default_options: ['cpp_std=c++%s'])
argtape = dependency('argtape')
executable('user', 'user.cpp', dependencies: argtape)
"""
CMAKE = """cmake_minimum_required(VERSION 3.10)
project(user CXX)
find_package(argtape %s REQUIRED)
foreach(name argtape argtape-double)
  add_executable(user-${name} user.cpp)
  target_link_libraries(user-${name} argtape::${name})
endforeach()
"""


def run(*command, **more):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **more)
    return r.returncode, r.stdout


def uncommented(path):
    with open(path, encoding="utf-8") as f:
        return re.sub(r"//[^\n]*", "", f.read())


def check_exports(include, library, where):
    """What the library exports is what its installed headers declare."""
    headers = "\n".join(uncommented(h) for h in glob.glob(include + "/**/*.hpp", recursive=True))
    words = set(re.findall(r"\w+", headers))
    status, out = run("nm", "-DC", "--defined-only", library)
    check(status == 0, where + ": nm: " + out)
    ours = [line.split(" ", 2)[2] for line in out.split("\n") if line[19:].startswith(("argtape::", "xt::", "xsimd::", "Sleef"))]
    names = [re.sub(r"\[abi:\w+\]", "", name.split("(")[0]) for name in ours]
    # The standard library's own templates, of our types, are nobody's to declare.
    unknown = [n for n in names if "operator" not in n and " std::" not in re.sub(r"<.*>", "", n)
               and not set(re.findall(r"\w+", re.sub(r"<.*>", "", n))) - {"argtape", "f32", "f64"} <= words]
    check(not unknown, where + ": exported, but in no installed header: " + ", ".join(sorted(set(unknown))[:20]))
    # Functions declared alone in a line at the left margin, as all of them are.
    declared = set(re.findall(r"^(?!using|return|template|inline|constexpr|struct|class|enum|friend|namespace|#)"
                              r"[A-Za-z][\w:<>,&* ]*?[\s&*](\w+)\((?:[^;{}]|\{\})*\)(?: noexcept)?;", headers, re.M))
    declared = {d for d in declared if not d.startswith("__")}
    exported = {n.split("::")[-1] for n in names}
    missing = sorted(declared - exported)
    check(len(declared) > 200, "%s: the headers declare functions, not just %d" % (where, len(declared)))
    check(not missing, where + ": declared in an installed header, but not exported: " + ", ".join(missing))


def check_training(source, cxx, cflags, libs, table, env):
    """The training loop of models/README.md, left alone and killed in its midst, ends alike."""
    exe = source[:-4]
    status, out = run(*cxx, *cflags, source, *libs, "-o", exe)
    check(status == 0, exe + ": " + out)
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as killed:
        status, whole = run(exe, table, cwd=alone, env=env)
        found = re.match(r"\d+ epochs, test accuracy (0\.\d+)\n$", whole)
        check(status == 0 and found and float(found.group(1)) > 0.9, "the training loop prints %r" % whole)
        deaths = 0
        for _ in range(3):
            p = subprocess.Popen([exe, table], cwd=killed, env=env, stdout=subprocess.DEVNULL)
            saved, until = os.path.join(killed, "run.safetensors"), time.monotonic() + 60
            before = os.path.getmtime(saved) if os.path.exists(saved) else 0
            while p.poll() is None and time.monotonic() < until and (not os.path.exists(saved) or os.path.getmtime(saved) == before):
                time.sleep(0.001)
            deaths += p.poll() is None
            p.kill()
            p.wait()
        status, out = run(exe, table, cwd=killed, env=env)
        check(status == 0 and out == whole and deaths > 0, "killed %d times, the training loop prints %r instead of %r" % (deaths, out, whole))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", required=True)
    ap.add_argument("--source", required=True)
    ap.add_argument("--cxx", required=True)
    ap.add_argument("--standard", required=True)
    o = ap.parse_args()
    cxx = shlex.split(o.cxx) + ["-std=c++" + o.standard] + shlex.split(run("pkg-config", "--cflags", "xtensor")[1])
    with tempfile.TemporaryDirectory() as folder:
        def write(name, text):
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
            return path

        status, out = run("meson", "install", "-C", o.build, "--no-rebuild", "--quiet", "--destdir", folder)
        check(status == 0, "meson install: " + out)
        pc = glob.glob(folder + "/**/pkgconfig", recursive=True)[0]
        path = os.pathsep.join([pc] + list(filter(None, [os.environ.get("PKG_CONFIG_PATH")])))
        env = dict(os.environ, PKG_CONFIG_PATH=path, PKG_CONFIG_SYSROOT_DIR=folder)
        lib = os.path.dirname(pc)
        headers = glob.glob(folder + "/**/include/argtape", recursive=True)[0]
        include = os.path.dirname(headers)
        program = write("user.cpp", PROGRAM)
        def programs_in(layer):
            with open(os.path.join(o.source, layer, "README.md"), encoding="utf-8") as f:
                text = f.read()
            for i, program in enumerate(re.findall(r"```cpp\n(.*?)```", text, re.S)):
                yield write("%s_%d.cpp" % (layer, i), program)

        own_op, lines = programs_in("ops")
        own_training = next(programs_in("models"))
        with open(os.path.join(o.source, "ops", "README.md"), encoding="utf-8") as f:
            shapes = re.search(r"prints `(.*)`", f.read()).group(1) + "\n"

        def flags(name, what):
            status, text = run("pkg-config", what, name, env=env)
            check(status == 0, "pkg-config %s %s: %s" % (what, name, text))
            # The sysroot is put before xtensor's folders too, which `cxx` has as they are.
            return [f for f in shlex.split(text) if "argtape" in f or not f.startswith(("-I", "-L"))]

        for name, size in [("argtape", 4), ("argtape-double", 8)]:
            for source, prints in [(program, "%d {2, 4}\n" % size), (own_op, "right, to second order\n"), (lines, shapes)]:
                exe = source[:-4] + "-" + name
                status, out = run(*cxx, *flags(name, "--cflags"), "-I" + include, source, "-L" + lib,
                                  *flags(name, "--libs"), "-o", exe)
                check(status == 0, exe + ", compiled with pkg-config's flags: " + out)
                status, out = run(exe, env=dict(os.environ, LD_LIBRARY_PATH=lib))
                check(out == prints, "%s, run: %s" % (exe, out))
        check_training(own_training, cxx, [*flags("argtape", "--cflags"), "-I" + include], ["-L" + lib, *flags("argtape", "--libs")],
                       os.path.join(o.source, "examples", "data", "digits.csv.gz"), dict(os.environ, LD_LIBRARY_PATH=lib))

        if shutil.which("cmake"):
            write("cmake/CMakeLists.txt", CMAKE % "0.1")
            write("cmake/user.cpp", PROGRAM)
            found = os.path.dirname(glob.glob(folder + "/**/argtapeConfig.cmake", recursive=True)[0])
            with_cmake = ["cmake", "-S", folder + "/cmake", "-B", folder + "/cmake/build", "-Dargtape_DIR=" + found]
            status, out = run(*with_cmake, env=dict(os.environ, CXX=o.cxx))
            check(status == 0, "with CMake, setup: " + out)
            status, out = run("cmake", "--build", folder + "/cmake/build")
            check(status == 0, "with CMake, build: " + out[-2000:])
            for name, size in [("argtape", 4), ("argtape-double", 8)]:
                status, out = run(folder + "/cmake/build/user-" + name)
                check(out == "%d {2, 4}\n" % size, "with CMake, run %s: %s" % (name, out))
            write("cmake/CMakeLists.txt", CMAKE % "99")
            status, out = run(*with_cmake, env=dict(os.environ, CXX=o.cxx))
            check(status != 0 and "0.1.0" in out, "CMake refuses a newer version than there is: " + out)

        else:
            print("left out, since there is no cmake: its package")

        for name in ("argtape", "argtape-double"):
            check_exports(headers, os.path.join(lib, "lib%s.so" % name), name)

        status, out = run(*cxx, "-I" + include, program, "-L" + lib, "-largtape-double", "-o", os.path.join(folder, "mix"))
        check(status != 0 and "argtape::f32::" in out, "headers for float, library for double: the linker says so: " + out)
        second = write("second.cpp", SECOND_SCALAR)
        status, out = run(*cxx, "-I" + include, "-c", second, "-o", os.path.join(folder, "second.o"))
        check(status != 0 and "argtape: the array's numbers are not the library's Scalar" in out,
              "an array of another scalar type is refused in words: " + out)

        write("project/meson.build", MESON % o.standard)
        write("project/user.cpp", PROGRAM)
        os.makedirs(folder + "/project/subprojects")
        os.symlink(o.source, folder + "/project/subprojects/argtape")
        build = folder + "/project/build"
        # What is held is that it builds: without debug information it does in half the time.
        status, out = run("meson", "setup", build, folder + "/project", "--force-fallback-for=argtape", "-Dbuildtype=plain", env=dict(os.environ, CXX=o.cxx))
        check(status == 0, "as a subproject, setup: " + out)
        for name in ("doctest", "nlohmann_json", "CLI11"):
            check(name not in out, "as a subproject, setup asks for %s: %s" % (name, out))
        with open(build + "/meson-info/intro-targets.json", encoding="utf-8") as f:
            made = [t["name"] for t in json.load(f) if t["type"] == "executable"]
        check(made == ["user"], "as a subproject, only the library is built, not " + ", ".join(made))
        status, out = run("ninja", "-C", build, "user")
        check(status == 0, "as a subproject, build: " + out[-2000:])
        status, out = run(os.path.join(build, "user"))
        check(out == "4 {2, 4}\n", "as a subproject, run: " + out)
    sys.exit(verdict())


if __name__ == "__main__":
    main()

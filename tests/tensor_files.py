#!/usr/bin/env python3
"""Files of argtape's read by NumPy and Python's safetensors, and theirs by argtape.

  tests/tensor_files.py --program tensor_files
"""
import argparse, os, subprocess, sys, tempfile

from pypi import python_with
from tally import check, verdict

PACKAGES = ["safetensors==0.8.0", "numpy==2.4.4"]
SKIPPED = 77  # meson's status for a test that could not run


def run(*arguments):
    r = subprocess.run([o.program, *arguments], stdout=subprocess.PIPE, universal_newlines=True)
    return r.returncode, r.stdout


def ours(path, read):
    import numpy
    status, out = run("write", path)
    check(status == 0, "it is written: " + out)
    found = read(path)
    scalar = numpy.float32
    expected = {
        "arrays.ramp": numpy.arange(-1, 2, 0.5, dtype=scalar).reshape(2, 3),
        "arrays.number": scalar(0.25),
        "arrays.none": numpy.zeros((0, 4), scalar),
        "arrays.\u00e4 \"quoted\"": numpy.array([2], scalar),
        "rng": numpy.array([3, 5, 7], numpy.uint64),
        "step": numpy.uint64(12),
        "below": numpy.int64(-3),
        "yes": numpy.uint64(1),
        "x": numpy.float64(0.1),
        "text": numpy.frombuffer(b"words", numpy.uint8),
        "adam.optimiser": numpy.frombuffer(b"Adam", numpy.uint8),
        "adam.rate": numpy.float64(0.01),
        "adam.step": numpy.uint64(1),
        "adam.steps": numpy.array([1, 1], numpy.uint64),
    }
    for name, value in expected.items():
        a = found.get(name)
        check(a is not None and a.dtype == value.dtype and a.shape == value.shape and (a == value).all(), "%s: '%s' is %r" % (path, name, a))
    gradient = {"0": numpy.full((2, 3), 4, scalar), "1": numpy.full(3, 4, scalar)}
    for name, g in gradient.items():
        check(numpy.allclose(found["adam.mean." + name], 0.1 * g) and numpy.allclose(found["adam.root." + name] ** 2, 1e-3 * g ** 2),
              "%s: Adam's moments are its means" % path)
    names = sorted([*expected, *["%s.%s" % (n, i) for n in ["model.parameters", "adam.mean", "adam.root"] for i in "01"]])
    check(sorted(found) == names, "%s holds these and no others: %s" % (path, sorted(found)))


def theirs(path, write, kinds):
    import numpy
    for kind in kinds:
        least = 0 if kind[0] in "ub" else -2
        values = numpy.arange(least, least + 6).astype(kind).reshape(2, 3)
        write(path, {"x": values, "y.z": values[0], "n": numpy.array(values[0, 0])})
        lines = ["n () %g" % float(values[0, 0])]
        row = lambda r: "{" + ", ".join("%g" % float(v) for v in r) + "}"
        lines += ["x (2, 3) {%s, %s}" % (row(values[0]), row(values[1])), "y.z (3,) " + row(values[0])]
        status, out = run("read", path)
        check(status == 0 and out.split("\n")[:-1] == lines, "%s of %s: %s" % (path, kind, out))


def main():
    import numpy, safetensors.numpy as st
    with tempfile.TemporaryDirectory() as folder:
        at = lambda name: os.path.join(folder, name)
        ours(at("ours.safetensors"), st.load_file)
        ours(at("ours.npz"), lambda path: dict(numpy.load(path)))
        with safetensors.safe_open(at("ours.safetensors"), "np") as f:
            check(f.metadata()["argtape"] == "1" and len(f.metadata()["crc32"]) == 8, "metadata: %s" % f.metadata())
        kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool"]
        theirs(at("theirs.safetensors"), lambda path, a: st.save_file(a, path), kinds)
        theirs(at("theirs.npz"), lambda path, a: numpy.savez(path, **a), [*kinds, ">f4", ">i8"])
        theirs(at("theirs.npz"), lambda path, a: numpy.savez_compressed(path, **a), kinds)
        theirs(at("theirs.npz"), lambda path, a: numpy.savez(path, **{n: numpy.asfortranarray(v) if v.ndim else v for n, v in a.items()}), kinds)
        cube = numpy.arange(24.0).reshape(2, 3, 4)
        numpy.savez(at("cube.npz"), c=cube, f=numpy.asfortranarray(cube))
        lines = run("read", at("cube.npz"))[1].split("\n")
        check(lines[0][1:] == lines[1][1:] and "(2, 3, 4) {{{0, 1, 2, 3}" in lines[0], "three axes in Fortran's order: %s" % lines)
        numpy.savez(at("large.npz"), x=numpy.arange(3e6, dtype="f4"))
        numpy.savez_compressed(at("packed.npz"), x=numpy.zeros(3000000, "f4"))
        for name in ["large.npz", "packed.npz"]:
            check(run("read", at(name))[0] == 0, name + " is read")
        for name, what, value in [("complex", "", numpy.zeros(2, complex)), ("words", "texts, ", numpy.array(["a", "b"])),
                                  ("bytes", "texts, ", numpy.array([b"a"])), ("objects", "Python objects, ", numpy.array([{}], object)),
                                  ("pairs", "structures; ", numpy.zeros(2, [("x", "f4"), ("y", "i4")])), ("times", "", numpy.zeros(2, "M8[s]"))]:
            numpy.savez(at("bad.npz"), **{name: value})
            status, out = run("read", at("bad.npz"))
            check(status == 1 and "'%s' holds %s" % (name, what or "the type '") in out and "; need float16, float32, float64, integers or bool" in out, out)
            check(("np.unique(x, return_inverse=True)[1]" in out) == (name in ["words", "bytes", "objects"]), "what to do with labels that are words: " + out)
        with open(at("bad.npz"), "rb") as f:
            whole = f.read()
        with open(at("bad.npz"), "wb") as f:
            f.write(whole[:-30])
        check("it is torn" in run("read", at("bad.npz"))[1], "a torn .npz file is refused")
    sys.exit(verdict())


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--program", required=True)
    o = ap.parse_args()
    try:
        import safetensors
    except ImportError:
        python = python_with(*PACKAGES)
        if python is None:
            print("skipped: PyPI's %s cannot be installed" % " and ".join(PACKAGES))
            sys.exit(SKIPPED)
        os.execv(python, [python, *sys.argv])
    main()

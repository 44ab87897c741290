#!/usr/bin/env python3
"""What must hold for long, and where there is little: training steps in flat memory, a day's checkpoints, and every program
where memory, files or the disk are too small, or the folder may not be written.

  tests/endurance.py --build FOLDER [--long]
"""
import argparse, contextlib, csv, json, os, random, re, resource, shutil, struct, subprocess, sys, tempfile, time

from short_runs import SHORT_RUNS
from tally import check, verdict


def steps():
    r = subprocess.run([os.path.join(o.build, "endurance"), "10000000" if o.long else "200000"], stdout=subprocess.PIPE, universal_newlines=True)
    if o.long:
        print(r.stdout, end="")
    check(r.returncode == 0, "the resident memory of small steps stays as it is:\n" + r.stdout)


def results(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as f:
            found[name] = json.load(f)
        for of_time in ["seconds", "ms_per_step"]:
            found[name].pop(of_time, None)
    return found


def checkpoints(place):
    """One after each step, as many as a day has minutes, and the process killed after some of them."""
    grid = [os.path.join(o.build, "some_grid"), "--rules", "st", "--steps", "1440" if o.long else "60"]
    plain, folder = os.path.join(place, "plain"), os.path.join(place, "kept")
    checkpoint = os.path.join(folder, "net,st,1.safetensors")
    subprocess.run([*grid, "--run", plain], check=True, stdout=subprocess.DEVNULL)
    dice, deaths, running = random.Random(1), 0, True

    def last():
        return os.stat(checkpoint).st_mtime_ns if os.path.exists(checkpoint) else 0
    while running:
        before, wait = last(), dice.uniform(0, 0.1)
        more = ["--resume"] if os.path.exists(os.path.join(folder, "grid.json")) else []
        p = subprocess.Popen([*grid, "--checkpoint", "0", "--run", folder, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
        while p.poll() is None and last() == before:
            time.sleep(0.001)
        time.sleep(wait)
        running = p.poll() is None
        p.kill()
        err = p.communicate()[1]
        if running:
            deaths += 1
            left = set(os.listdir(folder))
            check(left <= {"grid.json", "net,st,1.safetensors", "net,st,1.safetensors.tmp", "net,st,1.lock", "net,st,1.json", "net,st,1.json.tmp"},
                  "killed: there are %s" % sorted(left))
    check(p.returncode == 0 and results(folder) == results(plain), "killed %d times, the same to the bit: status %d, %s" % (deaths, p.returncode, err))
    print("%s checkpoints, killed %d times" % (grid[-1], deaths))


def whole(file):
    """Whether what stands under its final name is all there."""
    with open(file, "rb") as f:
        data = f.read()
    kind = os.path.splitext(file)[1]
    if kind == ".json":
        return json.loads(data) is not None
    if kind == ".csv":
        return data.endswith(b"\n") and len({len(row) for row in csv.reader(data.decode().splitlines())}) == 1
    if kind == ".safetensors":
        length, = struct.unpack("<Q", data[:8])
        ends = [a["data_offsets"][1] for name, a in json.loads(data[8:8 + length]).items() if name != "__metadata__"]
        return len(data) == 8 + length + max(ends, default=0)
    ends = {".html": b"</html>", ".svg": b"</svg>", ".dot": b"}"}
    return kind in [".lock", ".error"] or kind in ends and data.rstrip().endswith(ends[kind])


def files(program, folder):
    """The flags that have it write files."""
    flags = [["--json", "run.json"], ["--out", "page"]]
    if "--run " in helps[program]:
        flags += [["--run", "run", "--checkpoint", "0"], ["--save", "saved.safetensors"]]
    return [[flag, os.path.join(folder, name), *more] for flag, name, *more in flags]


def judged(program, how, folder, flags, limit=None):
    """Runs it with these flags, and what it needs for itself in `folder`; the status."""
    # A thread of OpenBLAS's own that finds no memory waits for ever, before the program has begun.
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", TMPDIR=folder)
    command = [os.path.join(o.build, program), *SHORT_RUNS[program][0].split(), "--threads", "2" if o.long else "1", *flags]
    try:
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, preexec_fn=limit, timeout=300, cwd=folder, env=env)
    except subprocess.TimeoutExpired:
        check(False, "%s %s: it does not end" % (program, how))
        return 1
    begun = "error while loading shared libraries" not in r.stderr
    words = re.fullmatch("(gnuplot .+\n)?" + program + ": .+; .+\n", r.stderr)
    check(r.returncode == 0 or r.returncode in [1, 2] and words or not begun, "%s %s: status %d, %r" % (program, how, r.returncode, r.stderr))
    for place, _, names in os.walk(folder):
        for name in names:
            check(whole(os.path.join(place, name)), "%s %s: %s is left half-written" % (program, how, name))
    if r.returncode == 0 and "--json" in flags:
        check(os.path.exists(flags[flags.index("--json") + 1]), "%s %s: it ends well without its figures" % (program, how))
    if o.verbose:
        print(program, how, r.returncode, r.stderr.strip())
    return r.returncode


def little(program, what, kind, sizes):
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            judged(program, "with %s of %d bytes" % (what, size), folder, sum(files(program, folder), []),
                   lambda: resource.setrlimit(kind, (size, size)))


@contextlib.contextmanager
def disk(option):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", folder], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def disks(program, sizes):
    for size in sizes:
        with disk("size=%dk" % size) as folder:
            judged(program, "on a disk of %d KiB" % size, folder, sum(files(program, folder), []))
    with disk("ro") as folder:
        for flags in files(program, folder):
            check(judged(program, "in a read-only folder", folder, flags) != 0, "%s in a read-only folder ends well with %s" % (program, flags[0]))
        judged(program, "in a read-only folder", folder, [])


def own_mounts():
    """Whether this process may mount disks that nobody else sees; it is begun anew for that."""
    if "ARGTAPE_OWN_MOUNTS" in os.environ:
        return True
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return False
    os.environ["ARGTAPE_OWN_MOUNTS"] = "yes"
    os.execvp("unshare", ["unshare", "-rm", sys.executable, *sys.argv])


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--build", required=True)
ap.add_argument("--long", action="store_true", help="10 million steps, a day's checkpoints, every limit")
ap.add_argument("--verbose", action="store_true", help="say how each program ends")
o = ap.parse_args()
o.build = os.path.abspath(o.build)
mounts = own_mounts()
if not mounts:
    print("left out, since nothing can be mounted: small disks, read-only folders")
helps = {p: subprocess.run([os.path.join(o.build, p), "--help"], stdout=subprocess.PIPE, universal_newlines=True).stdout for p in SHORT_RUNS}
steps()
with tempfile.TemporaryDirectory() as place:
    checkpoints(place)
for program in SHORT_RUNS:
    little(program, "memory", resource.RLIMIT_AS, [int(2 ** (i / 4) * 2**20) for i in range(24, 40)] if o.long else [96 << 20])
    little(program, "files", resource.RLIMIT_FSIZE, [0, 1, 100, 1000, 3000, 10000, 30000, 100000, 300000] if o.long else [3000])
    if mounts:
        disks(program, [4, 8, 16, 32, 64, 128, 256, 1024] if o.long else [16])
sys.exit(verdict())

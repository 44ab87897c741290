#!/usr/bin/env python3
"""Long runs (examples/common/grid.hpp) as people have them: killed, resumed, shared out, looked at from outside.

  tests/grid.py --program some_grid [--mpi]
"""
import argparse, contextlib, json, os, random, shutil, signal, struct, subprocess, sys, tempfile, time, zlib

from hand_made import judged
from saved import safetensors
from tally import check, verdict

GRID = ["--rules", "gumbel,st", "--seeds", "2", "--steps", "1000"]


def command(*flags):
    return [o.program, *flags]


def run(*flags, before=(), **how):
    r = subprocess.run([*before, *command(*flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300, **how)
    return r.returncode, r.stdout, r.stderr


def refused(status, message, *flags, **how):
    code, out, err = run(*flags, **how)
    check(code == status and message in err and err.strip().count("\n") == 0,
          "%s: status %d instead of %d, or the message is %r" % (" ".join(flags), code, status, err))


def results(folder):
    """All that a run leaves, but for what it says of time."""
    found = {}
    for name in sorted(os.listdir(folder)):
        check(name.endswith(".json"), "%s is left in the folder of a run that is done" % name)
        with open(os.path.join(folder, name)) as f:
            found[name] = json.load(f)
        for time_ in ["seconds", "ms_per_step"]:
            found[name].pop(time_, None)
    return found


def undisturbed():
    folder = os.path.join(place, "undisturbed")
    status, out, err = run(*GRID, "--run", folder)
    check(status == 0 and not err, "undisturbed: %d, %s" % (status, err))
    found = results(folder)
    check(len(found) == 5 and all(len(r["curve"]) == 1000 for n, r in found.items() if n != "grid.json"), "every cell has its result")
    check(len({r["loss"] for n, r in found.items() if n != "grid.json"}) == 4, "no two cells are the same")
    return found, out


def start(*flags, before=()):
    return subprocess.Popen([*before, *command(*flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def killed_at_random(truth, kills, name, sig, *flags):
    """Killed so many times, then left alone. A run that was done before is begun again."""
    dice, folder, done, deaths, going_on = random.Random(name), os.path.join(place, name), 0, 0, []
    while deaths < kills:
        # Where nothing was written yet, there is no run to go on with.
        going_on = ["--resume"] if os.path.exists(os.path.join(folder, "grid.json")) else []
        p = start(*GRID, *flags, "--run", folder, "--checkpoint", "0.02", *going_on)
        try:
            p.communicate(timeout=dice.uniform(0.01, 0.25))
            check(p.returncode == 0, "%s: a run that was let go on ends with %s" % (name, p.returncode))
            check(results(folder) == truth, "%s: done after %d deaths, the same to the bit" % (name, deaths))
            done += 1
            shutil.rmtree(folder)
        except subprocess.TimeoutExpired:
            p.send_signal(sig)
            _, err = p.communicate()
            deaths += 1
            # A signal before the first training ends it as any other program.
            if sig != signal.SIGKILL and p.returncode not in [0, -sig]:
                check(p.returncode == 128 + sig and "--resume goes on" in err, "%s: ends with %d, %r" % (name, p.returncode, err))
    going_on = ["--resume"] if os.path.exists(os.path.join(folder, "grid.json")) else []
    status, out, err = run(*GRID, *flags, "--run", folder, *going_on)
    check(status == 0, "%s, resumed: %d, %s" % (name, status, err))
    check(results(folder) == truth, "%s: after %d deaths the same to the bit" % (name, deaths))


def whatever_the_number(truth, table):
    ways = {"--jobs %d" % n: ((), ["--jobs", str(n)]) for n in [2, 4]}
    if not o.mpi:
        refused(2, "this build has no MPI", *GRID, env=dict(os.environ, OMPI_COMM_WORLD_RANK="0"))
    if o.mpi:
        for n in [1, 2, 4]:
            ways["mpirun -n %d" % n] = (mpirun(n), [])
    for name, (before, flags) in ways.items():
        folder = os.path.join(place, name)
        status, out, err = run(*GRID, *flags, "--run", folder, before=before)
        check(status == 0 and out == table, "%s: status %d, %r, %s" % (name, status, out, err))
        check(results(folder) == truth, "%s: the same to the bit" % name)
    status, out, err = run(*GRID, "--jobs", "2")
    check(status == 0 and out == table, "without a folder: status %d, %s" % (status, err))


def mpirun(n):
    return ["mpirun", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "--oversubscribe", "-n", str(n)]


def children_of(pid):
    found = []
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/children" % (pid, thread)) as f:
            found += [int(child) for child in f.read().split()]
    return found


def wait_for(what, seconds=60):
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def checkpoints(folder):
    return [n for n in os.listdir(folder) if n.endswith(".safetensors")] if os.path.isdir(folder) else []


def dead_workers(truth):
    """One of two is killed: the other takes its cell over. All are killed, or a rank: it is said, and --resume finishes."""
    ways = {"one of two": (1, (), ["--jobs", "2"]), "both": (2, (), ["--jobs", "2"])}
    if o.mpi:
        ways["a rank"] = (1, mpirun(2), [])
    for name, (victims, before, flags) in ways.items():
        folder = os.path.join(place, name)
        p = start(*GRID, *flags, "--run", folder, "--checkpoint", "0.02", before=before)
        check(wait_for(lambda: checkpoints(folder)), name + ": there is a checkpoint")
        workers = children_of(p.pid)
        check(len(workers) == 2, name + ": two workers")
        for worker in workers[:victims]:
            os.kill(worker, signal.SIGKILL)
        out, err = p.communicate()
        if name == "one of two":
            check(p.returncode == 0, "one of two killed: status %d, %s" % (p.returncode, err))
        else:
            check(p.returncode != 0, name + " killed: the run says that it failed")
            check(before or "the workers were killed before it was done; --resume goes on" in err, "both killed: %r" % err)
            status, _, err = run(*GRID, "--run", folder, "--resume")
            check(status == 0, "%s killed, resumed: %d, %s" % (name, status, err))
        check(results(folder) == truth, name + " killed: the same to the bit")
    if o.mpi:
        for words, flags in [("under mpirun --run DIR is needed", []), ("under mpirun start more ranks", ["--jobs", "2", "--run", place])]:
            status, out, err = run(*GRID, *flags, before=mpirun(2))
            check(status == 2 and words in err, "mpirun %s: status %d, %s" % (flags, status, err))


def joined_and_watched(truth):
    """A second call works on the same folder, a third shows its table; neither disturbs."""
    folder = os.path.join(place, "joined")
    first = start(*GRID, "--run", folder, "--checkpoint", "0.02")
    check(wait_for(lambda: checkpoints(folder)), "the first is at work")
    second = start(*GRID, "--run", folder, "--resume", "--threads", "2")
    status, out, err = run("--run", folder, "--table", "--json", os.path.join(place, "table.json"))
    check(status == 0 and " of 4 cells are done" in out, "the table while it runs: %d, %r, %s" % (status, out, err))
    with open(os.path.join(place, "table.json")) as f:
        shown = json.load(f)
    check((shown["steps"], shown["seeds"], shown["rules"]) == (1000, 2, ["gumbel", "st"]), "the table's settings are the folder's")
    for p in [first, second]:
        _, err = p.communicate()
        check(p.returncode == 0, "joined: %d, %s" % (p.returncode, err))
    check(results(folder) == truth, "joined: the same to the bit")
    status, out, _ = run("--run", folder, "--table")
    check(out.startswith("4 of 4 cells are done\n"), "the table at the end: %r" % out)


def wrong_folders():
    folder = os.path.join(place, "undisturbed")
    with whole(folder):
        refused(2, "holds a run of some_grid, 4 of 4 cells done; --resume goes on with it", *GRID, "--run", folder)
        refused(2, "where steps is 1000 there and 30 here", *GRID[:4], "--steps", "30", "--run", folder, "--resume")
        refused(2, "where rate is 1.0 there and 0.5 here; give its settings", *GRID, "--rate", "0.5", "--run", folder, "--resume")
        refused(2, "seeds is 2 there and 3 here", "--seeds", "3", *GRID[:2], *GRID[4:], "--run", folder, "--resume")
        refused(2, 'rules is ["gumbel","st"] there and ["gumbel"] here', "--rules", "gumbel", *GRID[2:], "--run", folder, "--resume")
    foreign = os.path.join(place, "foreign")
    shutil.copytree(folder, foreign)
    manifest = os.path.join(foreign, "grid.json")
    edit(manifest, '"some_grid"', '"11_structured_prediction"')
    with whole(foreign):
        refused(2, 'program is "11_structured_prediction" there and "some_grid" here', *GRID, "--run", foreign, "--resume")
        refused(2, "holds a run of 11_structured_prediction; need one of this program's", "--run", foreign, "--table")
    for text in ["{", '{"cells": 3}', "[]"]:
        with open(manifest, "w") as f:
            f.write(text)
        refused(1, "name another folder", *GRID, "--run", foreign, "--resume")
    empty = os.path.join(place, "empty")
    os.mkdir(empty)
    refused(2, "holds no run", *GRID, "--run", empty, "--resume")
    refused(2, "holds no run", "--run", os.path.join(place, "none"), "--table")
    check(not os.path.exists(os.path.join(place, "none")), "--table makes no folder")
    with open(os.path.join(empty, "letter.txt"), "w"):
        pass
    refused(2, "is not empty and holds no run", *GRID, "--run", empty)
    refused(2, "letter.txt' cannot be created (Not a directory); name another folder", *GRID, "--run", os.path.join(empty, "letter.txt"))
    refused(2, "--resume needs --run DIR", *GRID, "--resume")
    refused(2, "--table needs --run DIR", "--table")
    refused(2, "exclude each other", "--run", folder, "--resume", "--table")
    refused(2, "--rules has 'gumble'; need some of gumbel, st, broken", "--rules", "gumble")
    refused(2, "--rules has 'st' twice; need each once", "--rules", "st,st")
    refused(2, "--rules has ''", "--rules", "")
    refused(2, "--jobs", "--jobs", "0")
    refused(2, "--seconds must be at least 0", "--seconds", "-1")


@contextlib.contextmanager
def whole(folder):
    before = results(folder)
    yield
    check(results(folder) == before, "%s: what was refused has changed nothing" % folder)


def edit(file, old, new):
    with open(file) as f:
        text = f.read()
    check(old in text, "%s holds %s" % (file, old))
    with open(file, "w") as f:
        f.write(text.replace(old, new))


def stopped(folder, *flags):
    """A run with a checkpoint, which SIGTERM ended."""
    p = start(*GRID, "--run", folder, "--checkpoint", "0.02", *flags)
    check(wait_for(lambda: checkpoints(folder)), "it is at work")
    p.send_signal(signal.SIGTERM)
    _, err = p.communicate()
    check(p.returncode == 143 and err == "some_grid: stopped by SIGTERM; --resume goes on from there\n", "SIGTERM: %d, %r" % (p.returncode, err))
    return checkpoints(folder)[0]


def damaged(truth):
    """A bad checkpoint costs its cell alone, and is told; a bad result too."""
    folder = os.path.join(place, "damaged")
    name = stopped(folder)
    file, cell = os.path.join(folder, name), os.path.splitext(name)[0]
    with open(file, "rb") as f:
        good = f.read()
    for bad, words in [(good[:-7], "it is torn"), (good[:99] + b"?" + good[100:], "it is damaged"), (b"GIF89a, so to speak", "it is neither a .safetensors nor a .npz file")]:
        with open(file, "wb") as f:
            f.write(bad)
        status, out, err = run(*GRID, "--run", folder, "--resume")
        check(status == 1 and "1 of 4 cells failed; %s: cannot load '%s': %s" % (cell.replace(",", "/"), file, words) in err, "%s: %d, %r" % (words, status, err))
        check(out.count("net/") == 3, "the other cells are in the table: %r" % out)
        check(" failed: cannot load" in run("--run", folder, "--table")[1], "--table tells of it")
    with open(file, "wb") as f:
        f.write(good)
    check(run(*GRID, "--run", folder, "--resume")[0] == 0 and results(folder) == truth, "with the good checkpoint it goes on")
    result = os.path.join(folder, cell + ".json")
    with open(result, "w") as f:
        f.write('{"loss": ')
    refused(1, "'%s' is damaged; remove it, and --resume computes it anew" % result, *GRID, "--run", folder, "--resume")
    os.remove(result)
    check(run(*GRID, "--run", folder, "--resume")[0] == 0 and results(folder) == truth, "without the bad result it goes on")


def hand_made():
    """Files that are not as the program writes them."""
    folder = os.path.join(place, "undisturbed")
    for name in ["grid.json", "net,st,1.json"]:
        judged(os.path.join(folder, name), lambda: run("--run", folder, "--table"), check)
    for flags in [GRID, [*GRID, "--resume"]]:
        def call():
            status, out, err = run(*flags, "--run", folder)
            return 0 if " holds " in err else status, out, err  # what is no run of this grid, but might be another's
        judged(os.path.join(folder, "grid.json"), call, check)
    manifest, result = os.path.join(folder, "grid.json"), os.path.join(folder, "net,st,1.json")
    with kept(manifest), kept(result):
        edit(result, '"loss":', '"loss": [], "was":')
        refused(1, "'%s' is not as this version writes it: loss is []; need a number; remove it, and --resume computes it anew" % result, "--run", folder, "--table")
        edit(manifest, '"net/st/1"', "7")
        refused(1, "'%s' is not as this version writes it: cells[2] is 7; need a text; name another folder" % manifest, "--run", folder, "--table")


def no_files():
    """What is no regular file has no text to wait for; a lock may say anything."""
    folder = os.path.join(place, "undisturbed")
    for name in ["grid.json", "net,st,1.json"]:
        file = os.path.join(folder, name)
        with kept(file):
            for make, remove in [(os.mkfifo, os.remove), (os.mkdir, os.rmdir)]:
                os.remove(file)
                make(file)
                refused(1, "cannot read '%s': it is no regular file; " % file, "--run", folder, "--table")
                remove(file)
                open(file, "w").close()
    lock = os.path.join(folder, "net,st,1.lock")
    with kept(file):
        os.remove(file)
        for says, shown in [("99999", "100%, stopped"), ("-3", "3 of 4 cells are done\n\n")]:
            with open(lock, "w") as f:
                f.write(says)
            out = run("--run", folder, "--table")[1]
            check(shown in out, "a lock that says %s: %r" % (says, out))
        os.remove(lock)


@contextlib.contextmanager
def kept(file):
    with open(file) as f:
        text = f.read()
    yield
    with open(file, "w") as f:
        f.write(text)


def saved(truth):
    """--save has every cell's parameters, those that it ended with, however many processes there were."""
    files = []
    for i, flags in enumerate([[], ["--jobs", "2"], ["--run", os.path.join(place, "saving")]]):
        files.append(os.path.join(place, "saved%d.safetensors" % i))
        status, out, err = run(*GRID, *flags, "--save", files[-1])
        check(status == 0 and not err, "--save %s: %d, %s" % (flags, status, err))
    found = safetensors(files[0])
    check(all(safetensors(f) == found for f in files), "--save: the same from one process and two")
    cells = ["net/%s/%d" % (rule, seed) for rule in ["gumbel", "st"] for seed in [1, 2]]
    check(sorted(found) == ["%s.parameters.%d" % (c, i) for c in cells for i in range(4)], "--save: the names are %s" % sorted(found))
    for cell in cells:
        sums = [zlib.crc32(numbers, zlib.crc32(struct.pack("<%dQ" % len(shape), *shape)))
                for shape, numbers in (found["%s.parameters.%d" % (cell, i)] for i in range(4))]
        check(sums == truth[cell.replace("/", ",") + ".json"]["weights"], "--save: %s are the parameters that it ended with" % cell)
    folder, again = os.path.join(place, "saving"), os.path.join(place, "again.safetensors")
    for flags in [["--table"], [*GRID, "--resume"]]:
        status, _, err = run(*flags, "--run", folder, "--save", again)
        check(status == 0 and safetensors(again) == found, "--save from a run that is done: %d, %s" % (status, err))
    numpy = os.path.join(place, "saved.npz")
    check(run(*GRID[:4], "--steps", "2", "--save", numpy)[0] == 0 and os.path.getsize(numpy) > 1000, "--save, for NumPy")
    refused(2, "has the cell net/gumbel/1 without what it trained, from a call without --save", *GRID, "--run", os.path.join(place, "undisturbed"), "--resume", "--save", again)
    forever = ["--steps", "1000000000"]  # it is refused before
    refused(2, "--save: 'x.bin' ends in neither .safetensors nor .npz; need a name that does", *forever, "--save", "x.bin")
    refused(2, "none/x.npz': No such file or directory", *forever, "--save", os.path.join(place, "none", "x.npz"))
    both, taken = os.path.join(place, "both.safetensors"), os.path.join(place, "taken")
    refused(2, "--save: '%s' is --json's too; name another" % both, *forever, "--save", both, "--json", both)
    os.mkdir(taken)
    for name in ["grid.json", "net,st,1.json"]:
        refused(2, "%s' is --json's too; name another" % name, *forever, "--run", taken, "--json", os.path.join(taken, name))
    refused(2, "File name too long", *forever, "--save", os.path.join(place, "x" * 240 + ".safetensors"))
    os.mkdir(both + ".tmp")
    refused(2, "--save: cannot write '%s', through '%s.tmp': Is a directory" % (both, both), *forever, "--save", both)
    os.chmod(again, 0o444)
    refused(2, "again.safetensors': Permission denied", *forever, "--save", again)
    refused(2, "empty", *forever, "--save", "")


def full_disk(truth):
    """Files may grow to 14 kB: a checkpoint of less at first, more later, since it holds the curve."""
    import resource
    limit = lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.setrlimit(resource.RLIMIT_FSIZE, (14000, 14000)))
    for flags in [[], ["--jobs", "2"]]:
        folder = os.path.join(place, "full" + "".join(flags))
        refused(1, ".safetensors': File too large; --resume goes on from there", *GRID, "--run", folder, "--checkpoint", "0.005", *flags, preexec_fn=limit)
        kept = checkpoints(folder)
        check(len(kept) == max(1, len(flags)) and all(os.path.getsize(os.path.join(folder, n)) > 9000 for n in kept), "full disk: the last good checkpoints are there, %s" % kept)
        check(run(*GRID, "--run", folder, "--resume")[0] == 0 and results(folder) == truth, "full disk: resumed")


def failing_cells():
    flags = ["--rules", "st,broken", "--seeds", "2", "--steps", "20"]
    folder = os.path.join(place, "failing")
    for more in [["--run", folder], ["--run", folder, "--resume"], ["--jobs", "2"]]:
        file = os.path.join(place, "failing.json")
        status, out, err = run(*flags, *more, "--json", file)
        check(status == 1 and "2 of 4 cells failed; net/broken/1: some_grid: the rule is broken; need another" in err, "failing: %d, %r" % (status, err))
        with open(file) as f:
            check(len(json.load(f)["rows"]) == 2 and out.count("net/st") == 2, "failing: the others are there")
    refused(1, "2 of 2 cells failed", "--rules", "broken", "--seeds", "2")
    check(os.listdir(passing) == [], "folders that nobody asked for are removed")


def seconds():
    file = os.path.join(place, "seconds.json")
    status, _, err = run("--rules", "st", "--steps", "1000000000", "--seconds", "0.05", "--json", file)
    with open(file) as f:
        row, = json.load(f)["rows"]
    check(status == 0 and 0.05 <= row["seconds"] < 0.5 and row["steps"] == len(row["curve"]) > 0 and row["loss"] > 0, "--seconds: %s" % err)
    check(abs(row["ms_per_step"] * row["steps"] - 1000 * row["seconds"]) < 1e-6, "ms_per_step is of the training alone")


ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--program", required=True)
ap.add_argument("--mpi", action="store_true", help="the build has MPI")
o = ap.parse_args()
with tempfile.TemporaryDirectory() as place:
    passing = os.environ["TMPDIR"] = os.path.join(place, "passing")
    os.mkdir(passing)
    truth, table = undisturbed()
    killed_at_random(truth, 20, "SIGKILL", signal.SIGKILL)
    killed_at_random(truth, 5, "SIGKILL, two jobs", signal.SIGKILL, "--jobs", "2")
    killed_at_random(truth, 3, "SIGTERM", signal.SIGTERM)
    killed_at_random(truth, 3, "SIGINT, two jobs", signal.SIGINT, "--jobs", "2")
    whatever_the_number(truth, table)
    dead_workers(truth)
    joined_and_watched(truth)
    wrong_folders()
    hand_made()
    no_files()
    saved(truth)
    damaged(truth)
    full_disk(truth)
    failing_cells()
    seconds()
sys.exit(verdict())

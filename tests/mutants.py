#!/usr/bin/env python3
"""Which small errors in engine/ and ops/ the tests would notice.

  tests/mutants.py [--count 400] [--seed 1] [--folder build-mutants] [--survivors] [--show] [PROGRAM...]

Chooses so many places where the source could be wrong by one small step (mutations.py), compiles a copy of the library in which an
environment variable says which of them is, and for each runs the test cases that reach it until one fails, crashes or takes ten times
as long as it should: quick ones before long ones, and programs whose cases reach little else first. --survivors takes over the tests as
they stand now and tries again what was not noticed, perhaps by other programs; --show prints what the last run found. What no test can
notice is listed, with the reason, in equivalent_mutants.txt, and does not count.
"""
import argparse, collections, json, os, random, re, resource, shlex, shutil, subprocess, sys

import mutations

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
# In double, and not of models/, which take long: semi_supervised, stochastic_networks, kmeans-double, estimators.
PROGRAMS = ["menu", "formula", "select", "distributions", "first_contact", "gumbel_softmax_density", "metamorphic-double", "ops",
            "sinkhorn", "matching", "engine", "rules", "subset", "simd-double", "properties-double"]
QUICK = 0.05  # seconds
MEMORY = 8 << 30
MUTANT_HPP = """#pragma once
#include <cstdio>
#include <cstdlib>
struct ArgtapeMutants {
  int chosen = std::getenv("ARGTAPE_MUTANT") ? std::atoi(std::getenv("ARGTAPE_MUTANT")) : -1;
  bool reached[%d] = {};
  ~ArgtapeMutants() {
    const char* name = std::getenv("ARGTAPE_REACHED");
    std::FILE* file = name ? std::fopen(name, "a") : nullptr;
    if (!file) return;
    for (int k = 0; k < %d; ++k)
      if (reached[k]) std::fprintf(file, "%%d\\n", k);
    std::fclose(file);
  }
};
inline ArgtapeMutants argtape_mutants;
[[gnu::always_inline]] inline bool argtape_mutant(int k) {
  argtape_mutants.reached[k] = true;
  return __builtin_expect(argtape_mutants.chosen == k, false);
}
"""


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def write(text, *path):
    """Leaves a file alone that has the text, so that nothing is compiled again."""
    if os.path.exists(os.path.join(*path)) and read(*path) == text:
        return
    with open(os.path.join(*path), "w", encoding="utf-8") as f:
        f.write(text)


def compiled_lines(file, flags):
    """The numbers of a file's lines that a compiler sees: the others are for another machine or scalar."""
    text = read(file)
    if not re.search(r"^#\s*(if|elif|else)", text, re.M):
        return range(1, text.count("\n") + 2)
    source = subprocess.check_output(["c++", "-E", "-w", "-x", "c++", *flags, file], universal_newlines=True)
    live, here, line = set(), False, 0
    for text in source.split("\n"):
        marker = re.match(r'# (\d+) "(.*?)"', text)
        if marker:
            here, line = os.path.realpath(marker.group(2)) == os.path.realpath(file), int(marker.group(1))
            continue
        if here and text.strip():
            live.add(line)
        line += 1
    return live


class Campaign:
    def __init__(self, folder):
        self.folder, self.tree, self.build = folder, os.path.join(folder, "tree"), os.path.join(folder, "build")
        self.results = os.path.join(folder, "results.json")

    def load(self):
        kept = json.loads(read(self.results))
        self.mutants = {int(k): m for k, m in kept["mutants"].items()}
        self.found = {int(k): v for k, v in kept["found"].items()}
        self.count, self.cases = kept["count"], kept["cases"]

    def save(self):
        write(json.dumps({"mutants": self.mutants, "found": self.found, "count": self.count, "cases": self.cases}), self.results + ".new")
        os.replace(self.results + ".new", self.results)

    def choose(self, count, seed):
        """Some more than `count`, since some do not compile."""
        flags = ["-std=c++17", "-march=native", "-DARGTAPE_DOUBLE", "-I" + ROOT]
        flags += shlex.split(subprocess.check_output(["pkg-config", "--cflags", "xtensor"], universal_newlines=True))
        everywhere = []
        self.count, self.found, self.cases = count, {}, {}
        for layer in ("engine", "ops"):
            for folder, _, files in sorted(os.walk(os.path.join(ROOT, layer))):
                for file in sorted(f for f in files if f.endswith((".cpp", ".hpp"))):
                    name = os.path.relpath(os.path.join(folder, file), ROOT)
                    text = read(ROOT, name)
                    for begin, end, instead in mutations.mutants_of(text, compiled_lines(os.path.join(ROOT, name), flags))[1]:
                        line = text.count("\n", 0, begin) + 1
                        everywhere.append({"file": name, "line": line, "begin": begin, "end": end, "last": text.count("\n", 0, end) + 1,
                                           "on": text.split("\n")[line - 1].strip(),
                                           "was": " ".join(text[begin:end].split()), "is": instead})
        print("%d places where the source could be wrong" % len(everywhere))
        chosen = random.Random(seed).sample(everywhere, min(len(everywhere), count * 3 // 2))
        self.mutants = dict(enumerate(chosen))

    def copy(self, *names):
        for name in names:
            to = os.path.join(self.tree, name)
            if os.path.isdir(os.path.join(ROOT, name)):
                shutil.rmtree(to, ignore_errors=True)
                shutil.copytree(os.path.join(ROOT, name), to)
            else:
                shutil.copy(os.path.join(ROOT, name), to)

    def write_sources(self):
        write(MUTANT_HPP % (len(self.mutants), len(self.mutants)), self.tree, "engine", "mutant.hpp")
        files = collections.defaultdict(list)
        for number, m in self.mutants.items():
            files[m["file"]].append((number, (m["begin"], m["end"], m["is"])))
        for name, numbered in files.items():
            if not os.path.exists(os.path.join(self.tree, name + ".plain")):
                shutil.copy(os.path.join(self.tree, name), os.path.join(self.tree, name + ".plain"))
            text = read(self.tree, name + ".plain")
            numbered = [n for n in numbered if not self.mutants[n[0]].get("gone")]
            text, inside = mutations.with_mutants(mutations.Source(text).code, numbered)
            for number, _ in numbered:
                if number not in inside:
                    self.mutants[number]["gone"] = "overlaps"
            write('#include "engine/mutant.hpp"\n#line 1\n' + text, self.tree, name)
        self.save()

    def drop_faulty(self, said):
        """Leaves out the mutants in the lines that an error is in, or is told of in what is compiled from them; how many."""
        place = r"((?:engine|ops)/[\w/]+\.[ch]pp):(\d+):(?:\d+:)?"
        for kind, least in ((" (?:error:|sorry)", True), (" (?:error:|sorry)", False), (" +required from", True), ("", False)):
            faulty = set(re.findall(place + kind, said))
            gone = [m for m in self.mutants.values() if not m.get("gone") and any(
                m["file"] == file and m["line"] <= int(line) <= (m["line"] if least else m["last"]) for file, line in faulty)]
            for m in gone:
                m["gone"] = "does not compile"
            if gone:
                return len(gone)
        return 0

    def compile(self, targets):
        while True:
            done = subprocess.run(["ninja", "-j1", "-k0", "-C", self.build, *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  universal_newlines=True, env=dict(os.environ, LC_ALL="C"))
            if done.returncode == 0:
                return
            gone = self.drop_faulty(done.stdout)
            if not gone:
                sys.exit(done.stdout[-5000:] + "\nit does not compile, whatever is left out")
            print("%d mutants that do not compile are left out" % gone, flush=True)
            self.write_sources()

    def run(self, program, names, seconds, **env):
        """Whether the test cases pass, and the seconds they took of a processor."""
        def limit():
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        def used():
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            return children.ru_utime + children.ru_stime
        before = used()
        command = [os.path.join(self.build, "test_" + program), "--abort-after=1",
                   "--test-case=" + ",".join(re.sub(r'[,\\"*]', "?", name) for name in names)]
        try:
            status = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder, timeout=30 * seconds,
                                    preexec_fn=limit, env=dict(os.environ, **env)).returncode
        except subprocess.TimeoutExpired:  # it waits for what does not come
            status = 1
        return status == 0, used() - before

    def look_around(self, programs):
        """For each mutant the programs that reach it, in the order to try them, and their cases, as (seconds, name)."""
        record = os.path.join(self.folder, "reached")
        for program in programs:
            binary = os.path.join(self.build, "test_" + program)
            if self.cases.get(program, {}).get("built") == os.path.getmtime(binary):
                continue
            self.cases[program] = {"built": os.path.getmtime(binary), "cases": []}
            said = subprocess.check_output([binary, "--list-test-cases"], universal_newlines=True)
            for name in [line for line in said.split("\n") if line and not line.startswith(("[doctest]", "====="))]:
                if os.path.exists(record):
                    os.remove(record)
                passes, seconds = self.run(program, [name], 600, ARGTAPE_REACHED=record)
                if not passes:
                    sys.exit("without a mutant, test_%s fails: %s" % (program, name))
                reached = sorted({int(n) for n in read(record).split()}) if os.path.exists(record) else []
                self.cases[program]["cases"].append([seconds, name, reached])
            self.save()
        self.reach, least = collections.defaultdict(dict), {}
        for program in programs:
            for seconds, name, reached in self.cases[program]["cases"]:
                for number in reached:
                    self.reach[number].setdefault(program, []).append((seconds, name))
                    least[number, program] = min(least.get((number, program), len(reached)), len(reached))
        for number, by_program in self.reach.items():
            self.reach[number] = dict(sorted(by_program.items(), key=lambda p: least[number, p[0]]))

    def hunt(self, numbers):
        """Quick test cases for all of them, then the others for those that are left."""
        for quick in (True, False):
            numbers = [n for n in numbers if not self.found.get(n, "").startswith("killed")]
            for done, number in enumerate(numbers):
                self.found[number] = "survives" if self.reach[number] else "not reached"
                for program, cases in self.reach[number].items():
                    cases = [case for case in cases if (case[0] < QUICK) == quick]
                    limit = int(10 * sum(seconds for seconds, _ in cases)) + 2
                    if cases and not self.run(program, [name for _, name in cases], limit, ARGTAPE_MUTANT=str(number))[0]:
                        self.found[number] = "killed by " + program
                        break
                self.save()
                if not self.found[number].startswith("killed"):
                    print("%s %d/%d %s" % ("quick" if quick else "all", done + 1, len(numbers), self.words(number)), flush=True)

    def words(self, number):
        m = self.mutants[number]
        return "%d: %s:%d: `%s` -> `%s`: %s" % (number, m["file"], m["line"], m["was"], m["is"] or "", self.found[number])

    def equivalent(self):
        """The numbers of those that equivalent_mutants.txt has, with the reason."""
        known = {}
        for line in read(HERE, "equivalent_mutants.txt").split("\n"):
            if line and not line.startswith("#"):
                *mutant, why = line.split(" | ")
                known[tuple(mutant)] = why
        keys = {n: (m["file"], m["on"], m["was"], m["is"] or "") for n, m in self.mutants.items()}
        return {n: known[key] for n, key in keys.items() if key in known}

    def tell(self):
        equivalent = self.equivalent()
        tried = [n for n in self.found if n not in equivalent]
        killed = [n for n in tried if self.found[n].startswith("killed")]
        for n in sorted(set(tried) - set(killed), key=lambda n: (self.mutants[n]["file"], self.mutants[n]["line"])):
            print(self.words(n))
        print("%d of %d mutants killed (%.1f %%), %d reached by no test; beside them %d equivalent ones" % (
            len(killed), len(tried), 100 * len(killed) / max(1, len(tried)), sum(self.found[n] == "not reached" for n in tried),
            len(equivalent)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", default=os.path.join(ROOT, "build-mutants"))
    parser.add_argument("--survivors", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("programs", metavar="PROGRAM", nargs="*", default=PROGRAMS)
    given = parser.parse_args()
    campaign = Campaign(os.path.abspath(given.folder))
    if not given.show:
        if given.survivors:
            campaign.load()
            campaign.copy("tests")
        else:
            os.makedirs(campaign.tree, exist_ok=True)
            campaign.copy("engine", "ops", "models", "tests", "examples", "meson.build", "meson_options.txt")
            shutil.rmtree(campaign.build, ignore_errors=True)
            subprocess.run(["meson", "setup", campaign.build, campaign.tree, "-Dbuildtype=plain", "-Doptimization=1", "-Dexamples=false",
                            "-Dwarning_level=0", "-Dcpp_args=-Werror=vla -Werror=narrowing"], check=True, stdout=subprocess.DEVNULL)
            campaign.choose(given.count, given.seed)
            campaign.write_sources()
        campaign.compile(["test_" + p for p in given.programs])
        campaign.look_around(given.programs)
        equivalent = campaign.equivalent()
        there = [n for n, m in campaign.mutants.items() if not m.get("gone") and n not in equivalent][:campaign.count]
        campaign.hunt([n for n in there if not campaign.found.get(n, "").startswith("killed")])
    campaign.load()
    campaign.tell()


if __name__ == "__main__":
    main()

"""JSON files as a person, or another program, may have made them: everything in them removed, or replaced by another kind."""
import copy, itertools, json, os

OTHERS = [None, "x", -1, 1.5, True, [], {}, [1, "x"], {"x": 1}, 2 ** 64]


def places(value, path=()):
    """What leads to each thing in it; of a list's elements the first and the last."""
    keys = list(value) if isinstance(value, dict) else sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield path + (key,)
        yield from places(value[key], path + (key,))


def changed(whole):
    """(what was done, the file's text) for each change."""
    for path in places(whole):
        for other in [KeyError, *OTHERS]:
            new = copy.deepcopy(whole)
            inner = new
            for key in path[:-1]:
                inner = inner[key]
            if other is KeyError:
                del inner[path[-1]]
            else:
                inner[path[-1]] = other
            yield "%s %s" % (".".join(map(str, path)), "removed" if other is KeyError else json.dumps(other)), json.dumps(new)
    for text in ["", "{", "[]", "3", "null", '"x"', '{"x": 1e999}', "\xff", "{}"]:
        yield repr(text), text


def judged(file, run, check, every=1):
    """run() after each change, or every so many, gives (status, output, error): it takes the file, or refuses it in a line of
    words that names it."""
    with open(file) as f:
        good = f.read()
    refused = 0
    for what, text in itertools.islice(changed(json.loads(good)), 0, None, every):
        with open(file, "w") as f:
            f.write(text)
        status, _, err = run()
        refused += status != 0
        # That an image has as many values as it needs is its picture's to say.
        named = (os.path.basename(file) in err or os.path.dirname(file) in err) and "; " in err or "Picture: image" in err
        fine = status == 0 or status in [1, 2] and err.count("\n") == 1 and "json.exception" not in err and named
        check(fine, "%s with %s: status %d, %r" % (os.path.basename(file), what, status, err))
    with open(file, "w") as f:
        f.write(good)
    check(refused > 10 / every, "%s: %d changes were refused" % (os.path.basename(file), refused))
    check(run()[0] == 0, "%s as it was is taken" % os.path.basename(file))

"""Checks that are counted: each prints what should hold where it does not."""
counts = {"passed": 0, "failed": 0}


def check(holds, what):
    counts["passed" if holds else "failed"] += 1
    if not holds:
        print("FAILED " + what)
    return holds


def verdict():
    """Prints how many there were; the status to end with."""
    print("%(passed)d passed, %(failed)d failed" % counts)
    return 1 if counts["failed"] else 0

"""Virtual environments with packages from PyPI, kept for the next time."""
import os
import subprocess
import sys


def python_with(*packages):
    """The Python of an environment that has these packages, made if need be; None if it cannot be."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(cache, "argtape", "-".join(packages).replace("==", "-"))
    python = os.path.join(folder, "bin", "python")
    ready = os.path.join(folder, "ready")
    if not os.path.exists(ready):
        for command in ([sys.executable, "-m", "venv", "--clear", folder],
                        [python, "-m", "pip", "install", "-q", *packages]):
            if subprocess.run(command, stdout=sys.stderr).returncode != 0:  # ours is the caller's
                return None
        open(ready, "w").close()
    return python

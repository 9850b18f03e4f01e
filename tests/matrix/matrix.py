"""Run the tests under the oldest and newest libraries and Pythons, each combination in its own environment.

usage: python tests/matrix/matrix.py [-h] [--list] [--only NAME [--exact]] [--jobs N] [TEST ...]

Prints one line per combination and exits with 1 if one failed. Environments are cached in .cache/matrix and rebuilt
when their packages change. A combination is skipped, with the reason, if this machine lacks its Python or one of
its packages has no wheel for that Python. TEST replaces the tests that a combination runs by default.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache/matrix"
TIMEOUT = 1500
"""Time limit for the tests of one combination, in seconds: three times the longest on an idle machine."""

EXAMPLES = 10
"""Number of examples per property: the main environment tries more, and the matrix looks for other faults."""

LIBRARY_TESTS = ("tests/guestlink", "tests/garcon", "tests/flows", "tests/interop/test_grpc_cpp.py")
"""The tests that use gRPC, protobuf, watchdog, D-Bus and psutil."""
PYTHON_TESTS = (*LIBRARY_TESTS, "tests/guestlink_host", "tests/vshd", "tests/sommelier_shim")
"""The tests that another Python version can break: those above and more."""

CHECKERS = ("mypy", "ruff", "grpc-stubs", "types-")
"""Packages of requirements-dev.txt that tests do not import."""
COMPILED = "grpcio,protobuf,dbus-fast,psutil,watchdog,pywayland,cffi"
"""Packages that pip must not compile: a combination without wheels is skipped."""
LIBRARIES = ("dbus-fast", "grpcio", "protobuf", "psutil", "pyxdg", "sdnotify", "watchdog")
"""What Debian packages: the dependencies in pyproject.toml, and two libraries of the tests."""


class Combination(NamedTuple):
    """One line of the matrix.

    :ivar python: the version, as in 3.11.
    :ivar versions: packages whose versions differ from requirements-dev.txt, which has the newest.
    :ivar debian: whether to use Debian's own packages of the libraries instead.
    """

    name: str
    python: str
    versions: dict[str, str]
    tests: tuple[str, ...] = LIBRARY_TESTS
    debian: bool = False

    def requirements(self) -> list[str]:
        """The packages for pip to install."""
        pinned = dict(
            line.split("==")
            for line in (CHECKOUT / "requirements-dev.txt").read_text().split()
            if "==" in line and not line.startswith(CHECKERS)
        )
        if self.debian:
            return [f"{name}=={version}" for name, version in pinned.items() if name not in LIBRARIES]
        return [f"{name}=={version}" for name, version in (pinned | self.versions).items()]


# The oldest versions that a distribution ships (packaging.md §5.2). Their wheels end at Python 3.11, for which
# grpcio 1.48 has none; newer Pythons use the oldest version that has wheels.
MATRIX = (
    Combination(
        "fedora",
        "3.11",
        {"protobuf": "3.19.6", "grpcio": "1.49.1", "watchdog": "2.2.1", "dbus-fast": "1.84.2", "psutil": "5.9.4"},
    ),
    Combination(
        "debian",
        "3.11",
        {"protobuf": "4.21.12", "grpcio": "1.51.1", "watchdog": "2.2.1", "dbus-fast": "1.84.2", "psutil": "5.9.4"},
    ),
    Combination("debian-packages", "of Debian", {}, debian=True),
    Combination(
        "oldest-3.12",
        "3.12",
        {"protobuf": "3.19.6", "grpcio": "1.59.0", "watchdog": "3.0.0", "dbus-fast": "2.0.0", "psutil": "5.9.8"},
    ),
    Combination(
        "oldest-3.13",
        "3.13",
        {"protobuf": "3.19.6", "grpcio": "1.66.2", "watchdog": "6.0.0", "dbus-fast": "2.24.0", "psutil": "6.0.0"},
    ),
    Combination("newest-3.11", "3.11", {}),
    Combination("newest-3.12", "3.12", {}, PYTHON_TESTS),
    Combination("newest-3.13", "3.13", {}, PYTHON_TESTS),
    Combination("newest-3.14", "3.14", {}, PYTHON_TESTS),
)


class Skipped(Exception):
    """This combination cannot run on this machine; the text gives the reason."""


class Failed(Exception):
    """Building the environment failed, or its tests did; the text is the end of the output."""


def find_python(version: str) -> str:
    """A Python interpreter of this version that can create virtual environments.

    :raises Skipped: this machine has none.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python3")))]
    for candidate in candidates:
        program = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
        if candidate and _output([candidate, "-c", program]) == version:
            return candidate
    raise Skipped(f"no Python {version} on this machine")


def find_debian_python() -> str:
    """Debian's Python interpreter, with Debian's packages of the libraries.

    :raises Skipped: this is not Debian, or the packages are not installed.
    """
    program = "import ensurepip, grpc, google.protobuf, watchdog, dbus_fast, psutil, xdg, sdnotify; print('here')"
    if _output(["/usr/bin/python3", "-c", program]) != "here":
        packages = " ".join(f"python3-{name.removeprefix('py')}" for name in LIBRARIES)
        raise Skipped(f"no libraries of Debian's (apt install python3-venv {packages})")
    return "/usr/bin/python3"


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def prepare(combination: Combination) -> Path:
    """Build the environment, or reuse the cached one; returns its interpreter.

    :raises Skipped: this machine lacks the Python, or pip finds no wheels for it.
    :raises Failed: pip failed for another reason.
    """
    python = find_debian_python() if combination.debian else find_python(combination.python)
    version = _output([python, "-VV"])
    requirements = combination.requirements()
    key = hashlib.sha256("\n".join([python, version, *requirements]).encode()).hexdigest()[:12]
    directory = CACHE / f"{combination.name}-{key}"
    interpreter = directory / "bin/python"
    if (directory / "complete").exists():
        return interpreter
    for old in CACHE.glob(f"{combination.name}-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    options = ["--system-site-packages"] if combination.debian else []
    _run([python, "-m", "venv", *options, str(directory)])
    pip = [str(interpreter), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--only-binary", COMPILED, *requirements])
    (site_packages,) = directory.glob("lib/python*/site-packages")
    paths = [f"{CHECKOUT}/{part}" for part in ("lib", "guest", "host")]
    (site_packages / "guestlink.pth").write_text("\n".join(paths) + "\n")
    (directory / "complete").touch()
    return interpreter


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=TIMEOUT)
    if missing := re.search(r"No matching distribution found for (\S+)", done.stderr):
        raise Skipped(f"there is no wheel of {missing[1]} for it")
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv[:4])} ...\n{done.stderr[-2000:]}")


def run_tests(interpreter: Path, tests: list[str], log: Path) -> str:
    """Run pytest; returns the last line of its output.

    :raises Failed: a test failed; the text is the end of the log.
    """
    argv = [str(interpreter), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not container and not slow"]
    # The outer environment's variables for Python and pytest must not affect this one.
    outer = ("PYTHON", "VIRTUAL_ENV", "PYTEST_")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "GUESTLINK_TEST_EXAMPLES": str(EXAMPLES)}
    environ["GUESTLINK_FUZZ_SECONDS"] = "0"  # one round of each
    with open(log, "w") as output:
        try:
            status = subprocess.run(
                [*argv, *tests],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=CHECKOUT,
                env=environ,
                timeout=TIMEOUT,
            ).returncode
        except subprocess.TimeoutExpired:
            raise Failed(f"not ready after {TIMEOUT} s: {log}") from None
    text = log.read_text(errors="replace")
    if status != 0:
        raise Failed(f"{text[-6000:]}\nall of it: {log}")
    return text.strip().splitlines()[-1].strip("= ")


def versions_of(interpreter: Path) -> str:
    """The installed versions, in short."""
    program = """
import sys
from importlib.metadata import version
from google.protobuf.internal import api_implementation
print("Python %d.%d.%d," % sys.version_info[:3], "protobuf", version("protobuf"), f"({api_implementation.Type()}),",
      ", ".join(f"{name} {version(name)}" for name in ("grpcio", "watchdog", "dbus-fast", "psutil")))
"""
    return _output([str(interpreter), "-c", program])


def try_combination(combination: Combination, tests: list[str]) -> tuple[bool, str]:
    """Run one combination; returns False if it failed, else True, and the text to print."""
    started = time.monotonic()
    try:
        interpreter = prepare(combination)
        chosen = tests or [test for test in combination.tests if (CHECKOUT / test).exists()]
        verdict = run_tests(interpreter, chosen, CACHE / f"{combination.name}.log")
    except Skipped as skipped:
        return True, f"{combination.name}: skipped, {skipped}"
    except (Failed, subprocess.TimeoutExpired) as failed:
        return False, f"{combination.name}: FAILED\n{failed}"
    spent = time.monotonic() - started
    return True, f"{combination.name}: {verdict} | {versions_of(interpreter)} | {spent:.0f} s in all"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the combinations")
    parser.add_argument("--only", metavar="NAME", help="run combinations whose name contains NAME")
    parser.add_argument("--exact", action="store_true", help="with --only: the whole name")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 4), help="how many at a time")
    parser.add_argument("tests", nargs="*", metavar="TEST")
    arguments = parser.parse_args()
    wanted = arguments.only or ""
    chosen = [row for row in MATRIX if (row.name == wanted if arguments.exact else wanted in row.name)]
    if arguments.list:
        for combination in chosen:
            packages = ", ".join(f"{name} {version}" for name, version in combination.versions.items())
            packages = packages or ("libraries of Debian's packages" if combination.debian else "newest")
            print(f"{combination.name}: Python {combination.python}, {packages}")
        return 0
    if not chosen:
        parser.error(f"no combination has {arguments.only!r} in its name")
    CACHE.mkdir(parents=True, exist_ok=True)
    good = True
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for future in as_completed([pool.submit(try_combination, row, arguments.tests) for row in chosen]):
            passed, text = future.result()
            good = good and passed
            print(text, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

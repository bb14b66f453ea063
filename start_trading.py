#!/usr/bin/env python3
"""Prepares .venv from the hash-locked requirements, then runs Mandi in it. Standard library only.

    python3 start_trading.py                     trade on paper: the local stack, then a live summary (`mandi up`)
    python3 start_trading.py --check             the same, verified, one line of JSON, exit 0 or not
    python3 start_trading.py test [pytest args]  install the test requirements too, run the whole suite
    python3 start_trading.py setup               only prepare

This file must parse on Python 3.7, so that an old Python gets an explanation and not a SyntaxError.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST = (3, 11)
LOCKS = {"run": "requirements.lock", "test": "requirements-test.lock"}
STAMP = "mandi.json"
# settings of a caller's shell that would send packages or imports elsewhere, or make each process compile anew
FOREIGN = [
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "__PYVENV_LAUNCHER__",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_REQUIRE_HASHES",
    "UV_TARGET",
    "UV_PREFIX",
    "UV_SYSTEM_PYTHON",
    "UV_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
]


class SetupError(Exception):
    """What went wrong and what to do."""


def refusal(version: Sequence[int], platform: str, has_module: Callable[[str], bool]) -> str | None:
    """Why this machine cannot run Mandi as it is, with the remedy; None when it can."""
    if platform.startswith("win"):
        return (
            "Mandi runs on Linux (macOS is meant to work, but untested). On Windows use WSL2: run `wsl --install` in\n"
            "an administrator's PowerShell, restart, open Ubuntu, copy this folder into its home directory, and run\n"
            "`sudo apt install python3-venv && python3 start_trading.py` there."
        )
    if tuple(version[:2]) < OLDEST:
        return (
            "Mandi needs Python 3.11 or later; this is Python {}.{}. Install a newer one (Debian 12, Ubuntu 24.04 and\n"
            "later have it: `sudo apt install python3 python3-venv`) and run `python3.11 start_trading.py`."
        ).format(*version[:2])
    if not (has_module("venv") and has_module("ensurepip")):
        return "This Python lacks its venv module. On Debian and Ubuntu: `sudo apt install python3-venv`."
    return None


def has_module(name: str) -> bool:
    """Whether a module can be imported."""
    import importlib.util

    return importlib.util.find_spec(name) is not None


def digest(*names: str) -> str:
    """SHA-256 over files of the project, by content."""
    found = hashlib.sha256()
    for name in names:
        with open(os.path.join(ROOT, name), "rb") as file:
            found.update(hashlib.sha256(file.read()).digest())
    return found.hexdigest()


def wanted_stamp(purpose: str) -> dict[str, object]:
    """What `.venv` must have been made from. Equal stamps mean: nothing to install."""
    return {
        "python": list(sys.version_info[:3]),
        "base": os.path.realpath(sys.base_prefix),
        "root": ROOT,
        "project": digest("pyproject.toml", "bootstrap.lock"),
        "run": digest(LOCKS["run"]),
        "test": digest(LOCKS["test"]) if purpose == "test" else None,
    }


def satisfies(found: object, wanted: Mapping[str, object]) -> bool:
    """Whether a `.venv` with the stamp `found` serves `wanted`; one with the test requirements serves a plain run."""
    if not isinstance(found, dict):
        return False
    return all(found.get(key) == value for key, value in wanted.items() if not (key == "test" and value is None))


def read_stamp(venv: str) -> object:
    """The stamp in `venv`, None when it is absent or unreadable (then an installation did not finish)."""
    try:
        with open(os.path.join(venv, STAMP)) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def usable(venv: str) -> bool:
    """Whether `venv` has a working pip under this very Python."""
    check = "import sys, pip; print(list(sys.version_info[:3]), sys.base_prefix)"
    try:
        done = subprocess.run(
            [python_of(venv), "-I", "-c", check], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return done.stdout.decode().strip() == f"{list(sys.version_info[:3])} {sys.base_prefix}"


def python_of(venv: str) -> str:
    """The interpreter of `venv`."""
    return os.path.join(venv, "bin", "python")


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what would redirect imports or installations."""
    return {key: value for key, value in environ.items() if key not in FOREIGN}


def uv_settings(pip_config: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The user's package index settings for uv, which does not read pip's.

    `pip_config` is the text of `pip config list`. Hashes are required of every package, so asking all indexes for
    the best match is safe. A UV_ variable the user has set wins.
    """
    found: dict[str, tuple[int, str]] = {}
    for line in pip_config.splitlines():
        name, equals, value = line.partition("=")
        section, dot, key = name.rpartition(".")
        if not (equals and dot):
            continue
        try:
            text = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            continue
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if rank is not None and rank >= found.get(key, (-1, ""))[0]:
            found[key] = (rank, str(text))
    settings = {}
    for key, target, joint in (
        ("index-url", "UV_DEFAULT_INDEX", " "),
        ("extra-index-url", "UV_INDEX", " "),
        ("find-links", "UV_FIND_LINKS", ","),
        ("no-index", "UV_NO_INDEX", " "),
        ("trusted-host", "UV_INSECURE_HOST", " "),
        ("timeout", "UV_HTTP_TIMEOUT", " "),
        ("default-timeout", "UV_HTTP_TIMEOUT", " "),
        ("cert", "SSL_CERT_FILE", " "),
        ("proxy", "ALL_PROXY", " "),
    ):
        if key in found and not environ.get(target):
            settings[target] = joint.join(found[key][1].split())
    if "UV_INDEX" in settings and not environ.get("UV_INDEX_STRATEGY"):
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    began = time.time()
    sys.stdout.write(f"  {text} ... ")
    sys.stdout.flush()
    try:
        yield
    except BaseException:
        print("failed")
        raise
    print(f"{time.time() - began:.1f} s")


def run(command: Sequence[str], environ: Mapping[str, str], what: str) -> str:
    """Run quietly; on failure raise `SetupError` with the end of its output."""
    done = subprocess.run(command, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise SetupError(
            f"{what} failed (exit {done.returncode}):\n{text[-4000:].strip()}\n"
            "Is the network, or your package index, reachable? Run the same command again: what was downloaded is kept."
        )
    return text


def make_venv(venv: str, environ: Mapping[str, str]) -> None:
    """An empty `.venv` with pip, replacing one that is half-made or of another Python."""
    if os.path.islink(venv):
        os.unlink(venv)
    if os.path.exists(venv):
        shutil.rmtree(venv)
    run([sys.executable, "-m", "venv", venv], environ, "making .venv")


def install(venv: str, purpose: str, environ: Mapping[str, str]) -> None:
    """Install uv, the locked requirements and the project itself, every file checked against its hash."""
    python, lock = python_of(venv), LOCKS[purpose]
    pip = [python, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    uv = [python, "-I", "-m", "uv"]
    project = ["install", "-q", "--no-deps", "--no-build-isolation"]
    try:
        with step("installing the installer (uv)"):
            run(pip + ["install", "-q", "--require-hashes", "-r", "bootstrap.lock"], environ, "installing uv")
            settings = uv_settings(run(pip + ["config", "list"], environ, "reading pip's settings"), environ)
            run(uv + ["--version"], environ, "starting uv")
    except SetupError as error:
        print(f"  going on with plain pip, which is slower: {error}")
        with step(f"installing {lock}"):
            run(pip + ["install", "-q", "--require-hashes", "-r", lock], environ, "installing " + lock)
            run(pip + project + ["-e", "."], environ, "installing Mandi")
        return
    with step(f"installing {lock}"):
        # no --compile-bytecode: it costs 9 s of a cold start; what is imported is compiled once, by the first process
        environ = dict(environ, **settings)
        run(uv + ["pip", "sync", "-q", "--python", python, "--require-hashes", lock], environ, "installing " + lock)
        run(uv + ["pip"] + project + ["--python", python, "-e", "."], environ, "installing Mandi")


def prepare(purpose: str) -> str:
    """Bring `.venv` to what `purpose` ("run" or "test") needs; instant when it is there already."""
    import fcntl

    venv, wanted = os.path.join(ROOT, ".venv"), wanted_stamp(purpose)
    with open(os.path.abspath(__file__)) as this_file:
        fcntl.flock(this_file, fcntl.LOCK_EX)  # two starts at once: the second waits, then finds the stamp
        found = read_stamp(venv)
        if satisfies(found, wanted) and os.path.exists(python_of(venv)):
            return venv
        if wanted["test"] is None and isinstance(found, dict) and found.get("test") and usable(venv):
            purpose, wanted = "test", wanted_stamp("test")  # keep the test requirements that were there
        print("preparing .venv (once; later starts skip this)")
        environ = clean_environment(os.environ)
        if os.path.exists(os.path.join(venv, STAMP)):
            os.unlink(os.path.join(venv, STAMP))
        if not usable(venv):
            with step("making .venv"):
                make_venv(venv, environ)
        install(venv, purpose, environ)
        with open(os.path.join(venv, STAMP + ".part"), "w") as file:
            json.dump(wanted, file)
        os.replace(os.path.join(venv, STAMP + ".part"), os.path.join(venv, STAMP))
    return venv


def pytest_arguments(arguments: list[str]) -> list[str]:
    """The suite on two processes, unless the caller chose."""
    chosen = any(a.startswith(("-n", "--numprocesses", "--dist")) or a in ("-p", "--pdb") for a in arguments)
    return arguments if chosen else ["-n", "2", "--dist", "worksteal"] + arguments


def main(arguments: list[str]) -> int:
    """Prepare, then become the command (`exec`: signals reach it directly)."""
    reason = refusal(sys.version_info[:3], sys.platform, has_module)
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    command = arguments[0] if arguments and arguments[0] in ("setup", "test", "up", "help", "--help", "-h") else "up"
    rest = arguments[1:] if arguments and arguments[0] == command else arguments
    if command in ("help", "--help", "-h"):
        print(__doc__)
        return 0
    try:
        venv = prepare("test" if command == "test" else "run")
    except (SetupError, OSError) as error:
        print(f"start_trading: {error}", file=sys.stderr)
        return 1
    if command == "setup":
        print(f"ready: {os.path.relpath(python_of(venv))} -m app.cli up")
        return 0
    module = ["pytest"] + pytest_arguments(rest) if command == "test" else ["app.cli", "up"] + rest
    clean = clean_environment(os.environ)
    clean["PATH"] = os.path.join(venv, "bin") + os.pathsep + clean.get("PATH", os.defpath)
    os.chdir(ROOT)
    sys.stdout.flush()
    return os.execve(python_of(venv), [python_of(venv), "-m"] + module, clean)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where this ended", file=sys.stderr)
        sys.exit(130)

"""The independent gRPC peer of tests/interop/grpc_cpp, built once and cached below .cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from guestlink.pb import generate
from support.needs import need, need_status_0

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = CHECKOUT / "tests/interop/grpc_cpp/peer.cc"
PROTOS = Path(generate.__file__).parent
CACHE = CHECKOUT / ".cache/grpc_cpp"
TOOLS = ("protoc", "grpc_cpp_plugin", "g++", "pkg-config")
LIMIT = 60.0
SILENCE = 120.0
"""Seconds that a peer may print nothing while a test waits for a line."""


def build() -> Path:
    """The program's path; compiles the program when the sources or the compiler have changed.

    If a tool is missing, skips the test, or fails it in continuous integration.
    """
    packages = (CHECKOUT / "tests/apt/grpc_cpp.txt").read_text().strip()
    need(*TOOLS, packages=packages)
    need_status_0("pkg-config", "--exists", "grpc++", "protobuf", packages=packages)
    protos = [PROTOS / f"{name}.proto" for name in ("common", "container_guest", "container_host")]
    key = hashlib.sha256(subprocess.run(["g++", "--version"], check=True, capture_output=True).stdout)
    for path in (SOURCE, *protos, Path(__file__)):
        key.update(path.read_bytes())
    program = CACHE / f"peer-{key.hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            for old in CACHE.glob("peer-*"):
                old.unlink()
            _compile(protos, program)
    return program


def _compile(protos: list[Path], program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        plugin = shutil.which("grpc_cpp_plugin")
        outputs = [f"--cpp_out={directory}", f"--plugin=protoc-gen-grpc={plugin}", f"--grpc_out={directory}"]
        _run(["protoc", f"-I{PROTOS}", *outputs, *(path.name for path in protos)])
        sources = [SOURCE, *Path(directory).glob("*.cc")]
        objects = [f"{directory}/{source.stem}.o" for source in sources]
        flags = _run(["pkg-config", "--cflags", "grpc++", "protobuf"]).split()
        libraries = _run(["pkg-config", "--libs", "grpc++", "protobuf"]).split()
        compile_ = ["g++", "-std=c++17", "-O0", f"-I{directory}", *flags, "-c"]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(
                lambda pair: _run([*compile_, str(pair[0]), "-o", pair[1]]), zip(sources, objects, strict=True)
            )
            list(done)
        _run(["g++", *objects, *libraries, "-o", f"{directory}/peer"])
        os.rename(f"{directory}/peer", program)


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stderr[-4000:]}"
    return done.stdout


class CppPeer:
    """A running peer; a context manager that stops the peer at exit.

    :param words: the peer's arguments, as peer.cc describes them.
    """

    def __init__(self, *words: str) -> None:
        environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        self._process = subprocess.Popen(
            [str(build()), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )

    def __enter__(self) -> CppPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(LIMIT)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def line(self) -> Any:
        """The next line that the peer prints, decoded; the peer's calls have a deadline of a minute.

        A peer that prints nothing for :data:`SILENCE` seconds is killed.
        """
        assert self._process.stdout is not None
        silent = threading.Timer(SILENCE, self._process.kill)
        silent.start()
        try:
            text = self._process.stdout.readline()
        finally:
            silent.cancel()
            silent.join()
        assert text, f"the peer ended with {self._process.poll()}"
        return json.loads(text)

    def call(self, method: str, request: dict[str, Any]) -> Any:
        """Make the peer call an RPC; returns code, message and response."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{method} {json.dumps(request)}\n")
        self._process.stdin.flush()
        answer = self.line()
        assert "error" not in answer, answer
        return answer

"""Coverage-guided fuzzing of the wire, the relay and the proxy's own connection, from both sides.

``python tests/fuzz/wayland_atheris.py DIRECTORY [LIBFUZZER-OPTION...]``, with atheris installed; libFuzzer writes
its findings to the directory. ``… unpack DIRECTORY`` writes the repository's corpus, which the tests repeat, to the
directory; ``… pack DIRECTORY`` replaces that corpus; minimise a directory first: ``… NEW DIRECTORY -merge=1``.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
CORPUS = TESTS / "fuzz/corpus/wayland.txt"


def read_corpus() -> list[bytes]:
    """The conversations in the repository, one per line in base64."""
    return [base64.b64decode(line) for line in CORPUS.read_text().split()]


def main() -> int:
    """See the module's docstring."""
    match sys.argv[1:]:
        case ["pack", name]:
            told = {path.read_bytes() for path in Path(name).iterdir()} - {b""}
            lines = (base64.b64encode(data).decode() for data in sorted(told, key=lambda data: (len(data), data)))
            CORPUS.parent.mkdir(exist_ok=True)
            CORPUS.write_text("".join(f"{line}\n" for line in lines))
        case ["unpack", name]:
            for number, data in enumerate(read_corpus()):
                (Path(name) / f"{number:05}").write_bytes(data)
        case [_, *_]:
            _fuzz()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def _fuzz() -> None:
    import logging

    import atheris

    logging.disable()
    sys.path[:0] = [str(TESTS.parent / "lib"), str(TESTS.parent / "guest"), str(TESTS)]
    with atheris.instrument_imports(include=["sommelier_shim"]):
        from support.wayland_fuzz import tell
    # libFuzzer runs this command when it merges.
    atheris.Setup([f"{sys.executable} {__file__}", *sys.argv[1:]], tell)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())

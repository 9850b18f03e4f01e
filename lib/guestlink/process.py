"""Runs programs of the system from an event loop, bounded in time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from guestlink.descriptor_limit import restore_limit
from guestlink.errors import reason
from guestlink.program import OUTPUT_LIMIT, CommandFailed, Completed


async def run(
    argv: Sequence[str],
    *,
    timeout: float,
    stdin: bytes | int | None = None,
    environ: Mapping[str, str] | None = None,
    output_limit: int = OUTPUT_LIMIT,
) -> Completed:
    """Run a command and wait for its exit; on a timeout or cancellation kill its process group.

    :param timeout: seconds; then the command and its process group are killed.
    :param stdin: the command's input, or a descriptor to read it from; ``None`` for an empty one.
    :param output_limit: bytes kept of each stream.
    :raises CommandFailed: the command could not be started or did not exit in time.
    """
    source = stdin if isinstance(stdin, int) else asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if isinstance(stdin, bytes) else source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
            start_new_session=True,
            restore_signals=True,
        )
    except (OSError, ValueError) as error:
        raise CommandFailed(f"cannot run {argv[0]}: {reason(error)}") from error
    restore_limit(process.pid)
    try:
        async with asyncio.timeout(timeout):
            _, stdout, stderr = await asyncio.gather(
                _feed(process.stdin, stdin if isinstance(stdin, bytes) else None),
                read_bounded(process.stdout, output_limit),
                read_bounded(process.stderr, output_limit),
            )
            status = await process.wait()
    except TimeoutError as error:
        raise CommandFailed(f"{argv[0]} did not end within {timeout:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        # After a kill asyncio waits for the end of the pipes, and does not read those whose buffers are full.
        getattr(process, "_transport").close()  # noqa: B009
        await process.wait()
    return Completed(tuple(argv), status, stdout, stderr)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes | None) -> None:
    if stream is None or data is None:
        return
    with contextlib.suppress(ConnectionError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def read_bounded(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """Read a stream to its end; keep ``limit`` bytes and drop the rest."""
    assert stream is not None
    kept = bytearray()
    while chunk := await stream.read(65536):
        kept += chunk[: limit - len(kept)]
    return bytes(kept)

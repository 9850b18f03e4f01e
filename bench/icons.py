"""A container's icons: drawn in the confined renderer, compared with rsvg-convert, which draws one file at a time.

``./dev bench icons``: 300 icons, those of this machine's packages, again and again with another comment. It prints
the time until all are on the disk, the same after a registration that brings the same pictures, the memory of the
renderer, and what rsvg-convert takes for the same SVGs in the same sizes, without confinement.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / part) for part in ("lib", "host")]

from guestlink_host.border.container_log import ContainerLog  # noqa: E402
from guestlink_host.border.pictures.draw_protocol import ReceivedPicture  # noqa: E402
from guestlink_host.border.pictures.renderer import Renderer  # noqa: E402
from guestlink_host.launchers.icon_updates import IconUpdates  # noqa: E402
from guestlink_host.launchers.icons import sides  # noqa: E402
from guestlink_host.launchers.launcher_files import LauncherFiles  # noqa: E402

ICONS = 300
PEER_ICONS = 20
"""Icons that rsvg-convert draws; its time is extrapolated."""
THEME = Path("/usr/share/icons/hicolor")


def main() -> None:
    """Measure and print."""
    found = sorted(THEME.glob("scalable/apps/*.svg"))
    if not found:
        sys.exit("no SVG icons in /usr/share/icons/hicolor; install some desktop programs")
    sources = [path.read_bytes() for path in found]
    pictures = [
        ReceivedPicture(True, content + b"\n<!-- %d -->\n" % number)
        for number, content in enumerate(islice(cycle(sources), ICONS))
    ]
    print(f"{ICONS} icons, made of {len(found)} SVGs of this machine, each in {len(sides(pictures[0]))} sizes")
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(_measure(pictures, Path(scratch)))
    _peer(pictures)


async def _measure(pictures: list[ReceivedPicture], directory: Path) -> None:
    files = LauncherFiles("bench", directory)
    renderer = Renderer("bench", asyncio.Semaphore(1))
    updates = IconUpdates("bench", files, renderer, _in_thread, ContainerLog(logging.getLogger("bench"), "bench"))
    began = time.perf_counter()
    await updates.update("guestlink-bench-first", [pictures[0]])
    print(f"the first icon, with the renderer's start   {(time.perf_counter() - began) * 1000:8.0f} ms")
    (process,) = psutil.Process().children()
    for name in ("all icons", "all icons again, the same pictures"):
        began, cpu = time.perf_counter(), time.process_time()
        for number, picture in enumerate(pictures):
            await updates.update(f"guestlink-bench-{number}", [picture])
        seconds, ours = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{name:43} {seconds * 1000:8.0f} ms  {seconds * 1000 / ICONS:6.1f} ms each, daemon {ours:.2f} s of CPU"
        )
    memory = process.memory_full_info()
    print(f"renderer between two pictures: {memory.uss / 1e6:.1f} MB unshared, {memory.pss / 1e6:.1f} MB PSS")
    await renderer.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    print(f"renderer and its processes: {seconds:.2f} s of CPU, peak {used.ru_maxrss / 1024:.1f} MB")
    stored = [path.stat().st_size for path in directory.rglob("*.png")]
    print(f"on the disk: {len(stored)} files, {sum(stored) / 1e6:.1f} MB")


async def _in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(work, *arguments)


def _peer(pictures: list[ReceivedPicture]) -> None:
    began = time.perf_counter()
    for picture in pictures[:PEER_ICONS]:
        for side in sides(picture):
            argv = ["rsvg-convert", "--width", str(side), "--height", str(side), "--keep-aspect-ratio"]
            subprocess.run(argv, input=picture.content, stdout=subprocess.DEVNULL, check=True)
    seconds = (time.perf_counter() - began) / PEER_ICONS
    name = "rsvg-convert, a process for each size"
    print(f"{name:43} {seconds * ICONS * 1000:8.0f} ms  {seconds * 1000:6.1f} ms each")


if __name__ == "__main__":
    main()

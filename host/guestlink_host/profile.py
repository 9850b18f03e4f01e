"""The LXD and Incus profile: containers that have it install Guestlink, adopt it and register, all by themselves.

The profile holds what is the same for every container. The directory and the token, which are not, are added by the
host's daemon, which looks for containers whose configuration names its user.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guestlink.errors import GuestlinkError
from guestlink_host.managers.lxd import WANTED_KEY, node_devices

PROFILE = "guestlink"
PACKAGES_AS = "/opt/guestlink-packages"
"""Where a container sees a directory of packages of the host's."""
_KEY_LIMIT = 64 * 1024
_SUFFIXES = (".deb", ".rpm", ".pkg.tar.zst", ".pkg.tar.xz")
_APT_KEY = "/usr/share/keyrings/guestlink.asc"
_RPM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-guestlink"
_SCRIPT = """\
#!/bin/sh
# Makes a guest of a new container; from `guestlink-host profile`, run once by cloud-init.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
has() { command -v "$1" > /dev/null; }

# At the first start, the system's own updates may hold apt's locks; the one of the lists has no timeout.
update() {
    until said=$(apt-get update 2>&1); do
        case $said in *"Could not get lock"*) sleep 2 ;; *) break ;; esac
    done
    echo "$said"
}
install() { apt-get -o DPkg::Lock::Timeout=600 install -y "$@"; }

"""
"""How the script begins that cloud-init runs."""
_FROM_REPOSITORIES = """\
if has apt-get; then
    update
    install guestlink
elif has dnf; then
    dnf install -y guestlink
else
    pacman -Sy --noconfirm --needed guestlink guestlink-sommelier
fi
"""
_FROM_DIRECTORY = f"""\
cd {PACKAGES_AS}
if has apt-get; then kind='*.deb'; elif has dnf; then kind='*.rpm'; else kind='*.pkg.tar.*[!g]'; fi
for file in ./guestlink*; do
    # shellcheck disable=SC2254  # a pattern
    case $file in ./guestlink-host*) ;; $kind) set -- "$@" "$file" ;; esac
done
if has apt-get; then
    install "$@" || {{ update; install "$@"; }} || install --no-install-recommends "$@"
elif has dnf; then
    dnf install -y "$@"
else
    pacman -U --noconfirm --needed "$@"
fi
"""


class Source(NamedTuple):
    """Where a container gets Guestlink's packages; with nothing set, from the archives that its image knows.

    :ivar apt: the address of an apt repository, as it stands behind ``deb``.
    :ivar dnf: the address of a dnf repository.
    :ivar key: a file with the repositories' public key.
    :ivar packages: a directory of the host's with package files; needs no network if the image has the rest.
    """

    apt: str = ""
    dnf: str = ""
    key: Path | None = None
    packages: Path | None = None


def profile(source: Source, gpu: Sequence[Path]) -> str:
    """The profile, as ``lxc profile edit`` and ``incus profile edit`` read it.

    :param gpu: device nodes of the host that containers get.
    :raises GuestlinkError: the key or the packages cannot be used.
    """
    devices: dict[str, Any] = node_devices(gpu)
    if source.packages is not None:
        _check_packages(source.packages)
        devices["guestlink-packages"] = {
            "type": "disk",
            "source": str(source.packages),
            "path": PACKAGES_AS,
            "readonly": "true",
        }
    value = {
        "name": PROFILE,
        "description": "Guestlink: applications of these containers appear on the host's desktop",
        "config": {WANTED_KEY: str(os.getuid()), "cloud-init.vendor-data": _script(source)},
        "devices": devices,
    }
    return _yaml(value)


_ADOPT = """\
failed=0
guestlink adopt || failed=1
# A user manager that runs already knows neither the new units nor the user's new groups.
for path in /var/lib/systemd/linger/*; do
    [ -e "$path" ] || continue
    user=${path##*/}
    loginctl enable-linger "$user"
    systemctl restart "user@$(id -u "$user").service"
done
exit "$failed"
"""


def _script(source: Source) -> str:
    """What cloud-init runs at the first start.

    It is vendor data, so that user data stays free, and a script, so that no list in the user data takes the place
    of one of ours. It writes the files itself: cloud-init's own modules need more than images have, such as gpg.
    """
    key = _read_key(source.key) if source.key is not None else ""
    parts = [_SCRIPT]
    if source.apt:
        signed = f"[signed-by={_APT_KEY}] " if key else ""
        lines = _file("/etc/apt/sources.list.d/guestlink.list", f"deb {signed}{source.apt}\n")
        parts.append(_where("apt-get", (_file(_APT_KEY, key) if key else "") + lines))
    if source.dnf:
        checked = f"gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://{_RPM_KEY}\n" if key else "gpgcheck=0\n"
        lines = _file(
            "/etc/yum.repos.d/guestlink.repo", f"[guestlink]\nname=Guestlink\nbaseurl={source.dnf}\n{checked}"
        )
        parts.append(_where("dnf", (_file(_RPM_KEY, key) if key else "") + lines))
    parts.append(_FROM_REPOSITORIES if source.packages is None else _FROM_DIRECTORY)
    return "".join([*parts, _ADOPT])


def _file(path: str, text: str) -> str:
    """A line of shell that writes a file."""
    return f"printf %s {shlex.quote(text)} > {path}\n"


def _where(program: str, lines: str) -> str:
    return f"if has {program}; then\n{lines}fi\n"


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            key = stream.read(_KEY_LIMIT)
    except OSError as error:
        raise GuestlinkError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if not key.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        raise GuestlinkError(
            f"{path} is no public key in text form", hint="make one with `gpg --armor --export NAME`"
        )
    return key.decode(errors="replace")


def _check_packages(path: Path) -> None:
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    if not any(name.startswith("guestlink") and name.endswith(_SUFFIXES) for name in names):
        raise GuestlinkError(
            f"{path} holds no packages of Guestlink", hint="build them there, for example with packaging/build-deb"
        )
    if path.stat().st_mode & 0o005 != 0o005:
        raise GuestlinkError(f"containers may not read {path}", hint=f"let them: chmod o+rx {path}")


def _yaml(value: Mapping[str, Any]) -> str:
    """YAML without a library: JSON is YAML too; only a text of several lines becomes a block, for people."""
    lines: list[str] = []
    for key, part in value.items():
        if not isinstance(part, Mapping) or not part:
            lines.append(f"{key}: {json.dumps(part)}")
            continue
        lines.append(f"{key}:")
        for name, inner in part.items():
            if isinstance(inner, str) and "\n" in inner:
                lines.append(f"  {name}: |")
                lines += [f"    {line}" for line in inner.splitlines()]
            else:
                lines.append(f"  {name}: {json.dumps(inner)}")
    return "\n".join(lines) + "\n"

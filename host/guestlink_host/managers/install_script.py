"""The script that installs Guestlink's packages in a container and adopts it, and the source of the packages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from guestlink.errors import GuestlinkError, reason

PACKAGES_AS = "/opt/guestlink-packages"
"""Path in the container of the host's directory of packages."""
_KEY_LIMIT = 64 * 1024
_SUFFIXES = (".deb", ".rpm", ".pkg.tar.zst", ".pkg.tar.xz")
_APT_KEY = "/usr/share/keyrings/guestlink.asc"
_RPM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-guestlink"
_SCRIPT = """\
#!/bin/sh
# Makes a guest of a container; from `guestlink-host`, run once by cloud-init or `attach --install`.
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
# For xdg-open. What Debian recommends with it is 250 MB of X11's and Perl's; without a network it stays away.
links() { has xdg-open || install --no-install-recommends xdg-utils || true; }

"""
"""The beginning of the script."""
_FROM_REPOSITORIES = """\
if has apt-get; then
    update
    install guestlink
    links
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
    links
elif has dnf; then
    dnf install -y "$@"
else
    pacman -U --noconfirm --needed "$@"
fi
"""


class Source(NamedTuple):
    """The source of a container's Guestlink packages; with nothing set, the repositories that its image has.

    :ivar apt: an apt repository: address, suite and components, as they follow ``deb`` in a sources list.
    :ivar dnf: the address of a dnf repository.
    :ivar key: a file with the repositories' public key.
    :ivar packages: a directory of the host with package files; needs no network if the image has the rest.
    """

    apt: str = ""
    dnf: str = ""
    key: Path | None = None
    packages: Path | None = None


def checked_source(source: Source) -> Source:
    """Check a source's repositories, key and packages, and return the source.

    :raises GuestlinkError: one of them cannot be used.
    """
    install_script(source)
    if source.packages is not None:
        package_files(source.packages)
    return source


def install_script(source: Source) -> str:
    """The script, which root runs in the container.

    :raises GuestlinkError: a repository or the key cannot be used.
    """
    _check_repositories(source)
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
    return "".join([*parts, "guestlink adopt\n"])


def _check_repositories(source: Source) -> None:
    """Check that each repository is one line: root's package manager reads it from a file."""
    if source.apt and not re.fullmatch(r"(\[[!-~ ]+\] )?[a-z+-]+:[!-~]+( [!-~]+)+", source.apt):
        raise GuestlinkError(
            f"{source.apt!r:.80} is no apt repository",
            hint="write ADDRESS SUITE COMPONENT, as in 'https://example.org/guestlink stable main'",
        )
    if source.dnf and not re.fullmatch(r"[a-z]+://[!-~]+", source.dnf):
        raise GuestlinkError(f"{source.dnf!r:.80} is no dnf repository", hint="write its address, as in https://…")


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
        raise GuestlinkError(
            f"{path} cannot be read: {reason(error)}", hint="check the path, and that you may read the file"
        ) from error
    if not key.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        raise GuestlinkError(
            f"{path} is no public key in text form", hint="make one with `gpg --armor --export NAME`"
        )
    return key.decode(errors="replace")


def package_files(directory: Path) -> list[Path]:
    """The packages for a container in a directory.

    :raises GuestlinkError: the directory has no packages of Guestlink.
    """
    found = sorted(directory.iterdir()) if directory.is_dir() else []
    packages = [path for path in found if path.name.startswith("guestlink") and path.name.endswith(_SUFFIXES)]
    if not packages:
        raise GuestlinkError(
            f"{directory} holds no packages of Guestlink",
            hint="build them there, for example with packaging/build-deb",
        )
    return [path for path in packages if not path.name.startswith("guestlink-host")]

"""ssh into a container through vsh, without a network port: vsh starts an sshd in inetd mode in the container.

The vsh session already authenticates both sides. ssh insists on keys all the same: ours is stored beside the
daemon's state, and the container generates its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from guestlink.errors import GuestlinkError
from guestlink.paths import private_directory
from guestlink.program import run_program
from guestlink_host.settings import state_directory

SUFFIX = ".guestlink"
"""Suffix of a container's name in ssh's configuration."""
_VARIABLE = "GUESTLINK_SSH_KEY"

_SERVER = f"""\
set -e
PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin
sshd=$(command -v sshd) || {{
  echo 'there is no sshd in this container; install its OpenSSH server package' >&2
  exit 127
}}
umask 077
dir=${{XDG_STATE_HOME:-$HOME/.local/state}}/guestlink/ssh
mkdir -p "$dir"
[ -s "$dir/host_key" ] || {{
  ssh-keygen -q -t ed25519 -N '' -C guestlink -f "$dir/new.$$"
  mv "$dir/new.$$" "$dir/host_key"
  rm -f "$dir/new.$$.pub"
}}
printf '%s\\n' "${_VARIABLE}" > "$dir/keys.$$"
mv "$dir/keys.$$" "$dir/authorized_keys"
set --
for name in XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS WAYLAND_DISPLAY DISPLAY XAUTHORITY; do
  eval "value=\\${{$name-}}"
  case $value in ''|*[!A-Za-z0-9_./:,=@+-]*) ;; *) set -- "$@" "$name=$value" ;; esac
done
[ $# = 0 ] || set -- -o "SetEnv=$*"
[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
exec "$sshd" -i -e -f /dev/null -o LogLevel=ERROR -o HostKey="$dir/host_key" \\
  -o AuthorizedKeysFile="$dir/authorized_keys" -o StrictModes=no -o UsePAM=no -o PermitRootLogin=yes \\
  -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PrintMotd=no -o PrintLastLog=no \\
  -o 'AcceptEnv=LANG LC_*' -o 'Subsystem=sftp internal-sftp' "$@"
"""


def server_command() -> tuple[list[tuple[str, str]], list[str]]:
    """The variables and the command that start sshd in the container.

    :raises GuestlinkError: we have no key and cannot generate one.
    """
    return [(_VARIABLE, _public_key())], ["/bin/sh", "-c", _SERVER]


def stanza(name: str, user: str, proxy: Sequence[str]) -> str:
    """The lines for a container in ssh's configuration.

    :param user: the container's user.
    :param proxy: the command of ``ProxyCommand``, as words.
    :raises GuestlinkError: we have no key and cannot generate one, or the user's name is invalid.
    """
    if not user.strip("._-") or not all(char.isalnum() or char in "._-" for char in user):
        # The container sent the name, and one invalid line would make ssh refuse the user's whole configuration.
        raise GuestlinkError(
            f"the user of {name} has an invalid name: {user!r:.80}",
            hint="`guestlink status` inside shows its user; restart its garcon",
        )
    _public_key()
    # ssh replaces %-tokens in both, and the user's shell reads the command.
    words, key = (text.replace("%", "%%") for text in (shlex.join(proxy), str(_key())))
    return f"""\
Host {name}{SUFFIX}
    User {user}
    ProxyCommand {words}
    IdentityFile "{key}"
    IdentitiesOnly yes
    ForwardAgent no
    ForwardX11 no
    # The session is the proof that this is the container; its key says nothing more.
    HostKeyAlias {name}{SUFFIX}
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


def _key() -> Path:
    return state_directory() / "ssh" / "id_ed25519"


def _public_key() -> str:
    key = _key()
    public = key.with_suffix(".pub")
    if not public.exists():
        _make(key)
    return public.read_text().strip()


def _make(key: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        raise GuestlinkError("ssh-keygen is not installed", hint="install the package openssh-client")
    directory = private_directory(key.parent)
    fresh = directory / f"new-{os.getpid()}"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "guestlink-host", "-f", str(fresh)]
    done = run_program(words, timeout=60)
    if done.status != 0:
        problem = done.messages[0] if done.messages else "ssh-keygen failed"
        raise GuestlinkError(
            f"no key can be generated in {directory}: {problem}",
            hint="ssh-keygen has to be able to write there; `ssh-keygen -t ed25519` by hand shows more",
        )
    # Rename the public half last: if it exists, both halves do.
    os.replace(fresh, key)
    os.replace(f"{fresh}.pub", key.with_suffix(".pub"))

"""The steps of adoption, a table: each step checks one thing that hosts need, and creates it if it is missing.

No step installs a package or makes a user administrator: it gives advice where only the user or the package manager
may decide. Facts: chromeos-garcon.md §7.7 and §7.8, packaging.md §1.2, §1.3 and §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from garcon.adoption.guest_root import GuestRoot, PasswdEntry
from garcon.adoption.outcome import Outcome
from garcon.adoption.services import start_services
from garcon.diagnosis.facts import DESKTOP_UID, EXPECTED_GROUPS, UNITS
from garcon.host.sftp import SERVERS
from guestlink import socket_directory
from guestlink.errors import GuestlinkError, reason
from guestlink.token import TOKEN_PATH

_MEMBERSHIPS = ("audio", "cdrom", "dialout", "floppy", "plugdev", "render", "users", "video")
"""Groups of devices. The host and the administrator decide about ``sudo`` and ``wheel``."""
_NOBODY_UID = 65534
"""The owner of files whose real owner has no uid here (user_namespaces(7)); no person works as this user."""
_UNIT_DIRECTORIES = ("/usr/lib/systemd/user", "/lib/systemd/user", "/usr/local/lib/systemd/user")
_WANTS = "default.target.wants"
_IN_A_CONTAINER = (
    "ConditionVirtualization=|container",
    f"ConditionPathExists=|{TOKEN_PATH}",
    f"ConditionPathExists=|{socket_directory.MOUNT_POINT}",
)
_CONDITIONS = {
    "guestlink-garcon.service": _IN_A_CONTAINER,
    "guestlink-vshd.service": _IN_A_CONTAINER,
    "guestlink-vshd.socket": _IN_A_CONTAINER,
    "guestlink-sommelier@.service": _IN_A_CONTAINER,
    "guestlink-sommelier-x@.service": _IN_A_CONTAINER,
}
"""The units' conditions except ConditionUser; a test compares them with the units."""
_ARCHIVE_LIMIT = 512 << 20
"""Bytes of the largest locale archive; one with all locales of glibc has about 220 MB."""
_SFTP_PATH = "/usr/lib/openssh/sftp-server"
_PULSE = f"{socket_directory.MOUNT_POINT}/{socket_directory.PULSE}"
"""The socket of PulseAudio's protocol that a Linux host serves; it needs no cookie."""
_SOMMELIERRC = """\
# Run by /bin/sh when X11 programs can connect. Yours is ~/.sommelierrc.
[ ! -r "$HOME/.sommelierrc" ] || . "$HOME/.sommelierrc"
"""
_FONTS_CONF = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <description>Fonts of the host, where it shares them</description>
  <dir>/mnt/chromeos/fonts</dir>
  <dir>/usr/share/fonts/chromeos</dir>
</fontconfig>
"""
_PIPEWIRE_CONF = """\
# No udev tells of the host's sound card in a container: name it.
context.objects = [
  { factory = adapter args = {
      factory.name = api.alsa.pcm.sink, node.name = guestlink.sink, node.description = "Host"
      media.class = Audio/Sink, api.alsa.path = "hw:0", api.alsa.period-size = 1024
      audio.format = S16LE, audio.rate = 48000, audio.channels = 2 } }
  { factory = adapter args = {
      factory.name = api.alsa.pcm.source, node.name = guestlink.source, node.description = "Host"
      media.class = Audio/Source, api.alsa.path = "hw:0", api.alsa.period-size = 1024
      audio.format = S16LE, audio.rate = 48000, audio.channels = 2 } }
]
"""


class AdoptionStep(NamedTuple):
    """One step.

    :ivar reason: why hosts or programs need it.
    """

    name: str
    reason: str
    do: Callable[[GuestRoot, PasswdEntry], Outcome]


def take_steps(root: GuestRoot, user: PasswdEntry) -> Iterator[tuple[AdoptionStep, Outcome]]:
    """Take one step after the other; a failed step does not stop the others."""
    for step in STEPS:
        try:
            outcome = step.do(root, user)
        except GuestlinkError as error:
            outcome = Outcome("failed", error.message, error.hint)
        except OSError as error:
            outcome = Outcome("failed", f"{error.filename or step.name}: {reason(error)}")
        yield step, outcome


def choose_user(root: GuestRoot, name: str) -> PasswdEntry:
    """Choose the services' user: the named one, else the user with uid 1000, who may not exist yet.

    :param name: the user's name; "" chooses.
    :raises GuestlinkError: the named user is a system user, or would need a uid that is taken.
    """
    accounts = root.accounts()
    holder = next((account for account in accounts if account.uid == DESKTOP_UID), None)
    if not name:
        return holder or PasswdEntry("user", DESKTOP_UID, DESKTOP_UID, "/home/user")
    for account in accounts:
        if account.name == name:
            if account.uid < DESKTOP_UID or account.uid == _NOBODY_UID:
                raise GuestlinkError(f"{name} is a system user (uid {account.uid})", hint="name an ordinary user")
            return account
    if not name.replace("-", "").replace("_", "").isalnum() or not (name[0].isalpha() and name.islower()):
        raise GuestlinkError(f"{name!r} cannot be a user's name", hint="use lower-case letters and digits")
    if holder is not None:
        raise GuestlinkError(
            f"there is no user {name}, and uid {DESKTOP_UID} belongs to {holder.name}",
            hint=f"run guestlink adopt --user {holder.name}, or rename {holder.name}: "
            f"usermod -l {name} -d /home/{name} -m {holder.name}",
        )
    return PasswdEntry(name, DESKTOP_UID, DESKTOP_UID, f"/home/{name}")


def _account_files(root: GuestRoot, user: PasswdEntry) -> Outcome:
    for path in ("/etc/passwd", "/etc/shadow", "/etc/group"):
        if not root.exists(path):
            return Outcome(
                "advice", f"there is no {path}", "pwconv makes /etc/shadow; the others come with the system"
            )
        lines = root.lines(path)  # none if only root may read the file
        if lines and not any(line.startswith("root:") for line in lines):
            return Outcome("advice", f"root has no line in {path}", "pwck and grpck show what is wrong")
    if root.exists("/etc/gshadow"):
        return Outcome("ok", "passwd, shadow, group and gshadow are there")
    root.run(["grpconv"], {"do": "gshadow"})
    return Outcome("made", "/etc/gshadow")


def _user(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if any(account.name == user.name for account in root.accounts()):
        return Outcome("ok", f"{user.name} (uid {user.uid})")
    if user.name not in root.groups():
        root.run(["groupadd", "-g", str(user.gid), user.name], {"do": "group", "name": user.name})
    words = ["-u", str(user.uid), "-g", str(user.gid), "-m", "-d", user.home, "-s", "/bin/bash"]
    root.run(["useradd", *words, user.name], {"do": "user", "name": user.name})
    return Outcome("made", f"user {user.name} (uid {user.uid}) with a locked password and {user.home}")


def _groups(root: GuestRoot, user: PasswdEntry) -> Outcome:
    missing = [name for name in EXPECTED_GROUPS if name not in root.groups()]
    for name in missing:
        root.run(["groupadd", "-r", name], {"do": "group", "name": name})
    return Outcome("made", f"groups {', '.join(missing)}") if missing else Outcome("ok", "all of them exist")


def _memberships(root: GuestRoot, user: PasswdEntry) -> Outcome:
    groups = root.groups()
    missing = [name for name in _MEMBERSHIPS if user.name not in groups.get(name, ())]
    for name in missing:
        root.run(["usermod", "-aG", name, user.name], {"do": "member", "user": user.name, "group": name})
    if missing:
        return Outcome("made", f"{user.name} is in {', '.join(missing)}")
    return Outcome("ok", f"{user.name} is in all of them")


def _usermod(root: GuestRoot, user: PasswdEntry) -> Outcome:
    made = []
    for name in ("useradd", "usermod"):
        if root.exists(f"/usr/sbin/{name}"):
            continue
        found = root.program(name)
        if not found:
            return Outcome("advice", f"there is no {name}", "install the package passwd or shadow")
        root.link(f"/usr/sbin/{name}", found)
        made.append(f"/usr/sbin/{name}, a link to {found}")
    return Outcome("made", "; ".join(made)) if made else Outcome("ok", "useradd and usermod are in /usr/sbin")


def _lingering(root: GuestRoot, user: PasswdEntry) -> Outcome:
    path = f"/var/lib/systemd/linger/{user.name}"
    if root.exists(path):
        return Outcome("ok", f"{user.name} lingers")
    # logind reads the file only at its own start; a running logind starts the user manager only if it is called.
    if not root.is_live or not root.try_run(
        ["loginctl", "enable-linger", user.name], {"do": "lingering", "user": user.name}
    ):
        root.write(path, "")
    return Outcome("made", f"{user.name} lingers")


def _units(root: GuestRoot, user: PasswdEntry) -> Outcome:
    made, masked, there = [], [], 0
    for name in UNITS:
        stem, at, rest = name.partition("@")
        template = f"{stem}@.{rest.partition('.')[2]}" if at else name
        directory = next((path for path in _UNIT_DIRECTORIES if root.exists(f"{path}/{template}")), "")
        if not directory:
            continue
        there += 1
        mask = root.path(f"/etc/systemd/user/{name}")
        if mask.is_symlink() and str(mask.readlink()) == "/dev/null":
            masked.append(name)
        elif not any(
            root.path(f"{path}/{_WANTS}/{name}").is_symlink() for path in ("/etc/systemd/user", *_UNIT_DIRECTORIES)
        ):
            root.link(f"/etc/systemd/user/{_WANTS}/{name}", f"{directory}/{template}")
            made.append(name)
    if not there:
        return Outcome("advice", "no unit is installed", "install the package guestlink")
    if masked:
        return Outcome("advice", f"{', '.join(masked)} is masked", "systemctl --global unmask UNIT")
    return (
        Outcome("made", f"{', '.join(made)} enabled") if made else Outcome("ok", "all installed units are enabled")
    )


def _units_user(root: GuestRoot, user: PasswdEntry) -> Outcome:
    made = []
    for name, conditions in _CONDITIONS.items():
        path = f"/etc/systemd/user/{name}.d/50-guestlink-user.conf"
        if user.uid == DESKTOP_UID or root.exists(path):
            continue
        # The empty value clears every condition of the unit, not only those of its kind.
        root.write(path, "\n".join(["[Unit]", "ConditionUser=", *conditions, f"ConditionUser={user.name}", ""]))
        made.append(name)
    if made:
        return Outcome("made", f"{', '.join(made)} run for {user.name}")
    return Outcome("ok", f"the units run for {user.name}")


def _session_bus(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if any(root.exists(f"{path}/dbus.socket") for path in _UNIT_DIRECTORIES):
        return Outcome("ok", "the user manager has a dbus.socket")
    return Outcome("advice", "there is no session bus", "install dbus-user-session (Debian, Ubuntu) or dbus-broker")


def _logins(root: GuestRoot, user: PasswdEntry) -> Outcome:
    for directory in ("/etc/pam.d", "/usr/lib/pam.d"):
        for name in root.lists(directory):
            if any("pam_systemd" in line for line in root.lines(f"{directory}/{name}")):
                return Outcome("ok", "logins open a session of systemd")
    return Outcome("advice", "logins open no session of systemd", "install libpam-systemd (Debian, Ubuntu)")


def _keyboard(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if any(root.exists(f"/usr/share/{path}/rules/evdev") for path in ("X11/xkb", "xkeyboard-config-2")):
        return Outcome("ok", "keyboard layouts are there")
    return Outcome("advice", "there are no keyboard layouts", "install xkb-data (Debian) or xkeyboard-config")


def _sftp(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if root.exists(_SFTP_PATH):
        return Outcome("ok", _SFTP_PATH)
    found = next((path for path in SERVERS if root.exists(path)), "")
    if not found:
        return Outcome("advice", "there is no sftp-server", "install openssh-sftp-server (Debian) or openssh")
    root.link(_SFTP_PATH, found)
    return Outcome("made", f"{_SFTP_PATH}, a link to {found}")


def _sommelierrc(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if root.exists("/etc/sommelierrc"):
        return Outcome("ok", "/etc/sommelierrc")
    root.write("/etc/sommelierrc", _SOMMELIERRC)
    return Outcome("made", "/etc/sommelierrc")


def _locale(root: GuestRoot, user: PasswdEntry) -> Outcome:
    wanted = ""
    for path in ("/etc/default/locale", "/etc/locale.conf"):
        for line in root.lines(path):
            if line.startswith("LANG="):
                wanted = line.removeprefix("LANG=").strip("\"' ")
    if wanted.partition(".")[0] in ("", "C", "POSIX"):
        return Outcome("ok", "the host chooses the locale, and C.UTF-8 is always there")
    name, _, coding = wanted.partition(".")
    compiled = f"{name}.{coding.lower().replace('-', '')}" if coding else name
    if root.exists(f"/usr/lib/locale/{compiled}") or _archive_has(root, compiled):
        return Outcome("ok", f"{wanted} exists")
    return Outcome("advice", f"the locale {wanted} is set and does not exist", "generate it, or set LANG=C.UTF-8")


def _archive_has(root: GuestRoot, name: str) -> bool:
    try:
        return name.encode() + b"\0" in root.data("/usr/lib/locale/locale-archive", _ARCHIVE_LIMIT)
    except OSError:
        return False


def _sound(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if root.is_socket(_PULSE):
        path = "/etc/pulse/client.conf.d/50-guestlink.conf"
        if not root.exists(path):
            root.write(path, f"default-server = unix:{_PULSE}\nautospawn = no\n")
            return Outcome("made", f"{path}: programs play on {_PULSE}")
        return Outcome("ok", f"programs play on {_PULSE}")
    if any(name.startswith("pcm") for name in root.lists("/dev/snd")) and root.exists("/usr/share/pipewire"):
        path = "/etc/pipewire/pipewire.conf.d/50-guestlink.conf"
        if root.exists(path) or root.exists("/etc/pipewire/pipewire.conf.d/crostini.conf"):
            return Outcome("ok", "PipeWire plays on the host's card")
        root.write(path, _PIPEWIRE_CONF)
        return Outcome("made", f"{path}: PipeWire plays on the host's card")
    return Outcome("ok", "the host gives no sound")


def _fonts(root: GuestRoot, user: PasswdEntry) -> Outcome:
    path = "/etc/fonts/conf.d/05-guestlink.conf"
    if not root.exists("/etc/fonts/conf.d"):
        return Outcome("ok", "no program here uses fontconfig")
    if not root.exists(path):
        root.write(path, _FONTS_CONF)
        return Outcome("made", f"{path}: the host's fonts are used")
    return Outcome("ok", "the host's fonts are used")


def _own_fonts(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if any(root.lists(path) for path in ("/usr/share/fonts", "/usr/local/share/fonts", "/mnt/chromeos/fonts")):
        return Outcome("ok", "there are fonts")
    return Outcome("advice", "there are no fonts", "install fonts-dejavu-core (Debian) or another font package")


def _cursor(root: GuestRoot, user: PasswdEntry) -> Outcome:
    if root.exists("/usr/share/icons/Adwaita/cursors"):
        return Outcome("ok", "the cursor theme Adwaita is there")
    return Outcome("advice", "the cursor theme Adwaita is missing", "install adwaita-icon-theme")


STEPS: tuple[AdoptionStep, ...] = (
    AdoptionStep("account files", "hosts add users by them", _account_files),
    AdoptionStep("user", "hosts reach the container as one user, usually uid 1000", _user),
    AdoptionStep("groups", "a host refuses a user whose groups do not all exist", _groups),
    AdoptionStep("memberships", "devices that the host passes in belong to these groups", _memberships),
    AdoptionStep("account tools", "hosts call them by these paths", _usermod),
    AdoptionStep("lingering", "the services start with the container, not with a login", _lingering),
    AdoptionStep("units", "they are what makes the container a guest", _units),
    AdoptionStep("units' user", "they run for one user alone", _units_user),
    AdoptionStep("session bus", "applications are activated by it", _session_bus),
    AdoptionStep("logins", "shells need the runtime directory and the bus", _logins),
    AdoptionStep("keyboard", "the proxies translate keys", _keyboard),
    AdoptionStep("SFTP", "the host's file manager shows the home directory", _sftp),
    AdoptionStep("/etc/sommelierrc", "the original's X11 unit fails without it", _sommelierrc),
    AdoptionStep("locale", "programs complain about one that does not exist", _locale),
    AdoptionStep("sound", "no udev finds the host's sound in a container", _sound),
    AdoptionStep("host fonts", "programs look like the host's", _fonts),
    AdoptionStep("fonts", "programs show boxes without any", _own_fonts),
    AdoptionStep("cursor", "XCURSOR_THEME is Adwaita for launched programs", _cursor),
    AdoptionStep("services", "the host can see nothing here before they run", start_services),
)

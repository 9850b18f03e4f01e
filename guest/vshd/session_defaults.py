"""The daemon's defaults for a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from guestlink.vsh import Setup
from vshd.account import Account, choose_account
from vshd.environment import Environ, session_environ, target_environ
from vshd.login import login_environ
from vshd.terminfo import usable_term


class SessionDefaults(NamedTuple):
    """What the client's setup leaves open.

    :ivar inherited: variables that the client's override; ``None`` in ChromeOS's modes without ``--inherit_env``.
    :ivar is_complete: ``inherited`` has all variables; the user manager need not be asked.
    :ivar default_user: for ``/vm_shell``.
    :ivar may_switch: whether a client may ask for another user.
    """

    inherited: Mapping[bytes, bytes] | None = None
    is_complete: bool = False
    default_user: str = "chronos"
    may_switch: bool = True

    def account(self, setup: Setup) -> Account:
        """The user of a session.

        :raises Refused: there is no such user, or the daemon may not become that user.
        """
        return choose_account(setup, self.default_user, self.may_switch)

    def environ(self, setup: Setup, account: Account) -> Environ:
        """The variables of a session's target."""
        inherited: Environ = {}
        if self.inherited is not None:
            manager = {} if self.is_complete else login_environ(account, self.inherited)
            inherited = session_environ(self.inherited, manager, account)
        environ = target_environ(inherited, setup.env, account)
        environ[b"TERM"] = usable_term(environ)
        return environ

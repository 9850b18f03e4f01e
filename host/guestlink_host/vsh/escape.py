"""The escape character, which at the beginning of a line gives a command to ``vsh`` itself, as in ssh(1)."""

from __future__ import annotations

DISCONNECT, SUSPEND, HELP = "disconnect", "suspend", "help"

_COMMANDS = {ord("."): DISCONNECT, 0x1A: SUSPEND, ord("?"): HELP}


def help_text(character: int) -> str:
    """The text of ``~?``, for a terminal in raw mode."""
    name = f"^{chr(character | 64)}" if character < 32 else chr(character)
    lines = (
        "",
        "Escape sequences, at the beginning of a line:",
        f" {name}.   end the session",
        f" {name}^Z  suspend vsh",
        f" {name}?   this text",
        f" {name}{name}   the character itself",
        "",
    )
    return "\r\n".join(lines)


class EscapeFilter:
    """Removes escape sequences from typed bytes.

    :param character: the escape character's byte, or ``None`` for none.
    """

    def __init__(self, character: int | None) -> None:
        self._escape = b"" if character is None else bytes([character])
        self._line_start = True
        self._pending = False

    def feed(self, data: bytes) -> list[bytes | str]:
        """Split typed bytes into bytes to send and names of commands, in order."""
        if not self._escape:
            return [data] if data else []
        found: list[bytes | str] = []
        send = bytearray()
        position = 0
        while position < len(data):
            if self._pending:
                self._pending = False
                byte = data[position]
                position += 1
                if (command := _COMMANDS.get(byte)) is not None:
                    if send:
                        found.append(bytes(send))
                        send.clear()
                    found.append(command)
                    continue  # still the beginning of a line
                send += self._escape
                if byte != self._escape[0]:
                    send.append(byte)
                self._line_start = byte in b"\r\n"
                continue
            at = data.find(self._escape, position)
            end = len(data) if at < 0 else at
            if end > position:
                send += data[position:end]
                self._line_start = data[end - 1] in b"\r\n"
            if at < 0:
                break
            position = at + 1
            if self._line_start:
                self._pending = True
            else:
                send += self._escape
        if send:
            found.append(bytes(send))
        return found

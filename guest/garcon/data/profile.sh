# Login shells of a container that did not come from its user manager: where the bus and the displays are.
# Silent, bounded in time, and nothing outside of containers and for root.
if [ "$(id -u)" != 0 ] && [ -d "/run/user/$(id -u)" ] &&
    { [ -e /run/systemd/container ] || [ -e /dev/.container_token ] || [ -e /dev/.guestlink ]; }; then
    if [ -z "${XDG_RUNTIME_DIR:-}" ] && [ -O "/run/user/$(id -u)" ]; then
        XDG_RUNTIME_DIR=/run/user/$(id -u)
        export XDG_RUNTIME_DIR
    fi
    if [ -z "${DBUS_SESSION_BUS_ADDRESS:-}" ] && [ -S "${XDG_RUNTIME_DIR:-/nowhere}/bus" ]; then
        DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
        export DBUS_SESSION_BUS_ADDRESS
    fi
    # garcon reads profiles too, and knows the displays.
    if [ -z "${GUESTLINK_READS_PROFILE:-}" ] && { [ -z "${WAYLAND_DISPLAY:-}" ] || [ -z "${DISPLAY:-}" ]; }; then
        # Names that the proxies publish, with values that need no quoting.
        _guestlink_found=$(timeout 3 systemctl --user show-environment 2> /dev/null | grep -E \
            '^(WAYLAND_DISPLAY|DISPLAY|XCURSOR_SIZE)(_LOW_DENSITY)?=[A-Za-z0-9:./_-]+$')
        for _guestlink_pair in $_guestlink_found; do
            eval "[ -n \"\${${_guestlink_pair%%=*}:-}\" ]" || export "${_guestlink_pair?}"
        done
        unset _guestlink_found _guestlink_pair
    fi
fi

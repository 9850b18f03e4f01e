"""sommelier_shim: the Wayland proxy between the container's applications and the host's compositor."""

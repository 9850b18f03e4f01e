"""``guestlink adopt``: checks what hosts expect in a container, and creates what is missing."""

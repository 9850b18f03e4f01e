"""Making a container a good guest: what hosts expect in it, checked and created (``guestlink adopt``)."""

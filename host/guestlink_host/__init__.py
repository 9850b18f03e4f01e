"""guestlink-host: the reference host, which plays ChromeOS's part on any Linux machine."""

"""What the proxy changes on purpose: what clients see and are called, and what may cross the border."""

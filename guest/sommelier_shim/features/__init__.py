"""What the proxy changes in messages: hooks, and the state that they need."""

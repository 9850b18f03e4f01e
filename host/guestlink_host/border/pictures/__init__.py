"""Pictures of containers: a confined process draws them, and the daemon encodes what it draws."""

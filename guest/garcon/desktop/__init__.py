"""What the host shows of the container's desktop: desktop entries, icons and MIME types."""

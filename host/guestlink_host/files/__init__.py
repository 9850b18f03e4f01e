"""A container's files on the host, by garcon's SFTP stream."""

"""What differs between operating systems, made one."""

"""What runs inside the jail: standard library only; a jail sees nothing of Rondo but this folder."""

"""Seven machines on one Linux computer: systemd-nspawn containers that boot systemd and answer SSH."""

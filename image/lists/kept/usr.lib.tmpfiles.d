# Of systemd and of packages.
sudo.conf
systemd-network.conf
provision.conf
systemd-tmp.conf

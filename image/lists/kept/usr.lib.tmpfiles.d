# Of systemd and of packages.
static-nodes-permissions.conf
sudo.conf
systemd.conf
systemd-network.conf
provision.conf
systemd-tmp.conf
tmp.conf
var.conf

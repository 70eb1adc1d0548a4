# udev rules that stay; each one more is matched against every device.
50-udev-default.rules
60-block.rules
60-cdrom_id.rules
60-input-id.rules
60-persistent-storage.rules
70-power-switch.rules
73-special-net-names.rules
80-drivers.rules
80-net-setup-link.rules
99-systemd.rules

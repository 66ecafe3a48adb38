#!/bin/sh
# Boots a real systemd as PID 1 of namespaces of its own, on an overlay of / that lives in memory: nothing of it stays on the
# machine. The network is that of the machine.
#
#   boot.sh ROOT UNITS FOLDER…   ROOT is the system to boot: /, or a folder with another one. UNITS is a folder of units, of
#                                which none is started. Each FOLDER appears at its own path.
#
# It runs within `unshare --pid --fork --mount --uts --ipc --cgroup`, and becomes systemd. Needs root, and the kernel's
# control groups, version 1 or 2.
set -eu
lower=$1
units=$2
shift 2
mount --make-rprivate /
# Hides the machine's /mnt, in this namespace alone.
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/system
mount -t overlay overlay -o lowerdir=$lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/system
root=/mnt/system
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
for own in run tmp; do mount -t tmpfs tmpfs "$root/$own"; done
for folder in "$@"; do
  mkdir -p "$root$folder"
  mount --rbind "$folder" "$root$folder"
done
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified" || true
  mount -t cgroup -o none,name=systemd systemd "$root/sys/fs/cgroup/systemd"
  for controller in cpu cpuacct memory pids; do
    mkdir "$root/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" "$controller" "$root/sys/fs/cgroup/$controller" || true
  done
fi
# They look after devices and terminals, which are the machine's.
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-logind.service \
  getty.target systemd-sysctl.service systemd-tmpfiles-setup-dev.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
cp "$units"/*.* "$root/etc/systemd/system/"
printf '[Unit]\nDescription=A test\nRequires=dbus.socket systemd-journald.socket\nAfter=dbus.socket\n' \
  >"$root/etc/systemd/system/test.target"
exec chroot "$root" /usr/bin/env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=test.target --log-target=journal

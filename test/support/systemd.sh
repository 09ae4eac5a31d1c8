#!/bin/sh
# Process 1 of a booted host, in namespaces that unshare(1) has just made: mounts an overlay over this root file system, whose
# changes stay in memory, and becomes Debian's systemd. $1: the folder that becomes /usr/local/lib/twill.
set -eu
mount --make-rprivate /
# Hides /run only here: a folder in /tmp would stay on the machine.
at=/run
mount -t tmpfs tmpfs "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$at/upper,workdir=$at/work" "$at/root"
cd "$at/root"

# Mounts the settings of the machine and its devices read-only, so that the booted host cannot change them.
mount -t proc proc proc
for part in kernel vm fs; do
  mount --bind "proc/sys/$part" "proc/sys/$part"
  mount -o remount,bind,ro "proc/sys/$part"
done
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp dev; do mount -t tmpfs tmpfs "$folder"; done
mkdir dev/pts dev/shm
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx

mkdir -p usr/local/lib/twill
mount --bind "$1" usr/local/lib/twill
# Removes this machine's own services from the booted host.
rm -rf etc/systemd/system/*.wants etc/systemd/system/twilld* lib/systemd/system/twilld* etc/default/twilld var/lib/twill
mkdir tmp/old
pivot_root . tmp/old
umount -l /tmp/old
exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=console --unit=multi-user.target

#!/bin/sh
# The only program of the emulated machine: gives it a root of its own, and runs a command there.
#
#   guest.sh MODULES DIRECTORY PATIENCE COMMAND [ARGUMENT...]
#
# MODULES is the directory of the kernel's modules, DIRECTORY where the command runs, PATIENCE how many times longer than
# usual tests wait. The shares are the folder of the machine (`lane`, see tests/lane/machine.py), the files of the machine
# outside, and modules `compiled` out there.
#
# virtme-ng shares the outside uncached, and every program start would read its libraries through the emulator again. So
# the outside is shared once more, read only and cached; what is written on top of it stays in memory and is forgotten.
set -eu
modules=$1 directory=$2 patience=$3
shift 3
share() { mount -t 9p -o "trans=virtio,version=9p2000.L,msize=524288,$1" "$2" "$3"; }

mkdir -p /run/outside /run/compiled /run/written /run/root
share ro,cache=loose outside /run/outside
share ro,cache=loose compiled /run/compiled
mount -t tmpfs -o mode=755,size=75% tmpfs /run/written
mkdir /run/written/upper /run/written/work
layers=lowerdir=/run/compiled:/run/outside,upperdir=/run/written/upper,workdir=/run/written/work
mount -t overlay -o "$layers" overlay /run/root
for kind in proc sys dev; do mount --rbind "/$kind" "/run/root/$kind"; done
mkdir -p /run/checkout
mount --bind "/run/root$directory" /run/checkout
mount -t tmpfs -o mode=755 tmpfs /run/root/run
mount -t tmpfs -o mode=1777 tmpfs /run/root/tmp
if [ ! -d "/run/root$directory" ]; then # it is in a directory that has just been emptied
    mkdir -p "/run/root$directory"
    mount --bind /run/checkout "/run/root$directory"
fi
mkdir -p "/run/root/lib/modules" /run/root/run/lane /run/root/run/before
ln -sfn "$modules" "/run/root/lib/modules/$(uname -r)"
share rw,cache=none lane /run/root/run/lane

cd /run/root
pivot_root . run/before
umount -l /run/before
cd "$directory"
export HOME=/root FAIRLEAD_VM=1 FAIRLEAD_PATIENCE="$patience"
status=0
"$@" </dev/null >/run/lane/console 2>&1 || status=$?
echo "$status" >/run/lane/status

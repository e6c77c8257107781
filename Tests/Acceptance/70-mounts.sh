#!/bin/bash
# Every file of Mounts/ as an administrator uses it.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

readonly HELPER=/sbin/mount.fuse.ccnfs
# mount(8)'s
readonly USAGE=1 MOUNT_FAILURE=32

begin mounts
mounts=$repository/Mounts

# ---- the helper, with a recorder in the tool's place

cat > "$work/recorder" << 'RECORDER'
#!/bin/sh
[ -z "${RECORDER_FAILS:-}" ] || { echo 'ccnfs: cannot mount: for a reason' >&2; exit 69; }
for argument in "$@"; do printf '[%s]' "$argument"; done
RECORDER
chmod +x "$work/recorder"

# helper OPTIONS [FLAG...]: what the tool would be called with
helper() { CCNFS=$work/recorder "$mounts/mount.fuse.ccnfs" ccnfs '/c c n' -o "$@"; }
# status COMMAND...
status() {
    local code=0
    "$@" > /dev/null 2>&1 || code=$?
    echo "$code"
}
check_same "the helper mounts" '[mount][/c c n]' "$(helper rw)"
check_same "ro and allow_other are translated" '[mount][/c c n][--read-only][--allow-other]' "$(helper ro,allow_other)"
check_same "places are translated" '[mount][/c c n][--cache][/c][--state][/a b]' "$(helper 'state=/a b,cache=/c')"
check_same "faces and routes may be repeated" \
    '[mount][/c c n][--listen][tcp:0.0.0.0:9695][--route][ccnx:/a=tcp:h:1][--route][ccnx:/b=tcp:h:2]' \
    "$(helper listen=tcp:0.0.0.0:9695,route=ccnx:/a=tcp:h:1,route=ccnx:/b=tcp:h:2)"
check_same "the cache's limit is translated" '[mount][/c c n][--cache-limit][50G]' "$(helper cache-limit=50G)"
check_same "what others read is passed over" '[mount][/c c n]' \
    "$(helper defaults,_netdev,nofail,noauto,user,x-systemd.automount,rw,exec,suid,dev,nosuid,nodev,noatime)"
check_same "flags of mount(8) are taken" '[mount][/c c n]' "$(helper rw -s -n -t fuse.ccnfs)"
check_same "-f does nothing" '' "$(helper rw -f 2> /dev/null)"
check_same "an unknown option ends with $USAGE" "$USAGE" "$(status helper bogus)"
check "and is named" grep -q bogus <(helper bogus 2>&1 || true)
check_same "an option without its value ends with $USAGE" "$USAGE" "$(status helper state=)"
check_same "a failed mount ends with $MOUNT_FAILURE" "$MOUNT_FAILURE" "$(RECORDER_FAILS=1 status helper rw)"
while read -r _ _ type options _; do
    [ "$type" = fuse.ccnfs ] || continue
    check "the helper takes fstab.sample's $options" helper "$options"
done < <(sed 's/^#ccnfs/ccnfs/' "$mounts/fstab.sample")

# ---- mount(8), fstab, the tool

if [ "$(id -u)" -ne 0 ]; then
    skip "mount -t fuse.ccnfs" "needs root"
elif [ -e "$HELPER" ] && ! cmp -s "$HELPER" "$mounts/mount.fuse.ccnfs"; then
    skip "mount -t fuse.ccnfs" "$HELPER is another one"
else
    if [ ! -e "$HELPER" ]; then
        on_exit rm -f "$HELPER"
        install -m 0755 "$mounts/mount.fuse.ccnfs" "$HELPER"
    fi
    export CCNFS
    use_home "$work/home"
    mnt=$work/mnt
    mkdir "$mnt"
    on_exit unmount_hard "$mnt"
    check "mount -t fuse.ccnfs mounts" mount -t fuse.ccnfs ccnfs "$mnt" -o "state=$CCNFS_STATE,cache=$CCNFS_CACHE"
    check "the tree is there" test -d "$mnt/localhost"
    check "it is nosuid and nodev" grep -q 'nosuid.*nodev\|nodev.*nosuid' <(findmnt -n -o OPTIONS "$mnt")
    check "umount ends it" umount "$mnt"
    # The first line as it stands, but for its places.
    sed "s|/ccn|$mnt|; s|allow_other|allow_other,ro,noexec,state=$CCNFS_STATE,cache=$CCNFS_CACHE|" \
        "$mounts/fstab.sample" > "$work/fstab"
    # The node before it may still be letting go of the store.
    check "a line of fstab mounts" wait_until 20 mount --fstab "$work/fstab" "$mnt"
    check "read-only, noexec" grep -q '\bro\b.*noexec' <(findmnt -n -o OPTIONS "$mnt")
    check "umount ends that too" umount "$mnt"
    check_same "mount(8) hands the helper's refusal on" "$USAGE" "$(status mount -t fuse.ccnfs ccnfs "$mnt" -o bogus)"
fi

# ---- the unit

unit=$mounts/ccnfs.service
hides='PrivateMounts|MountFlags|PrivateTmp|ProtectSystem|ProtectHome|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|BindPaths|ProtectKernelTunables|ProtectKernelModules|ProtectKernelLogs|ProtectControlGroups|ProtectProc|PrivateDevices|DynamicUser|RootDirectory|TemporaryFileSystem'
check_same "no setting of the unit hides its mount" "" "$(grep -E "^($hides)=" "$unit" || true)"
if command -v systemd-analyze > /dev/null; then
    mkdir "$work/unit"
    sed "s|/usr/local/bin/ccnfs|$CCNFS|" "$unit" > "$work/unit/ccnfs.service"
    check_same "systemd-analyze verify has nothing to say" "" "$(systemd-analyze verify "$work/unit/ccnfs.service" 2>&1)"
else
    skip "systemd-analyze verify" "systemd is not installed"
fi
if [ "$(id -u)" -eq 0 ]; then
    # Its command line as it stands, but for the place.
    # shellcheck disable=SC2016 # the unit's own variable
    read -ra command <<< "$(sed -n 's|^ExecStart=/usr/local/bin/ccnfs mount /ccn\(.*\) \$CCNFS_OPTIONS$|mount PLACE\1|p' "$unit")"
    check_same "ExecStart is understood by this test" mount "${command[0]:-}"
    use_home "$work/home"
    # start_node has the same shape: mount PLACE --foreground OPTIONS
    start_node "$work/unit-mnt" "${command[@]:3}"
    ok "its options are those the tool takes"
fi

# ---- libvirt

domain=$mounts/libvirt-domain.xml
check "the domain is well-formed" python3 -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$domain"
attribute() { python3 -c 'import sys, xml.etree.ElementTree as e; print(e.parse(sys.argv[1]).getroot().find(sys.argv[2]).get(sys.argv[3]))' "$domain" "$@"; }
check_same "its disk is a VM disk" /ccn/localhost/web-01/disk0 "$(attribute devices/disk/source file)"
check_same "raw" raw "$(attribute devices/disk/driver type)"
check_same "without a second page cache" none "$(attribute devices/disk/driver cache)"
check_same "on virtio" virtio "$(attribute devices/disk/target bus)"
if command -v virt-xml-validate > /dev/null; then
    check "libvirt's schema accepts it" virt-xml-validate "$domain" domain
else
    skip "libvirt's schema accepts it" "libvirt is not installed"
fi
finish

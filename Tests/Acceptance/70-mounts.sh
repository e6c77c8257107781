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
check_same "so may peers, beside a settings file" \
    '[mount][/c c n][--config=/a b.yaml][--peer][tcp:h:1][--peer][tcp:h:2]' "$(helper 'config=/a b.yaml,peer=tcp:h:1,peer=tcp:h:2')"
check_same "and devices to find neighbours on" '[mount][/c c n][--discover][eth0][--discover][br0]' \
    "$(helper discover=eth0,discover=br0)"
check_same "the cache's limit is translated" '[mount][/c c n][--cache-limit][50G]' "$(helper cache-limit=50G)"
check_same "that of what passes through, too" '[mount][/c c n][--transit-cache][0]' "$(helper transit-cache=0)"
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

# ---- the settings file

sample=$mounts/ccnfs.yaml
check "the sample of settings is read" ccnfs config check "$sample"
true > "$work/empty.yaml"
check_same "as it stands it says nothing" "$(ccnfs config check "$work/empty.yaml")" "$(ccnfs config check "$sample")"
sed 's/^#\([^ ]\)/\1/' "$sample" > "$work/full.yaml"
ccnfs config check "$work/full.yaml" --json > "$work/full.json"
check "and with every line that is commented out" python3 - "$work/full.json" << 'PYTHON'
import json, sys
told = json.load(open(sys.argv[1]))
assert told["cacheLimit"] == 50 << 30, told
assert told["mountPoint"] == "/ccn" and not told["allowOther"], told
assert told["listen"] == ["tcp:127.0.0.1:9695", "tcp:[::1]:9695", "udp:127.0.0.1:9695"], told
assert [route["cost"] for route in told["routes"]] == [10], told
assert told["peers"] == ["tcp:host2.mycorp.com:9695"], told
assert told["discover"] == {"devices": "eth0", "port": 9696, "intervalMilliseconds": 10000}, told
assert told["catalogIntervalMilliseconds"] == 2000, told
assert told["faces"] == {"limit": 1024, "queuedByteCount": 8 << 20, "stallMilliseconds": 30000,
                         "connectTimeoutMilliseconds": 5000}, told
assert told["compress"] == ["tcp:repository.mycorp.com:9695"] and not told["acceptCompression"], told
PYTHON
check "options go before it" grep -qx 'state      /elsewhere' <(ccnfs config check "$work/full.yaml" --state /elsewhere)
printf 'state: /var/lib/ccnfs\nlistn: [tcp:0.0.0.0]\n' > "$work/wrong.yaml"
refuses "a wrong key is told with its place" 78 "$work/wrong.yaml:2:1: there is no key listn" ccnfs config check "$work/wrong.yaml"
check "and with what was meant" grep -q 'did you mean listen?' <(ccnfs config check "$work/wrong.yaml" 2>&1 || true)
refuses "a node does not start with it" 78 "wrong.yaml:2:1:" ccnfs node --config "$work/wrong.yaml"
refuses "nor without a file that is named" 66 "none.yaml" ccnfs node --config "$work/none.yaml"
refuses "a mount wants a place" 64 "no place to mount" ccnfs mount --config "$sample"

# ---- the service manager

# notify.py ADDRESS COMMAND...: what a service manager at ADDRESS is told by COMMAND, which gets SIGTERM when it is
# ready, and how that ended.
cat > "$work/notify.py" << 'PYTHON'
import os, signal, socket, subprocess, sys

address, command = sys.argv[1], sys.argv[2:]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("\0" + address[1:] if address.startswith("@") else address)
manager.settimeout(60)
service = subprocess.Popen(command, env=dict(os.environ, NOTIFY_SOCKET=address), stdout=subprocess.DEVNULL)
try:
    print(manager.recv(4096).decode())
    service.send_signal(signal.SIGTERM)
    print(manager.recv(4096).decode())
    print("ended", service.wait(60))
finally:
    service.kill()
PYTHON
# told_as_it_should PATTERN TEXT: ready first, with a status like PATTERN, then stopping, then a good end.
told_as_it_should() {
    local line=$'\n'
    local told="^READY=1${line}STATUS=$1${line}STOPPING=1${line}STATUS=[^${line}]+${line}ended 0\$"
    [[ $2 =~ $told ]] || {
        printf '%s\n' "$2"
        return 1
    }
}
mkdir "$work/notified"
cat > "$work/notified/node.yaml" << 'YAML'
# Beside this file.
state: state
cache: {directory: cache}
listen: [tcp:127.0.0.1:0]
mount: {point: /nowhere}
YAML
said=$(python3 "$work/notify.py" "$work/notified/socket" "$CCNFS" node --config "$work/notified/node.yaml" 2>&1 || true)
check "a node says that it is ready, and that it stops" \
    told_as_it_should 'no mount, listening on tcp:127\.0\.0\.1:[1-9][0-9]*' "$said"
check "its homes are beside the file" test -f "$work/notified/state/state.sqlite"
NOTIFY_SOCKET=$work/notified/nobody "$CCNFS" node --config "$work/notified/node.yaml" > "$work/unheard.log" 2>&1 &
unheard_pid=$!
on_exit end_process "$unheard_pid"
wait_until "$NODE_DEADLINE_SECONDS" grep -q 'listening on tcp:' "$work/unheard.log" || true
end_process "$unheard_pid"
said=$(cat "$work/unheard.log")
check "a manager that is not there is no reason to end" grep -q 'listening on tcp:' <<< "$said"
check "and is told in the log" grep -q 'service manager not told' <<< "$said"
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$work/notified/mnt"
    on_exit unmount_hard "$work/notified/mnt"
    sed -i 's|^mount: .*|mount: {point: mnt, read-only: true}|' "$work/notified/node.yaml"
    said=$(python3 "$work/notify.py" "@ccnfs-mounts-$$" "$CCNFS" mount --foreground --config "$work/notified/node.yaml" 2> "$work/notified.log" || true)
    check "so does a mount, to an abstract socket" told_as_it_should "mounted at $work/notified/mnt, listening on .*" "$said"
    # In the background, by the same file.
    check "a mount takes its place from the file" ccnfs mount --config "$work/notified/node.yaml"
    check "and that it is read-only" grep -q '\bro\b' <(findmnt -n -o OPTIONS "$work/notified/mnt")
    check "it ends" ccnfs unmount "$work/notified/mnt"
    check "an option goes before the file" ccnfs mount --config "$work/notified/node.yaml" --no-read-only
    check "and it is writable" mkdir "$work/notified/mnt/localhost/vm"
    check "it ends too" ccnfs unmount "$work/notified/mnt"
fi

# ---- the units

unit=$mounts/ccnfs.service
hides='PrivateMounts|MountFlags|PrivateTmp|ProtectSystem|ProtectHome|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|BindPaths|ProtectKernelTunables|ProtectKernelModules|ProtectKernelLogs|ProtectControlGroups|ProtectProc|PrivateDevices|DynamicUser|RootDirectory|TemporaryFileSystem'
check_same "no setting of the unit hides its mount" "" "$(grep -E "^($hides)=" "$unit" || true)"
if command -v systemd-analyze > /dev/null; then
    mkdir "$work/unit"
    for name in ccnfs.service ccnfs-node.service; do
        sed "s|/usr/local/bin/ccnfs|$CCNFS|" "$mounts/$name" > "$work/unit/$name"
        check_same "systemd-analyze verify has nothing to say of $name" "" "$(systemd-analyze verify "$work/unit/$name" 2>&1)"
    done
else
    skip "systemd-analyze verify" "systemd is not installed"
fi
for name in ccnfs.service ccnfs-node.service; do
    check "$name waits until the node says that it is ready" grep -qx 'Type=notify' "$mounts/$name"
done
# Its command line as it stands.
# shellcheck disable=SC2016 # the unit's own variable
read -ra command <<< "$(sed -n 's|^ExecStart=/usr/local/bin/ccnfs \(node .*\) \$CCNFS_OPTIONS$|\1|p' "$mounts/ccnfs-node.service")"
check_same "ExecStart of a node is understood by this test" node "${command[0]:-}"
use_home "$work/home"
said=$(python3 "$work/notify.py" "$work/unit-socket" "$CCNFS" "${command[@]}" 2>&1 || true)
check "a node starts by it" told_as_it_should '.*' "$said"
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

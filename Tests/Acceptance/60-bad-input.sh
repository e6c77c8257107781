#!/bin/bash
# What is wrong gives one clear error, an exit status by sysexits, and nothing visible.
. "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib.sh"

# sysexits(3)
readonly USAGE=64 DATA=65 NO_INPUT=66 CANNOT_CREATE=73 IO_ERROR=74 NO_PERMISSION=77

begin bad-input
use_home "$work/home"
key=$work/publisher.pem
make_key ccnx:/mycorp.com "$key"
small=$work/small.raw
small_image "$small"

# bad TEXT STATUSES PATTERN FILE NAME [OPTION...]: refused, and the name is not listed afterwards
bad() {
    local text=$1 statuses=$2 pattern=$3 file=$4 name=$5
    shift 5
    refuses "$text" "$statuses" "$pattern" ccnfs publish "$file" "$name" --key "$key" "$@"
    check_same "$text: nothing is visible" "" "$(ccnfs list 2>&1 | grep -F "${name##*/}" || true)"
}

# ---- images

# QEMU itself reads clusters behind the end of a qcow2 file as zeros and says nothing.
qemu-img convert -f raw -O qcow2 "$small" "$work/good.qcow2"
cp "$work/good.qcow2" "$work/truncated.qcow2"
truncate -s $(($(stat -c %s "$work/good.qcow2") / 2)) "$work/truncated.qcow2"
bad "a truncated qcow2" $DATA,$IO_ERROR 'truncated\.qcow2' "$work/truncated.qcow2" ccnx:/mycorp.com/truncated

cp "$work/good.qcow2" "$work/corrupt.qcow2"
# The first-level table then points far outside the file.
printf '\x00\x7f\xff\xff\xff\xff\x00\x00' | dd of="$work/corrupt.qcow2" bs=1 seek=40 conv=notrunc status=none
bad "a corrupt qcow2" $DATA,$IO_ERROR 'corrupt\.qcow2' "$work/corrupt.qcow2" ccnx:/mycorp.com/corrupt

cp "$work/good.qcow2" "$work/entry.qcow2"
# The first entry of the first second-level table gets reserved bits.
table=$(python3 -c '
import struct, sys
image = open(sys.argv[1], "rb").read()
first = struct.unpack(">Q", image[40:48])[0]
print(struct.unpack(">Q", image[first:first + 8])[0] & 0x00FFFFFFFFFFFE00)' "$work/good.qcow2")
printf '\x80\x00\x00\x00\x00\x05\x01\x00' | dd of="$work/entry.qcow2" bs=1 seek="$table" conv=notrunc status=none
bad "a qcow2 with a corrupt table entry" $DATA,$IO_ERROR 'entry\.qcow2' "$work/entry.qcow2" ccnx:/mycorp.com/entry

printf 'QFI\xfb\x00\x00\x00\x63' > "$work/future.qcow2"
truncate -s 1M "$work/future.qcow2"
bad "a qcow2 of an unknown version" $DATA 'future\.qcow2' "$work/future.qcow2" ccnx:/mycorp.com/future

qemu-img create -q -f qcow2 -b "$small" -F raw "$work/orphan.qcow2"
mv "$small" "$work/away.raw"
bad "a backing file that is gone" $DATA,$NO_INPUT 'small\.raw|orphan\.qcow2' "$work/orphan.qcow2" ccnx:/mycorp.com/orphan
mv "$work/away.raw" "$small"

# Made by hand: qemu-img measures this machine's speed for a LUKS image, and gives up on a busy one.
"$scripts/encrypted-qcow2.py" aes "$work/good.qcow2" "$work/aes.qcow2"
"$scripts/encrypted-qcow2.py" luks "$work/good.qcow2" "$work/luks.qcow2"
for method in aes luks; do
    check_same "QEMU takes the image for one of $method" "$method" \
        "$(qemu-img info --output=json "$work/$method.qcow2" | jq -r '."format-specific".data.encrypt.format')"
    bad "an unsupported format: qcow2 with $method" $DATA 'encrypt' "$work/$method.qcow2" ccnx:/mycorp.com/$method
done
if qemu-img create -q -f parallels "$work/image.parallels" 16M 2> /dev/null; then
    bad "an unsupported format: parallels" $DATA 'format|parallels' "$work/image.parallels" ccnx:/mycorp.com/parallels
fi
bad "an image that is not there" $NO_INPUT 'nowhere' "$work/nowhere.raw" ccnx:/mycorp.com/nowhere
bad "a folder in place of an image" $DATA,$NO_INPUT 'home' "$work/home" ccnx:/mycorp.com/folder
: > "$work/empty.raw"
bad "an empty image" $DATA 'empty' "$work/empty.raw" ccnx:/mycorp.com/empty

# ---- names

for name in ccnx:/mycorp.com/@object ccnx:/mycorp.com/.versions ccnx:/mycorp.com/a/../b ccnx:/ \
    mycorp.com/app1 ccnx:/mycorp.com/app1@2 ccnx:/mycorp.com//app1 ccnx:/mycorp.com/disk%2Fzero ccnx:/localhost/web-01 \
    "ccnx:/mycorp.com/$(printf 'a%.0s' {1..256})"; do
    refuses "the name ${name:0:40} is refused" $USAGE,$DATA,$NO_PERMISSION 'name|segment|reserved|localhost' \
        ccnfs publish "$small" "$name" --key "$key"
done
refuses "a bad segment size" $USAGE,$DATA 'segment' \
    ccnfs publish "$small" ccnx:/mycorp.com/size --key "$key" --segment-size 5K
check_same "none of them is visible" "" "$(ccnfs list 2>&1 | grep -F mycorp.com || true)"

# ---- keys

other=$work/other.pem
ccnfs key generate --out "$other" > /dev/null
refuses "a key that may not sign for the name, with the line to run" $NO_PERMISSION 'trust add' \
    ccnfs publish "$small" ccnx:/mycorp.com/foreign --key "$other"
# Nothing ever comes out of it, and it never ends: who reads before the key was looked at waits until the time limit.
mkfifo "$work/never"
exec 8<> "$work/never"
publish_never() { timeout 60 "$CCNFS" publish - ccnx:/mycorp.com/foreign --key "$other" <&8; }
refuses "before anything is read" $NO_PERMISSION 'trust add' publish_never
exec 8<&-
refuses "a key for another prefix" $NO_PERMISSION 'trust add' \
    ccnfs publish "$small" ccnx:/other.org/app --key "$key"
refuses "a key that is not there" $NO_INPUT 'no-such' \
    ccnfs publish "$small" ccnx:/mycorp.com/nokey --key "$work/no-such.pem"
echo 'not a key' > "$work/garbage.pem"
refuses "a file that is no key" $DATA 'garbage' \
    ccnfs publish "$small" ccnx:/mycorp.com/nokey --key "$work/garbage.pem"
check_same "none of them is visible" "" "$(ccnfs list 2>&1 | grep -F ccnx: || true)"

# ---- commands

refuses "show of a name that is not there" $NO_INPUT 'nothing-here' ccnfs show ccnx:/mycorp.com/nothing-here
refuses "deploy of a name that is not there" $NO_INPUT 'nothing-here' ccnfs deploy ccnx:/mycorp.com/nothing-here web-01
refuses "export of a name that is not there" $NO_INPUT 'nothing-here' ccnfs export ccnx:/mycorp.com/nothing-here "$work/x.raw"
check "and no file is left behind" test ! -e "$work/x.raw"
refuses "a mount point that is not there" $NO_INPUT,$CANNOT_CREATE,$USAGE 'no-mount-point' ccnfs mount "$work/no-mount-point"

# ---- a full disk

if [ "$(id -u)" -eq 0 ]; then
    truncate -s 96M "$work/disk.ext4"
    mke2fs -q -F -t ext4 -m 0 "$work/disk.ext4"
    mkdir "$work/full"
    mount -o loop "$work/disk.ext4" "$work/full"
    on_exit umount -l "$work/full"
    dd if=/dev/urandom of="$work/large.raw" bs=1M count=200 status=none
    use_home "$work/full/home"
    ccnfs trust add ccnx:/mycorp.com "${key%.pem}.pub"
    bad "a full store disk" $CANNOT_CREATE,$IO_ERROR,75 'space|full' "$work/large.raw" ccnx:/mycorp.com/large
    check "afterwards the store can be listed and verified" ccnfs verify
    dd if=/dev/urandom of="$work/fits.raw" bs=1M count=4 status=none
    check "and takes what fits" ccnfs publish "$work/fits.raw" ccnx:/mycorp.com/fits --key "$key"
    umount "$work/full"
    use_home "$work/home"
else
    skip "a full store disk" "needs root"
fi

check "after all that a good image is published" ccnfs publish "$work/good.qcow2" ccnx:/mycorp.com/good --key "$key"
check "verify finds nothing wrong" ccnfs verify
finish

# shellcheck shell=bash
# For the scripts in which rfc-peer.py asks a node; after lib.sh:
#
#     . "$(dirname "${BASH_SOURCE[0]}")/../Scripts/lib-peer.sh"
#
# shellcheck disable=SC2154 # scripts and via are set by lib.sh and by the script

# RFC 8609 section 3.2.3.3
# shellcheck disable=SC2034 # the scripts use it
readonly NO_ROUTE=1
# `rfc-peer.py fetch` ends with it.
# shellcheck disable=SC2034 # the scripts use it
readonly RETURNED=2

peer() { "$scripts/rfc-peer.py" "$@"; }

# fetch OPTION...: asks the node at via; sets status, and answer, which is JSON.
fetch() {
    # shellcheck disable=SC2034 # the scripts look at it
    status=0
    answer=$(peer fetch --via "$via" "$@") || status=$?
}
said() { jq -r "$1" <<< "$answer"; }

# object_of PREFIX ID CHUNK-SIZE [CHUNK]: the name of an object; the id in hexadecimal
object_of() {
    # shellcheck disable=SC2001 # of each pair
    printf '%s/%%40object/%s/%s/Chunk=0x%02x\n' "$1" "$(sed 's/../%&/g' <<< "$2")" "$3" "${4:-0}"
}

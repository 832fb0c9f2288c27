# Shell functions of quickstart.sh and test.sh. Sourced by bash; expects `set -euo pipefail`.
# shellcheck shell=bash

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# A line of progress.
say() {
  printf '\n==> %s\n' "$*"
}

# Ends the script with a message, exit status 1.
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

require_root() {
  [ "$(id -u)" -eq 0 ] || fail "run as root: sudo tools/$(basename "$0")"
}

# Prints the packages of packages.txt that are not installed.
missing_packages() {
  local package
  sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$source_root/tools/scripts/packages.txt" |
    while read -r package; do
      dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
        printf '%s\n' "$package"
    done
}

# Installs missing packages; does nothing on a machine that has all.
install_packages() {
  local missing
  command -v apt-get >/dev/null ||
    fail "needs a Debian system (apt-get) to install what tools/scripts/packages.txt lists"
  mapfile -t missing < <(missing_packages)
  if [ "${#missing[@]}" -eq 0 ]; then
    say "All packages of tools/scripts/packages.txt are installed"
    return
  fi
  say "Installing packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt_update || apt_update || fail "apt-get update failed twice"
  apt-get install -qq -y --no-install-recommends "${missing[@]}" ||
    fail "apt-get install failed"
}

# Without the option apt-get update succeeds even if it could not fetch a list.
apt_update() {
  apt-get update -qq -o APT::Update::Error-Mode=any
}

# configure DIRECTORY OPTION...: a build directory below the source root, new or existing.
configure() {
  local directory=$source_root/$1
  shift
  [ -e "$directory/build.ninja" ] || meson setup "$directory" "$source_root" "$@"
}

# The build directory of a release. Several files of a library are compiled as one, which takes less
# than half of the time.
configure_release() {
  configure build --buildtype=release -Dunity=on -Dunity_size=20
}

require_fuse() {
  [ -c /dev/fuse ] || modprobe fuse || true
  [ -c /dev/fuse ] || fail "no /dev/fuse: the kernel has no FUSE"
  # fusermount3 reads it; debootstrap makes none.
  [ -e /etc/mtab ] || ln -s ../proc/self/mounts /etc/mtab
}

# Unmounts everything below a directory, detaches its loop devices, ends the daemons that serve it,
# and deletes it. Prints what it found besides the files: a clean run prints nothing.
remove_work_directory() {
  local directory=$1 target loop pid
  while read -r target; do
    printf 'still mounted: %s\n' "$target"
    umount "$target" || umount -l "$target" || true
  done < <(mounts_below "$directory")
  wait_for_daemons "$directory"
  for pid in $(daemons_of "$directory"); do
    printf 'still running: mpoolfs, process %s\n' "$pid"
    kill "$pid" 2>/dev/null || true
  done
  while read -r loop; do
    printf 'still attached: %s\n' "$loop"
    losetup -d "$loop" || true
  done < <(losetup -nl -O NAME,BACK-FILE | awk -v d="$directory/" 'index($2, d) == 1 { print $1 }')
  rm -rf --one-file-system -- "$directory"
}

# The mpoolfs daemons that were started for a path in a directory.
daemons_of() {
  local pid
  for pid in $(pgrep -f -- "$1" || true); do
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = mpoolfs ]; then printf '%s\n' "$pid"; fi
  done
}

# A daemon ends a moment after its mount: gives them 5 s.
wait_for_daemons() {
  local tries
  for ((tries = 0; tries < 50; ++tries)); do
    [ -n "$(daemons_of "$1")" ] || return 0
    sleep 0.1
  done
}

# Mount points below a directory, the deepest first.
mounts_below() {
  awk -v d="$1/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r
}

#!/usr/bin/env bash
# Builds mpoolfs and shows it at work: a pool in a file, mounted, filled, read, unmounted and found
# again. Every command is shown before it runs. Leaves the build in build/, nothing else.
set -euo pipefail
# shellcheck source=tools/scripts/lib.sh
. "$(dirname "$0")/scripts/lib.sh"

work=
finished=no

clean_up() {
  local status=$?
  cd /
  [ -z "$work" ] || remove_work_directory "$work"
  if [ "$status" -eq 0 ] && [ "$finished" = yes ]; then
    printf '\nQUICKSTART SUCCEEDED: everything written was read back unchanged, before and after unmounting.\n'
    return
  fi
  printf '\nQUICKSTART FAILED (exit status %s): the last command shown above did not do what it should.\n' \
    "$status" >&2
  [ "$status" -ne 0 ] || exit 1
}

# Shows a command line and runs it.
run() {
  printf '\n$ %s\n' "$1"
  eval "$1"
}

build() {
  say "Building (release) into build/"
  configure_release
  ninja -C "$source_root/build" tools/mpool tools/mapsum fuse/mpoolfs
  PATH=$source_root/build/tools:$source_root/build/fuse:$PATH
}

# The data to copy: the compiler's largest program, repeated until it is larger than 200 MB, a tar
# of /usr/include, and about a hundred of its files.
prepare_data() {
  local compiler file
  say "Preparing data"
  compiler=$(g++ -print-prog-name=cc1plus)
  [ -f "$compiler" ] || fail "the compiler's cc1plus is not where g++ says: $compiler"
  while [ ! -e big.bin ] || [ "$(stat -c %s big.bin)" -le $((200 * 1024 * 1024)) ]; do
    cat "$compiler" >>big.bin
  done
  tar -chf include.tar --ignore-failed-read -C /usr include 2>/dev/null
  mkdir headers
  while read -r file; do
    cp "$file" "headers/$(printf '%s' "${file#/usr/include/}" | tr / _)"
  done < <(find /usr/include -type f -size +0 | sort | head -n 100)
  sha256sum big.bin include.tar headers/* >SHA256SUMS
  printf 'big.bin: %s bytes, include.tar: %s bytes (%s files), headers/: %s files\n' \
    "$(stat -c %s big.bin)" "$(stat -c %s include.tar)" "$(tar -tf include.tar | wc -l)" \
    "$(find headers -type f | wc -l)"
}

compare() {
  run 'cat mnt/big.bin | cmp - big.bin && echo equal'
  run '(cd mnt && sha256sum --quiet -c ../SHA256SUMS) && echo "all $(wc -l <SHA256SUMS) files equal"'
  run 'mapsum mnt/big.bin    # reads through mmap'
  [ "$(mapsum mnt/big.bin | cut -d ' ' -f 1)" = "$(grep ' big.bin$' SHA256SUMS | cut -d ' ' -f 1)" ] ||
    fail "the mapped file differs"
  run 'diff mnt/notes.log notes.log && cat mnt/notes.log'
}

append_notes() {
  local line
  for line in 'first line' 'second line' 'third line'; do
    run "echo '$line' >> mnt/notes.log"
    printf '%s\n' "$line" >>notes.log
  done
}

show_immutable() {
  say "A committed file cannot be changed"
  run 'echo more >> mnt/big.bin || echo "refused, as it should be"' 2>&1 | tee refusal.txt
  grep -q 'Permission denied' refusal.txt || fail "a committed file was opened for writing"
}

main() {
  require_root
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  install_packages
  require_fuse
  build
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/mpoolfs-quickstart.XXXXXX")
  cd "$work"
  [ "$(df --output=avail -B1M . | tail -n 1)" -ge 1500 ] || fail "needs 1.5 GB free in $PWD"
  prepare_data

  say "Making a pool in a file and mounting it"
  run 'mpool create --size 4G demo pool.img'
  run 'mpool info pool.img'
  run 'mkdir mnt'
  run 'mpoolfs pool.img mnt'

  say "Copying in"
  run 'cp big.bin include.tar mnt/'
  run 'mkdir mnt/headers && cp headers/* mnt/headers/'
  say "Appending"
  append_notes
  say "Reading back"
  compare
  show_immutable
  run 'df -h mnt'
  run 'ls -la mnt'

  say "Unmounting, mounting again, comparing everything again"
  run 'umount mnt'
  run 'mpoolfs pool.img mnt'
  compare
  run 'echo "fourth line" >> mnt/notes.log && tail -n 1 mnt/notes.log'
  run 'umount mnt'
  finished=yes
}

main "$@"

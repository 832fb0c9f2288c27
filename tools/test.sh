#!/usr/bin/env bash
# Builds mpoolfs and runs all its tests. The last line is "N passed, N failed"; the exit status is 1
# when a test failed or none ran.
#   tools/test.sh [--long]     --long: more rounds, each test in every build that it can run in
set -euo pipefail
# shellcheck source=tools/scripts/lib.sh
. "$(dirname "$0")/scripts/lib.sh"

parallel=2  # test programs at a time
# Tests run in the release build or with the address and undefined-behaviour sanitizers, by the
# suite they are in: the mounts over io_uring are "released", those over /dev/fuse are "sanitized",
# with a sanitized mpool and mpoolfs, and so are all unit tests. Simulated crashes and damage are
# "released". The costs in "measures" are for the release build alone. --long runs everything else
# in both, and the suite "long".
not_released=(--no-suite sanitized --no-suite long)
not_sanitized=(--no-suite released --no-suite measures --no-suite long)
timeout_factor=2
work=
background=  # process id of build_and_test_sanitized

parse_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --long)
        export MPOOLFS_TEST_LONG=1
        timeout_factor=20
        not_released=()
        not_sanitized=(--no-suite measures)
        ;;
      -h | --help)
        sed -n '2,4s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
      *) fail "unknown option $1; try --help" ;;
    esac
    shift
  done
}

# path_of_log DIRECTORY LOG
path_of_log() {
  printf '%s\n' "$source_root/$1/meson-logs/$2.json"
}

# run_tests DIRECTORY LOG OPTION...: tests of a build directory. The counts are taken from the log
# of this name, not from the exit status.
run_tests() {
  local directory=$1 log=$2
  shift 2
  rm -f "$(path_of_log "$directory" "$log")"
  logs+=("$(path_of_log "$directory" "$log")")
  meson test -C "$source_root/$directory" --logbase "$log" --num-processes "$parallel" \
    --timeout-multiplier "$timeout_factor" --print-errorlogs "$@" || true
}

# Every sanitized program, in any process and with any standard error, writes its reports into a
# file of its own below this directory: also programs that ran as another user.
watch_sanitizers() {
  local into=log_exe_name=1:log_path=$work/reports
  mkdir -m 1777 "$work/reports"
  # g++'s runtime of undefined behaviour (CXX=g++) always writes to standard error, which a daemon
  # does not have. Therefore it ends with abort(), of which the other runtime makes a report, with
  # the stack. A test preloads a library before that of the sanitizer. A larger quarantine of freed
  # memory makes everything a third slower.
  export ASAN_OPTIONS=abort_on_error=1:handle_abort=1:detect_leaks=1:verify_asan_link_order=0:quarantine_size_mb=16:$into/address
  export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1:$into/undefined
  export TSAN_OPTIONS=halt_on_error=1:$into/thread
  export ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-16/bin/llvm-symbolizer  # of clang's runtime
}

# Shows the reports; each is a failure.
show_reports() {
  local report
  wait_for_daemons "$work"  # leaks are reported at the end
  for report in "$work"/reports/*; do
    [ -e "$report" ] || continue
    printf '\nFAILED: a sanitizer reported, in %s:\n' "${report##*/}"
    cat "$report"
    failures=$((failures + 1))
  done
}

# Counts the test cases of the logs given, after a number of failures to add. Test programs are
# GoogleTests and Python unit tests; others count as one case, and so does one that failed otherwise
# than by its cases (a crash, a time-out). Skipped is failed: everything here must run.
count() {
  python3 - "$@" <<'EOF'
import json
import os
import re
import sys


def total(pattern, text):
    return sum(map(int, re.findall(pattern, text, re.M)))


def count_cases(test):
    """(passed, failed) of one test program."""
    out = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
    good = total(r"^\[  PASSED  \] (\d+) tests?\.", out)
    bad = total(r"^\[  (?:FAILED |SKIPPED) *\] (\d+) tests?, listed below", out)
    unhappy = total(r"(?:failures|errors|skipped)=(\d+)", "".join(re.findall(r"^(?:OK|FAILED) \(.*\)$", out, re.M)))
    good += total(r"^Ran (\d+) tests? in ", out) - unhappy
    bad += unhappy
    if test["result"] == "OK":
        return (good if good or bad else 1), bad
    return good, bad or 1


passed = 0
failed = int(sys.argv[1])
for path in sys.argv[2:]:
    if not os.path.exists(path):
        failed += 1
        print(f"FAILED: no tests ran: there is no {path}")
        continue
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            test = json.loads(line)
            good, bad = count_cases(test)
            passed += good
            failed += bad
            if bad:
                print(f"FAILED: {test['name']} ({test['result']}), {bad} of {good + bad} cases")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed or not passed else 0)
EOF
}

# The tests of this build are built when they run.
build_release() {
  say "Building into build/"
  configure_release && ninja -C "$source_root/build" product
}

# The compiler of the builds with sanitizers: clang, so that each run compiles the sources with both
# compilers. It also takes a fifth less time than g++.
choose_compiler() {
  local cache
  cache=$(command -v ccache || true)
  printf '%s\n' "${CXX:-${cache:+ccache }clang++-16}"
}

# With sanitizers g++ 12 gives many false warnings: they are no errors there. Compiling takes most
# of the time of this script: the files of a library are compiled several at a time, and without
# the checks of each pointer for null, alignment, size and type of the object, which are a third of
# that (the address sanitizer detects most of it, too). --long has them.
configure_sanitized() {
  local compiler c_compiler linker=bfd werror=false
  local arguments=("-Dcpp_args=-fno-sanitize=null,alignment,object-size,vptr")
  [ -z "${MPOOLFS_TEST_LONG:-}" ] || arguments=()
  compiler=$(choose_compiler)
  c_compiler=${compiler/g++/gcc}
  if [[ $compiler == *clang* ]]; then
    c_compiler=${compiler/clang++/clang}
    linker=lld  # a fourth of the time of the other
    werror=true
  fi
  CXX=$compiler CC=$c_compiler CXX_LD=$linker CC_LD=$linker configure "$1" --buildtype=plain -Doptimization=1 -Dwerror=$werror -Dunity=on -Dunity_size=20 \
    -Db_sanitize="$2" -Db_lundef=false "${arguments[@]}"
}

# Runs in the background, beside the tests that mount: those wait most of the time. The builds, then
# the tests of the suite "self-contained", which touch nothing but their own files. The programs
# that mounts use are ready first.
build_and_test_sanitized() {
  local asan=$source_root/build-asan tsan=$source_root/build-tsan
  {
    nice ninja -C "$asan" mount-programs && touch "$asan/programs-done" &&
      nice ninja -C "$asan" unit-tests && nice ninja -C "$tsan" tests/threads/threads-test
  } >"$asan/build.log" 2>&1 || return 1
  parallel=1
  {
    run_tests build-asan self-contained --no-rebuild --suite self-contained "${not_sanitized[@]}"
    run_tests build-tsan testlog --no-rebuild threads
  } >"$asan/tests.log" 2>&1
}

start_in_background() {
  say "Building with sanitizers into build-asan/ and build-tsan/, and testing, meanwhile"
  configure_sanitized build-asan address,undefined && configure_sanitized build-tsan thread || return 1
  rm -f "$source_root"/build-asan/{programs-done,build.log,tests.log}
  build_and_test_sanitized &
  background=$!
}

# Waits for the programs that mounts use, or for the builds to fail.
wait_for_programs() {
  [ -n "$background" ] || return 1
  until [ -e "$source_root/build-asan/programs-done" ]; do
    kill -0 "$background" 2>/dev/null || return 1
    sleep 1
  done
}

# Waits for it, and shows its output: that of the builds only when they failed.
finish_background() {
  local failed=0
  [ -n "$background" ] || return 1
  wait "$background" || failed=1
  background=
  if [ "$failed" -ne 0 ]; then
    grep -v '^\[' "$source_root/build-asan/build.log"
    return 1
  fi
  say "Tests that ran meanwhile, with the address, undefined-behaviour and thread sanitizers"
  cat "$source_root/build-asan/tests.log"
  logs+=("$(path_of_log build-asan self-contained)" "$(path_of_log build-tsan testlog)")
}

clean_up() {
  local children
  cd /
  if [ -n "$background" ]; then
    mapfile -t children < <(pgrep -P "$background")
    kill "$background" "${children[@]}" 2>/dev/null || true
    wait "$background" || true
  fi
  [ -z "$work" ] || remove_work_directory "$work" >/dev/null
}

main() {
  local logs=() left_behind failures=0
  parse_options "$@"
  require_root
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  install_packages
  require_fuse
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/mpoolfs-test.XXXXXX")
  chmod 755 "$work"  # accessible to tests as another user
  export TMPDIR=$work TEST_TMPDIR=$work

  if ! build_release; then
    say "FAILED: the build"
    count 1
  fi
  watch_sanitizers
  start_in_background || true
  say "Running all tests"
  run_tests build testlog "${not_released[@]}"
  if wait_for_programs; then
    say "Running mounts with address and undefined-behaviour sanitizers"
    parallel=3  # they wait most of the time
    run_tests build-asan mounts --no-rebuild --suite mount "${not_sanitized[@]}"
  fi

  if ! finish_background; then
    say "FAILED: the builds with sanitizers"
    count 1
  fi
  say "Running the other tests with address and undefined-behaviour sanitizers"
  run_tests build-asan testlog --no-suite mount --no-suite self-contained "${not_sanitized[@]}"
  show_reports

  left_behind=$(remove_work_directory "$work" 2>&1)
  work=
  if [ -n "$left_behind" ]; then
    printf '\nFAILED: the tests left something behind:\n%s\n' "$left_behind"
    failures=$((failures + 1))
  fi
  say "Result"
  count "$failures" "${logs[@]}"
}

main "$@"

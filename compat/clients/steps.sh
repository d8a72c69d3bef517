# The steps of a scenario in a shell: each is a function that fails with a line saying why.
# Sourced by the scenarios; one step that fails does not end the others.

failed=0

# step NAME FUNCTION [ARGUMENT..]: run a step and print how it went.
step() {
  local name=$1 output status
  shift
  output=$( (set -e; "$@") 2>&1 </dev/null)
  status=$?
  if [ $status = 0 ]; then
    echo "ok $name"
  else
    failed=1
    echo "not ok $name: $(echo "$output" | grep -v '^$' | tail -n 2 | tr '\n' ' ' | cut -c 1-400)"
    echo "$output" >&2
  fi
}

# fail WHY: end the step.
fail() {
  echo "$*"
  exit 1
}

# same FOUND EXPECTED WHAT: fail unless both are equal.
same() {
  [ "$1" = "$2" ] || fail "$3 is '$(echo "$1" | head -n 3)', not '$(echo "$2" | head -n 3)'"
}

# new_name CLIENT: a name that nobody has used.
new_name() {
  echo "$1-$(date +%s%N)-$$"
}

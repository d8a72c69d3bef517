#!/bin/bash
# What people do with kcat, whose librdkafka in Debian 12 is old (2.0.2): ./scenario.sh 127.0.0.1:9092
. "$(dirname "$0")/../steps.sh"

bootstrap=$1
topic=$(new_name kcat)
kcat="timeout 60 kcat -b $bootstrap"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

produce() {
  seq 0 99 | sed 's/.*/key-&:value-&/' | $kcat -P -t "$topic" -K : -H colour=red -H empty=
  # The topic was made by naming it.
  $kcat -L -t "$topic" | grep -q "topic \"$topic\" with [1-9]" || fail "the topic is not there"
}

list() {
  $kcat -L | grep -q 'broker.* at ' || fail "no broker is listed"
  $kcat -L -J | grep -q '"brokers":\[{' || fail "no broker in the JSON"
}

consume() {
  $kcat -C -t "$topic" -e -q -f '%k %s %h\n' | sort -V >"$work/found"
  seq 0 99 | sed 's/.*/key-& value-& colour=red,empty=/' >"$work/expected"
  same "$(cat "$work/found")" "$(cat "$work/expected")" "what was consumed"
}

order() {
  seq 0 999 | $kcat -P -t "$topic-order" -p 0
  same "$($kcat -C -t "$topic-order" -p 0 -e -q)" "$(seq 0 999)" "the order"
  same "$($kcat -C -t "$topic-order" -p 0 -o 990 -e -q -f '%o\n')" "$(seq 990 999)" "the offsets"
  same "$($kcat -C -t "$topic-order" -p 0 -o -3 -e -q)" "$(seq 997 999)" "the last three"
}

compress() {
  local codec=$1
  seq 0 499 | sed 's/$/ the same again and again/' >"$work/lines"
  $kcat -P -t "$topic-$codec" -p 0 -z "$codec" -d msg <"$work/lines" 2>"$work/debug"
  same "$($kcat -C -t "$topic-$codec" -p 0 -e -q)" "$(cat "$work/lines")" "what was read"
  # A broker whose Produce range does not begin at 0 makes this librdkafka send plain batches.
  grep 'Produce MessageSet' "$work/debug" | grep -q ", $codec)" || fail "sent without compression"
}

group() {
  local group="$topic-group"
  timeout 60 kcat -b "$bootstrap" -G "$group" -X auto.offset.reset=earliest -q -e "$topic" \
    -f '%s\n' | sort -V >"$work/found"
  same "$(cat "$work/found")" "$(seq 0 99 | sed 's/^/value-/')" "what the group consumed"
  echo 'key-100:value-100' | $kcat -P -t "$topic" -K :
  same "$($kcat -G "$group" -q -e "$topic" -f '%s\n')" "value-100" "what came after the commit"
}

timestamps() {
  local before now
  before=$(($(date +%s%3N) - 60000))
  now=$($kcat -Q -t "$topic-order:0:$before")
  echo "$now" | grep -q 'offset 0$' || fail "$now"
  now=$($kcat -Q -t "$topic-order:0:-1")
  echo "$now" | grep -q 'offset 1000$' || fail "$now"
}

idempotent() {
  seq 0 99 | $kcat -P -t "$topic-idempotent" -p 0 -X enable.idempotence=true
  same "$($kcat -C -t "$topic-idempotent" -p 0 -e -q)" "$(seq 0 99)" "what was read"
}

step "produce with keys and headers to a topic that is not there yet" produce
step "list brokers and topics" list
step "consume from the beginning" consume
step "order, from an offset, from the end" order
for codec in gzip snappy lz4 zstd; do
  step "compression $codec" compress "$codec"
done
step "consume with a group, commit and resume" group
step "idempotent producer" idempotent
step "offsets by timestamp" timestamps
exit $failed

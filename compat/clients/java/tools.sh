#!/bin/bash
# Kafka's own command-line tools with their usual options: ./tools.sh 127.0.0.1:9092 'jars/*'
. "$(dirname "$0")/../steps.sh"

bootstrap=$1
jars=$2
topic=$(new_name tools)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# tool CLASS [ARGUMENT..]: run a main class as the scripts of Kafka's distribution do.
tool() {
  java_tool "$@" --bootstrap-server "$bootstrap"
}

java_tool() {
  timeout 90 java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars" "$@"
}

topics() { tool org.apache.kafka.tools.TopicCommand "$@"; }
configs() { tool kafka.admin.ConfigCommand "$@"; }
groups() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand "$@"; }
produce() { tool org.apache.kafka.tools.ConsoleProducer "$@"; }
consume() { tool org.apache.kafka.tools.consumer.ConsoleConsumer "$@"; }

# holds TEXT PATTERN: fail unless the text has it.
holds() {
  echo "$1" | grep -qE "$2" || fail "no '$2' in: $1"
}

create() {
  topics --create --topic "$topic" --partitions 4 --config retention.ms=86400000
  topics --create --topic "$topic" --if-not-exists
  holds "$(topics --list)" "^$topic\$"
}

describe() {
  local told
  told=$(topics --describe --topic "$topic")
  holds "$told" 'PartitionCount: 4'
  holds "$told" 'retention.ms=86400000'
  holds "$told" 'Partition: 3.*Leader: [0-9]+.*Isr: [0-9]'
  same "$(topics --describe --under-replicated-partitions)" "" "under-replicated partitions"
  same "$(topics --describe --unavailable-partitions)" "" "unavailable partitions"
}

alter() {
  topics --alter --topic "$topic" --partitions 6
  holds "$(topics --describe --topic "$topic")" 'PartitionCount: 6'
}

alter_configs() {
  configs --alter --entity-type topics --entity-name "$topic" \
    --add-config max.message.bytes=200000,cleanup.policy=[compact,delete]
  holds "$(configs --describe --entity-type topics --entity-name "$topic")" \
    'cleanup.policy=compact,delete'
  configs --alter --entity-type topics --entity-name "$topic" --delete-config cleanup.policy
  told=$(configs --describe --entity-type topics --entity-name "$topic" --all)
  holds "$told" 'cleanup.policy=delete'
  holds "$told" 'max.message.bytes=200000.*DYNAMIC_TOPIC_CONFIG'
}

broker_configs() {
  holds "$(configs --describe --entity-type brokers --entity-name 0 --all)" 'num.partitions='
}

console() {
  seq 0 99 | sed 's/.*/number:&\tkey-&\tvalue-&/' >"$work/lines"
  produce --topic "$topic" --reader-property parse.key=true --reader-property parse.headers=true \
    --compression-codec zstd --command-property acks=all <"$work/lines"
  consume --topic "$topic" --group "$topic-console" --from-beginning --max-messages 100 \
    --formatter-property print.key=true --formatter-property print.headers=true |
    sort -V >"$work/found"
  same "$(cat "$work/found")" "$(cat "$work/lines")" "what was consumed"
}

console_partition() {
  local found
  found=$(consume --topic "$topic" --partition 0 --offset earliest --timeout-ms 3000 \
    --formatter-property print.offset=true --formatter-property print.partition=true |
    head -n 1)
  holds "$found" 'Partition:0.Offset:0.value-'
}

group_listed() {
  holds "$(groups --list)" "^$topic-console\$"
  holds "$(groups --list --state Empty)" "$topic-console +Empty"
}

group_described() {
  local told
  told=$(groups --describe --group "$topic-console")
  holds "$told" "$topic-console +$topic +[0-9] +[0-9]+ +[0-9]+ +0 "
  holds "$(groups --describe --group "$topic-console" --state)" 'Empty'
  groups --describe --group "$topic-console" --members
}

group_reset() {
  holds "$(groups --reset-offsets --group "$topic-console" --topic "$topic" --to-earliest \
    --dry-run)" "$topic +0 +0"
  groups --reset-offsets --group "$topic-console" --topic "$topic" --to-earliest --execute
  same "$(consume --topic "$topic" --group "$topic-console" --max-messages 100 | sort -V)" \
    "$(seq 0 99 | sed 's/^/value-/')" "what was consumed again"
  groups --reset-offsets --group "$topic-console" --topic "$topic" --shift-by -1 --execute
  groups --reset-offsets --group "$topic-console" --topic "$topic" \
    --to-datetime 2020-01-01T00:00:00.000 --execute
}

group_deleted() {
  groups --delete-offsets --group "$topic-console" --topic "$topic"
  groups --delete --group "$topic-console"
  ! groups --list | grep -q "^$topic-console\$" || fail "the group is still listed"
}

new_protocol() {
  same "$(consume --topic "$topic" --group "$topic-new" --from-beginning --max-messages 100 \
    --command-property group.protocol=consumer | sort -V)" \
    "$(seq 0 99 | sed 's/^/value-/')" "what was consumed"
  holds "$(groups --describe --group "$topic-new" --state)" "$topic-new"
}

verifiable() {
  local told
  told=$(tool org.apache.kafka.tools.VerifiableProducer --topic "$topic-verifiable" \
    --max-messages 500 --acks -1)
  holds "$told" '"acked":500'
  told=$(tool org.apache.kafka.tools.VerifiableConsumer --topic "$topic-verifiable" \
    --group-id "$topic-verifiable" --max-messages 500 --reset-policy earliest)
  holds "$told" '"name":"partitions_assigned"'
  holds "$told" '"name":"offsets_committed".*"success":true'
  same "$(echo "$told" | grep '"name":"records_consumed"' | grep -o '"count":[0-9]*,"partitions"' |
    awk -F'[:,]' '{sum += $2} END {print sum}')" 500 "the number of records consumed"
}

performance() {
  local told
  told=$(tool org.apache.kafka.tools.ProducerPerformance --topic "$topic-performance" \
    --num-records 50000 --record-size 100 --throughput -1 \
    --command-property acks=all compression.type=lz4)
  holds "$told" '50000 records sent'
  told=$(tool org.apache.kafka.tools.ConsumerPerformance --topic "$topic-performance" \
    --num-records 50000 --timeout 30000)
  holds "$told" ', 50[0-9]{3}, '
}

offsets() {
  local told
  told=$(tool org.apache.kafka.tools.GetOffsetShell --topic "$topic-performance" --time latest)
  same "$(echo "$told" | awk -F: '{sum += $3} END {print sum}')" 50000 "the sum of the offsets"
  tool org.apache.kafka.tools.GetOffsetShell --topic "$topic-performance" --time earliest
  tool org.apache.kafka.tools.GetOffsetShell --topic "$topic-performance" --time max-timestamp
}

delete_records() {
  printf '{"partitions":[{"topic":"%s","partition":0,"offset":-1}],"version":1}' "$topic" \
    >"$work/delete.json"
  holds "$(tool org.apache.kafka.tools.DeleteRecordsCommand --offset-json-file \
    "$work/delete.json")" 'low_watermark: [0-9]'
}

cluster() {
  # These print what they learn; a failure ends them with a status.
  tool org.apache.kafka.tools.BrokerApiVersionsCommand | grep -q 'Produce(0): 0 to' ||
    fail "no Produce from 0 on"
  holds "$(tool org.apache.kafka.tools.ClusterTool cluster-id)" 'Cluster ID: '
  holds "$(tool org.apache.kafka.tools.LogDirsCommand --describe)" '"logDirs"'
}

quorum() {
  holds "$(java_tool org.apache.kafka.tools.MetadataQuorumCommand \
    --bootstrap-server "$bootstrap" describe --status)" 'LeaderId'
}

delete() {
  topics --delete --topic "$topic"
  ! topics --list | grep -q "^$topic\$" || fail "the topic is still listed"
}

step "topics, create and list" create
step "topics, describe" describe
step "topics, add partitions" alter
step "configs, alter and describe a topic" alter_configs
step "configs, describe a broker" broker_configs
step "console producer and consumer" console
step "console consumer, one partition" console_partition
step "consumer-groups, list" group_listed
step "consumer-groups, describe" group_described
step "consumer-groups, reset offsets" group_reset
step "consumer-groups, delete" group_deleted
step "console consumer, new group protocol" new_protocol
step "verifiable producer and consumer" verifiable
step "producer and consumer performance" performance
step "get-offsets" offsets
step "delete-records" delete_records
step "broker-api-versions, cluster, log-dirs" cluster
step "metadata-quorum" quorum
step "topics, delete" delete
exit $failed

// A member of a group with @confluentinc/kafka-javascript: processes, then commits, tells of both.
//
//     node confluent_javascript.mjs BOOTSTRAP GROUP TOPIC classic|cooperative|consumer SESSION_MS NAME

import confluent from '@confluentinc/kafka-javascript'

const [bootstrap, groupId, topic, protocol, sessionMs, metadata] = process.argv.slice(2)
const { Kafka, logLevel } = confluent.KafkaJS

function tell (event, what = {}) {
  const at = Number(process.hrtime.bigint()) / 1e9
  process.stdout.write(JSON.stringify({ at, event, ...what }) + '\n')
}

const kafka = new Kafka({
  kafkaJS: { clientId: 'javascript', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING }
})
const numbers = partitions => partitions.map(each => each.partition)
const consumer = kafka.consumer({
  kafkaJS: { groupId, fromBeginning: true, autoCommit: false },
  'reconnect.backoff.max.ms': 1000,
  'topic.metadata.refresh.interval.ms': 2000,
  rebalance_cb: (error, partitions) => {
    if (error.code !== -175) tell('revoked', { partitions: numbers(partitions) })
  },
  ...(protocol === 'consumer'
    ? { 'group.protocol': 'consumer' }
    : {
        'session.timeout.ms': Number(sessionMs),
        'heartbeat.interval.ms': 500,
        'partition.assignment.strategy':
          protocol === 'cooperative' ? 'cooperative-sticky' : 'range,roundrobin'
      })
})
await consumer.connect()
await consumer.subscribe({ topics: [topic] })
await consumer.run({
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, isStale }) => {
    const { partition } = batch
    let next = null
    for (const message of batch.messages) {
      if (isStale()) break
      const offset = Number(message.offset)
      tell('processed', { partition, offset, value: message.value.toString() })
      resolveOffset(message.offset)
      next = offset + 1
    }
    if (next === null) return
    const offsets = { [partition]: next }
    try {
      // The promise of commitOffsets() is kept when the request is in a queue, and what is in the
      // queue may overtake what was there before if it has to be sent again.
      consumer._getInternalClient().commitSync([{ topic, partition, offset: next, metadata }])
      tell('committed', { offsets })
    } catch (error) {
      tell('not committed', { offsets, why: String(error) })
    }
  }
})
let told = null
const looking = setInterval(() => {
  const partitions = numbers(consumer.assignment()).sort((a, b) => a - b)
  if (String(partitions) !== told) {
    told = String(partitions)
    tell('assigned', { partitions })
  }
}, 50)
process.on('SIGTERM', async () => {
  clearInterval(looking)
  await consumer.disconnect()
  tell('left')
  process.exit(0)
})

// A member of a group with kafkajs: processes, then commits, and tells of both.
//
//     node kafkajs.mjs BOOTSTRAP GROUP TOPIC classic SESSION_MS NAME

import kafkajs from 'kafkajs'

const [bootstrap, groupId, topic, , sessionMs, metadata] = process.argv.slice(2)
const { Kafka, PartitionAssigners, logLevel } = kafkajs

function tell (event, what = {}) {
  const at = Number(process.hrtime.bigint()) / 1e9
  process.stdout.write(JSON.stringify({ at, event, ...what }) + '\n')
}

const kafka = new Kafka({
  clientId: 'kafkajs',
  brokers: bootstrap.split(','),
  logLevel: logLevel.NOTHING,
  connectionTimeout: 2000,
  retry: { retries: 1000, initialRetryTime: 100, maxRetryTime: 1000 }
})
// Its own way of assigning, by a name that the other clients know: who leads the group assigns.
const range = settings => ({ ...PartitionAssigners.roundRobin(settings), name: 'range' })
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: Number(sessionMs),
  heartbeatInterval: 500,
  rebalanceTimeout: 10_000,
  metadataMaxAge: 2000,
  maxWaitTimeInMs: 200,
  partitionAssigners: [range]
})
consumer.on('consumer.group_join', ({ payload }) => {
  tell('assigned', { partitions: payload.memberAssignment[topic] ?? [] })
})
consumer.on('consumer.crash', ({ payload }) => tell('error', { why: String(payload.error) }))
await consumer.connect()
await consumer.subscribe({ topics: [topic], fromBeginning: true })
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
    const { partition } = batch
    let next = null
    for (const message of batch.messages) {
      if (!isRunning() || isStale()) break
      const offset = Number(message.offset)
      tell('processed', { partition, offset, value: message.value.toString() })
      resolveOffset(message.offset)
      next = offset + 1
    }
    if (next === null) return
    const offsets = { [partition]: next }
    try {
      await consumer.commitOffsets([{ topic, partition, offset: String(next), metadata }])
      tell('committed', { offsets })
    } catch (error) {
      // A later commit says it again; if this is no member any more, the heartbeat hears of it.
      tell('not committed', { offsets, why: String(error) })
    }
    await heartbeat()
  }
})
process.on('SIGTERM', async () => {
  await consumer.disconnect()
  tell('left')
  process.exit(0)
})

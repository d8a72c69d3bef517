// What an application does with @confluentinc/kafka-javascript (librdkafka in Node), step by step.
//
//     node scenario.mjs 127.0.0.1:9092

import confluent from '@confluentinc/kafka-javascript'
import {
  FIRST_TIMESTAMP_MS, PARTITIONS, RECORDS, REPETITIVE, finish, newName, same, skip, step, until
} from '../steps.mjs'

const { ErrorCodes, Kafka, logLevel } = confluent.KafkaJS
const kafka = new Kafka({
  kafkaJS: { brokers: process.argv[2].split(','), logLevel: logLevel.NOTHING }
})
const topic = newName('confluent-javascript')
const admin = kafka.admin()
await admin.connect()

function consumer (groupId, settings = {}) {
  return kafka.consumer({
    kafkaJS: { groupId, fromBeginning: true, autoCommit: false },
    ...(settings['group.protocol'] === 'consumer'
      ? {}
      : { 'session.timeout.ms': 10_000, 'heartbeat.interval.ms': 500 }),
    ...settings
  })
}

/** Read `count` messages of a topic with a group; `then` runs before it leaves. */
async function read (name, groupId, count, { then = async () => {}, settings } = {}) {
  const messages = []
  const reader = consumer(groupId, settings)
  await reader.connect()
  await reader.subscribe({ topics: [name] })
  await reader.run({
    eachMessage: async ({ partition, message }) => { messages.push({ partition, ...message }) }
  })
  try {
    await until(() => messages.length >= count, () => `${messages.length} of ${count} came`)
    await then(reader)
  } finally {
    await reader.disconnect()
  }
  return messages
}

async function write (name, messages, settings = {}) {
  const producer = kafka.producer(settings)
  await producer.connect()
  const told = await producer.send({ topic: name, messages })
  await producer.disconnect()
  return told
}

await step('create a topic', async () => {
  const configEntries = [{ name: 'retention.ms', value: '-1' }]
  const wanted = { topic, numPartitions: PARTITIONS, configEntries }
  same(await admin.createTopics({ topics: [wanted] }), true, 'created')
  await until(async () => (await admin.listTopics()).includes(topic), () => 'it is not listed')
})

await step('describe the topic', async () => {
  const topics = await admin.fetchTopicMetadata({ topics: [topic] })
  same(topics[0].partitions.length, PARTITIONS, 'the number of partitions')
})

await step('produce with keys, headers and timestamps', async () => {
  const messages = Array.from({ length: RECORDS }, (_, i) => ({
    key: `key-${i}`,
    value: `value-${i}`,
    partition: i % PARTITIONS,
    timestamp: String(FIRST_TIMESTAMP_MS + i),
    headers: { number: String(i) }
  }))
  same((await write(topic, messages)).length, PARTITIONS, 'the number of answers')
})

for (const protocol of ['classic', 'consumer']) {
  await step(`consume from the beginning, in order, ${protocol} group`, async () => {
    const next = Array(PARTITIONS).fill(0)
    const settings = { 'group.protocol': protocol }
    for (const message of await read(topic, `${topic}-${protocol}`, RECORDS, { settings })) {
      same(Number(message.offset), next[message.partition]++, 'the offset')
      const i = Number(message.offset) * PARTITIONS + message.partition
      same([String(message.key), String(message.value)], [`key-${i}`, `value-${i}`], 'the message')
      same(Number(message.timestamp), FIRST_TIMESTAMP_MS + i, 'the timestamp')
      same(String(message.headers.number), String(i), 'the header')
    }
  })
}

for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
  await step(`compression ${codec}`, async () => {
    const name = `${topic}-${codec}`
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] })
    const values = Array.from({ length: 50 }, (_, i) => `${i}${REPETITIVE}`)
    await write(name, values.map(value => ({ value })), { 'compression.codec': codec })
    const found = (await read(name, name, 50)).map(message => String(message.value))
    same(found, values, 'what was read')
  })
}

await step('commit and resume', async () => {
  const group = `${topic}-resume`
  await read(topic, group, RECORDS, {
    then: reader => reader.commitOffsets(
      Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, offset: '20' })))
  })
  const after = await read(topic, group, 5 * PARTITIONS)
  same(after.every(message => Number(message.offset) >= 20), true, 'all from 20 on')
})

await step('idempotent producer', async () => {
  const name = `${topic}-idempotent`
  await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }] })
  const values = Array.from({ length: RECORDS }, (_, i) => String(i))
  await write(name, values.map(value => ({ value })), { 'enable.idempotence': true })
  const found = (await read(name, name, RECORDS)).map(message => String(message.value))
  same(found, values, 'what was read')
})

await step('two members share partitions, one leaves', async () => {
  const members = [consumer(`${topic}-shared`), consumer(`${topic}-shared`)]
  for (const member of members) {
    await member.connect()
    await member.subscribe({ topics: [topic] })
    await member.run({ eachMessage: async () => {} })
  }
  const sizes = () => members.map(member => member.assignment().length)
  await until(() => sizes().every(size => size === 2), () => `partitions of each: ${sizes()}`)
  await members.pop().disconnect()
  await until(() => sizes()[0] === PARTITIONS, () => `after one left: ${sizes()}`)
  await members.pop().disconnect()
})

await step('offsets by timestamp', async () => {
  const found = await admin.fetchTopicOffsetsByTimestamp(topic, FIRST_TIMESTAMP_MS + 41)
  same(found.find(each => each.partition === 0).offset, '11', 'the offset')
  const ends = await admin.fetchTopicOffsets(topic)
  same(ends.find(each => each.partition === 0).high, '25', 'the end')
})

await step('groups are listed, described and deleted', async () => {
  const group = `${topic}-resume`
  const { groups } = await admin.listGroups()
  same(groups.some(each => each.groupId === group), true, 'listed')
  same((await admin.describeGroups([group])).groups.length, 1, 'the number of groups')
  const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
  same(offsets.partitions.length, PARTITIONS, 'the number of offsets')
  const [deleted] = await admin.deleteGroups([group])
  same(deleted.errorCode ?? ErrorCodes.ERR_NO_ERROR, ErrorCodes.ERR_NO_ERROR, 'the error')
})

skip('alter configuration and add partitions', 'this client has no calls for it')

await step('delete the topic', async () => {
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !(await admin.listTopics()).includes(topic), () => 'it is still listed')
})

await admin.disconnect()
finish()

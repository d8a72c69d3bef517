// What an application does with kafkajs, step by step.
//
//     node scenario.mjs 127.0.0.1:9092

import zlib from 'node:zlib'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import {
  FIRST_TIMESTAMP_MS, PARTITIONS, RECORDS, REPETITIVE, finish, newName, same, step, until
} from '../steps.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs

// kafkajs brings gzip; the other codecs are the application's to register.
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zlib.zstdCompressSync(encoder.buffer),
  decompress: async buffer => zlib.zstdDecompressSync(buffer)
})

const kafka = new Kafka({
  clientId: 'scenario',
  brokers: process.argv[2].split(','),
  logLevel: logLevel.NOTHING
})
const topic = newName('kafkajs')
const admin = kafka.admin()
await admin.connect()

function consumer (groupId) {
  return kafka.consumer({ groupId, sessionTimeout: 10_000, heartbeatInterval: 500 })
}

/** Read `count` messages of a topic from the beginning with a fresh group. */
async function read (name, groupId, count, then = async () => {}) {
  const messages = []
  const reader = consumer(groupId)
  await reader.connect()
  await reader.subscribe({ topics: [name], fromBeginning: true })
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
  const producer = kafka.producer(settings.producer)
  await producer.connect()
  const told = await producer.send({ topic: name, messages, acks: -1, ...settings.send })
  await producer.disconnect()
  return told
}

await step('create a topic', async () => {
  const configEntries = [{ name: 'retention.ms', value: '-1' }]
  const wanted = { topic, numPartitions: PARTITIONS, configEntries }
  same(await admin.createTopics({ topics: [wanted], waitForLeaders: true }), true, 'created')
  same(await admin.createTopics({ topics: [wanted] }), false, 'created twice')
  // Any broker may answer, and learns of the topic a moment later.
  await until(async () => (await admin.listTopics()).includes(topic), () => 'it is not listed')
})

await step('describe cluster, topic and configuration', async () => {
  const cluster = await admin.describeCluster()
  same(cluster.brokers.length > 0 && !!cluster.clusterId, true, 'a cluster with an id')
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
  same(topics[0].partitions.length, PARTITIONS, 'the number of partitions')
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }]
  })
  same(resources[0].configEntries[0].configValue, '-1', 'retention.ms')
})

await step('produce with keys, headers and timestamps', async () => {
  const messages = Array.from({ length: RECORDS }, (_, i) => ({
    key: `key-${i}`,
    value: `value-${i}`,
    partition: i % PARTITIONS,
    timestamp: String(FIRST_TIMESTAMP_MS + i),
    headers: { number: String(i) }
  }))
  const told = await write(topic, messages)
  same(told.length, PARTITIONS, 'the number of answers')
  same(told.every(answer => answer.baseOffset === '0'), true, 'base offsets 0')
})

await step('consume from the beginning, in order', async () => {
  const next = Array(PARTITIONS).fill(0)
  for (const message of await read(topic, `${topic}-all`, RECORDS)) {
    same(Number(message.offset), next[message.partition]++, 'the offset')
    const i = Number(message.offset) * PARTITIONS + message.partition
    same([String(message.key), String(message.value)], [`key-${i}`, `value-${i}`], 'the message')
    same(message.timestamp, String(FIRST_TIMESTAMP_MS + i), 'the timestamp')
    same(String(message.headers.number), String(i), 'the header')
  }
})

for (const codec of ['GZIP', 'Snappy', 'LZ4', 'ZSTD']) {
  await step(`compression ${codec.toLowerCase()}`, async () => {
    const name = `${topic}-${codec}`
    await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }], waitForLeaders: true })
    const values = Array.from({ length: 50 }, (_, i) => `${i}${REPETITIVE}`)
    await write(name, values.map(value => ({ value })), {
      send: { compression: CompressionTypes[codec] }
    })
    const found = (await read(name, name, 50)).map(message => String(message.value))
    same(found, values, 'what was read')
  })
}

await step('commit and resume', async () => {
  const group = `${topic}-resume`
  const before = await read(topic, group, RECORDS, async reader => {
    await reader.commitOffsets(
      Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, offset: '20' })))
    await reader.stop()
  })
  same(before.length, RECORDS, 'the number of messages')
  await until(async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return partitions.length === PARTITIONS
  }, () => 'no offsets were committed')
  await admin.setOffsets({
    groupId: group,
    topic,
    partitions: Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, offset: '20' }))
  })
  const after = await read(topic, group, 5 * PARTITIONS)
  same(after.every(message => Number(message.offset) >= 20), true, 'all from 20 on')
})

await step('idempotent producer', async () => {
  const name = `${topic}-idempotent`
  await admin.createTopics({ topics: [{ topic: name, numPartitions: 1 }], waitForLeaders: true })
  const values = Array.from({ length: RECORDS }, (_, i) => String(i))
  await write(name, values.map(value => ({ value })), {
    producer: { idempotent: true, maxInFlightRequests: 1 }
  })
  const found = (await read(name, name, RECORDS)).map(message => String(message.value))
  same(found, values, 'what was read')
})

await step('two members share partitions, one leaves', async () => {
  const members = [consumer(`${topic}-shared`), consumer(`${topic}-shared`)]
  const assigned = [[], []]
  members.forEach((member, i) => member.on(member.events.GROUP_JOIN, ({ payload }) => {
    assigned[i] = payload.memberAssignment[topic] ?? []
  }))
  for (const member of members) {
    await member.connect()
    await member.subscribe({ topics: [topic] })
    await member.run({ eachMessage: async () => {} })
  }
  const shown = () => `assigned: ${JSON.stringify(assigned)}`
  await until(() => assigned[0].length === 2 && assigned[1].length === 2, shown)
  await members[1].disconnect()
  await until(() => assigned[0].length === PARTITIONS, shown)
  await members[0].disconnect()
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
  same((await admin.describeGroups([group])).groups[0].state, 'Empty', 'the state')
  same((await admin.deleteGroups([group]))[0].errorCode ?? 0, 0, 'the error')
})

await step('alter configuration and add partitions', async () => {
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{
      type: ConfigResourceTypes.TOPIC,
      name: topic,
      configEntries: [{ name: 'max.message.bytes', value: '123456' }]
    }]
  })
  await admin.createPartitions({ topicPartitions: [{ topic, count: PARTITIONS + 2 }] })
  await until(async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length === PARTITIONS + 2
  }, () => 'the new partitions do not show')
})

await step('delete the topic', async () => {
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !(await admin.listTopics()).includes(topic), () => 'it is still listed')
})

await admin.disconnect()
finish()

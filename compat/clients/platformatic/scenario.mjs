// What an application does with @platformatic/kafka, step by step.
//
//     node scenario.mjs 127.0.0.1:9092

import {
  Admin, ConfigResourceTypes, Consumer, GroupProtocols, IncrementalAlterConfigOperationTypes,
  Producer, stringDeserializers, stringSerializers
} from '@platformatic/kafka'
import {
  FIRST_TIMESTAMP_MS, PARTITIONS, RECORDS, REPETITIVE, finish, newName, same, step, until
} from '../steps.mjs'

const client = { clientId: 'scenario', bootstrapBrokers: process.argv[2].split(',') }
const topic = newName('platformatic')
const admin = new Admin(client)

function consumer (groupId, settings = {}) {
  const classic = settings.groupProtocol === GroupProtocols.CONSUMER
    ? {}
    : { sessionTimeout: 10_000, heartbeatInterval: 500 }
  return new Consumer({
    ...client, groupId, deserializers: stringDeserializers, maxWaitTime: 500, ...classic, ...settings
  })
}

const fromCommitted = { mode: 'committed', fallbackMode: 'earliest', autocommit: false }

/** Read `count` messages of a topic with a group. */
async function read (name, groupId, count, settings) {
  const messages = []
  const reader = consumer(groupId, settings)
  try {
    const stream = await reader.consume({ topics: [name], ...fromCommitted })
    stream.on('data', message => messages.push(message))
    await until(() => messages.length >= count, () => `${messages.length} of ${count} came`)
  } finally {
    await reader.close(true)
  }
  return messages
}

async function write (messages, settings = {}) {
  const producer = new Producer({ ...client, serializers: stringSerializers, ...settings })
  const told = await producer.send({ messages, acks: -1 })
  await producer.close()
  return told
}

await step('create a topic', async () => {
  const configs = [{ name: 'retention.ms', value: '-1' }]
  const [made] = await admin.createTopics({
    topics: [topic], partitions: PARTITIONS, replicas: -1, configs
  })
  same(made.partitions, PARTITIONS, 'the number of partitions')
  // Any broker may answer, and learns of the topic a moment later.
  await until(async () => (await admin.listTopics()).includes(topic), () => 'it is not listed')
})

await step('describe cluster, topic and configuration', async () => {
  const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
  same(metadata.brokers.size > 0, true, 'a cluster with brokers')
  same(metadata.topics.get(topic).partitions.length, PARTITIONS, 'the number of partitions')
  const [told] = await admin.describeConfigs({
    resources: [{
      resourceType: ConfigResourceTypes.TOPIC,
      resourceName: topic,
      configurationKeys: ['retention.ms']
    }]
  })
  same(told.configs[0].value, '-1', 'retention.ms')
  // Sending to partitions that no broker leads yet would send everything twice.
  const partitions = Array.from({ length: PARTITIONS }, (_, partitionIndex) => (
    { partitionIndex, timestamp: -1n }))
  await until(
    () => admin.listOffsets({ topics: [{ name: topic, partitions }] }).catch(() => false),
    () => 'some partition has no leader')
})

await step('produce with keys, headers and timestamps', async () => {
  const messages = Array.from({ length: RECORDS }, (_, i) => ({
    topic,
    key: `key-${i}`,
    value: `value-${i}`,
    partition: i % PARTITIONS,
    timestamp: BigInt(FIRST_TIMESTAMP_MS + i),
    headers: { number: String(i) }
  }))
  const { offsets } = await write(messages)
  same(offsets.length, PARTITIONS, 'the number of answers')
})

for (const groupProtocol of [GroupProtocols.CLASSIC, GroupProtocols.CONSUMER]) {
  await step(`consume from the beginning, in order, ${groupProtocol} group`, async () => {
    const next = Array(PARTITIONS).fill(0)
    const messages = await read(topic, `${topic}-${groupProtocol}`, RECORDS, { groupProtocol })
    for (const message of messages) {
      same(Number(message.offset), next[message.partition]++, 'the offset')
      const i = Number(message.offset) * PARTITIONS + message.partition
      same([message.key, message.value], [`key-${i}`, `value-${i}`], 'the message')
      same(Number(message.timestamp), FIRST_TIMESTAMP_MS + i, 'the timestamp')
      same(message.headers.get('number'), String(i), 'the header')
    }
  })
}

for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
  await step(`compression ${compression}`, async () => {
    const name = `${topic}-${compression}`
    await admin.createTopics({ topics: [name], partitions: 1, replicas: -1 })
    const values = Array.from({ length: 50 }, (_, i) => `${i}${REPETITIVE}`)
    await write(values.map(value => ({ topic: name, value })), { compression })
    same((await read(name, name, 50)).map(message => message.value), values, 'what was read')
  })
}

await step('commit and resume', async () => {
  const group = `${topic}-resume`
  const reader = consumer(group)
  await reader.joinGroup()
  await reader.commit({
    offsets: Array.from({ length: PARTITIONS }, (_, partition) => (
      { topic, partition, offset: 20n, leaderEpoch: -1 }))
  })
  const committed = await reader.listCommittedOffsets({
    topics: [{ topic, partitions: [0, 1, 2, 3] }]
  })
  same(committed.get(topic).map(Number), Array(PARTITIONS).fill(20), 'the committed offsets')
  await reader.close(true)
  const after = await read(topic, group, 5 * PARTITIONS)
  same(after.every(message => message.offset >= 20n), true, 'all from 20 on')
})

await step('idempotent producer', async () => {
  const name = `${topic}-idempotent`
  await admin.createTopics({ topics: [name], partitions: 1, replicas: -1 })
  const values = Array.from({ length: RECORDS }, (_, i) => String(i))
  await write(values.map(value => ({ topic: name, value })), { idempotent: true })
  same((await read(name, name, RECORDS)).map(message => message.value), values, 'what was read')
})

await step('two members share partitions, one leaves', async () => {
  const members = [consumer(`${topic}-shared`), consumer(`${topic}-shared`)]
  const streams = await Promise.all(
    members.map(member => member.consume({ topics: [topic], ...fromCommitted })))
  for (const stream of streams) stream.on('data', () => {})
  const sizes = () => members.map(member =>
    (member.assignments ?? []).reduce((sum, each) => sum + each.partitions.length, 0))
  await until(() => sizes().every(size => size === 2), () => `partitions of each: ${sizes()}`)
  await members.pop().close(true)
  await until(() => sizes()[0] === PARTITIONS, () => `after one left: ${sizes()}`)
  await members.pop().close(true)
})

await step('offsets by timestamp', async () => {
  const ask = async timestamp => {
    const [told] = await admin.listOffsets({
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp }] }]
    })
    return Number(told.partitions[0].offset)
  }
  same(await ask(BigInt(FIRST_TIMESTAMP_MS + 41)), 11, 'the offset')
  same(await ask(-1n), 25, 'the end')
  same(await ask(-2n), 0, 'the beginning')
  same(await ask(-3n), 24, 'the record with the largest timestamp')
})

await step('groups are listed, described and deleted', async () => {
  const group = `${topic}-resume`
  same((await admin.listGroups()).has(group), true, 'listed')
  same((await admin.describeGroups({ groups: [group] })).get(group).state, 'Empty', 'the state')
  const [offsets] = await admin.listConsumerGroupOffsets({ groups: [group] })
  same(offsets.topics[0].partitions.length, PARTITIONS, 'the number of offsets')
  await admin.deleteGroups({ groups: [group] })
})

await step('alter configuration and add partitions', async () => {
  await admin.incrementalAlterConfigs({
    resources: [{
      resourceType: ConfigResourceTypes.TOPIC,
      resourceName: topic,
      configs: [{
        name: 'max.message.bytes',
        configOperation: IncrementalAlterConfigOperationTypes.SET,
        value: '123456'
      }]
    }]
  })
  await admin.createPartitions({ topics: [{ name: topic, count: PARTITIONS + 2, assignments: null }] })
  await until(async () => {
    const metadata = await admin.metadata({ topics: [topic], forceUpdate: true })
    return metadata.topics.get(topic).partitions.length === PARTITIONS + 2
  }, () => 'the new partitions do not show')
})

await step('delete the topic', async () => {
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !(await admin.listTopics()).includes(topic), () => 'it is still listed')
})

await admin.close()
finish()

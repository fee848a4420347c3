// Driver of kafkajs; the contract is in ../README.md. It cannot consume without a group, so there is no `consume`.
import kafkajs from 'kafkajs'
import { decode, encode, say, serve } from './contract.mjs'

const client = request => new kafkajs.Kafka({ brokers: [request.bootstrap], logLevel: kafkajs.logLevel.NOTHING })

function headersOf (record) {
  const headers = {}
  for (const [name, value] of record.headers) {
    (headers[name] ??= []).push(decode(value))
  }
  return headers
}

async function produce (request) {
  const producer = client(request).producer(request.idempotent ? { idempotent: true } : {})
  await producer.connect()
  const messages = request.records.map(record => ({
    key: decode(record.key),
    value: decode(record.value),
    headers: headersOf(record),
    partition: record.partition ?? undefined,
    timestamp: record.timestamp === null ? undefined : String(record.timestamp)
  }))
  const compression = request.codec === 'gzip' ? kafkajs.CompressionTypes.GZIP : undefined
  await producer.send({ topic: request.topic, messages, compression })
  await producer.disconnect()
}

const headersRead = headers => Object.entries(headers ?? {}).flatMap(([name, values]) =>
  [values].flat().map(value => [name, encode(value)]))

async function group (request) {
  const consumer = client(request).consumer({ groupId: request.group })
  await consumer.connect()
  await consumer.subscribe({ topics: [request.topic], fromBeginning: true })
  const next = new Map()
  let left = request.count
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, event => reject(event.payload.error))
    const eachMessage = async ({ partition, message }) => {
      if (left === 0) return
      say({
        partition,
        offset: Number(message.offset),
        timestamp: Number(message.timestamp),
        key: encode(message.key),
        value: encode(message.value),
        headers: headersRead(message.headers)
      })
      next.set(partition, BigInt(message.offset) + 1n)
      left -= 1
      if (left === 0) resolve()
    }
    consumer.run({ autoCommit: false, eachMessage }).catch(reject)
  })
  await consumer.commitOffsets([...next].map(([partition, offset]) =>
    ({ topic: request.topic, partition, offset: String(offset) })))
  await consumer.disconnect()
}

async function withAdmin (request, work) {
  const admin = client(request).admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

const entries = config => Object.entries(config).map(([name, value]) => ({ name, value }))

const create = request => withAdmin(request, admin => admin.createTopics({
  topics: [{
    topic: request.topic,
    numPartitions: request.partitions,
    configEntries: entries(request.config)
  }]
}))

const alter = request => withAdmin(request, admin => admin.alterConfigs({
  validateOnly: false,
  resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: request.topic, configEntries: entries(request.config) }]
}))

const describe = request => withAdmin(request, async admin => {
  const { topics: [topic] } = await admin.fetchTopicMetadata({ topics: [request.topic] })
  const offsets = (await admin.fetchTopicOffsets(request.topic)).sort((a, b) => a.partition - b.partition)
  const { resources: [resource] } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: request.topic }]
  })
  say({
    partitions: topic.partitions.length,
    earliest: offsets.map(found => Number(found.low)),
    latest: offsets.map(found => Number(found.high)),
    config: Object.fromEntries(resource.configEntries.map(entry => [entry.configName, entry.configValue]))
  })
})

const remove = request => withAdmin(request, admin => admin.deleteTopics({ topics: [request.topic] }))

await serve({ produce, group, create, alter, describe, delete: remove })

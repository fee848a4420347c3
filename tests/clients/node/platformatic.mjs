// Driver of @platformatic/kafka; the contract is in ../README.md.
// Its streams join a group; `consume` uses `listOffsets` and `fetch`, which do without.
import {
  Admin, compatibilityPartitioner, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, ListOffsetTimestamps,
  Producer
} from '@platformatic/kafka'
import { decode, encode, say, serve } from './contract.mjs'

const common = request => ({ clientId: 'driver', bootstrapBrokers: [request.bootstrap] })

// A map may hold the same name twice, since its keys are buffers.
const headersOf = record => new Map(record.headers.map(([name, value]) => [Buffer.from(name), decode(value)]))

async function produce (request) {
  const producer = new Producer({
    ...common(request),
    ...(request.codec ? { compression: request.codec } : {}),
    ...(request.idempotent ? { idempotent: true } : {}),
    ...(request.java_keys ? { partitioner: compatibilityPartitioner } : {})
  })
  const messages = request.records.map(record => ({
    topic: request.topic,
    key: decode(record.key),
    value: decode(record.value),
    headers: headersOf(record),
    ...(record.partition === null ? {} : { partition: record.partition }),
    ...(record.timestamp === null ? {} : { timestamp: BigInt(record.timestamp) })
  }))
  await producer.send({ messages })
  await producer.close()
}

async function consume (request) {
  const consumer = new Consumer({ ...common(request), groupId: 'unused' })
  const { topics, brokers } = await consumer.metadata({ topics: [request.topic] })
  const topic = topics.get(request.topic)
  const timestamp = BigInt(request.time ?? ListOffsetTimestamps.EARLIEST)
  const listed = await consumer.listOffsets({ topics: [request.topic], timestamp })
  const next = new Map(request.partitions.map(partition =>
    [partition, request.offset === null ? listed.get(request.topic)[partition] : BigInt(request.offset)]))
  let left = request.count
  while (left > 0) {
    const partitions = [...next].map(([partition, fetchOffset]) => (
      { partition, fetchOffset, currentLeaderEpoch: -1, lastFetchedEpoch: -1, partitionMaxBytes: 1 << 20 }))
    const { responses } = await consumer.fetch({ node: [...brokers.keys()][0], topics: [{ topicId: topic.id, partitions }] })
    for (const { partitionIndex, records: batches = [] } of responses.flatMap(response => response.partitions)) {
      for (const batch of batches) {
        for (const record of batch.records) {
          const offset = batch.firstOffset + BigInt(record.offsetDelta)
          if (offset < next.get(partitionIndex) || left === 0) continue // the part of a batch that was not asked for
          say({
            partition: partitionIndex,
            offset: Number(offset),
            timestamp: Number(batch.firstTimestamp + record.timestampDelta),
            key: encode(record.key),
            value: encode(record.value),
            headers: record.headers.map(([name, value]) => [name.toString(), encode(value)])
          })
          next.set(partitionIndex, offset + 1n)
          left -= 1
        }
      }
    }
  }
  await consumer.close()
}

async function group (request) {
  const consumer = new Consumer({ ...common(request), groupId: request.group })
  const stream = await consumer.consume({
    topics: [request.topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false
  })
  let left = request.count
  for await (const message of stream) {
    say({
      partition: message.partition,
      offset: Number(message.offset),
      timestamp: Number(message.timestamp),
      key: encode(message.key),
      value: encode(message.value),
      headers: [...message.headers].map(([name, value]) => [name.toString(), encode(value)])
    })
    await message.commit()
    left -= 1
    if (left === 0) break
  }
  await consumer.close(true)
}

async function withAdmin (request, work) {
  const admin = new Admin(common(request))
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

const create = request => withAdmin(request, admin => admin.createTopics({
  topics: [request.topic],
  partitions: request.partitions,
  replicas: 1,
  configs: Object.entries(request.config).map(([name, value]) => ({ name, value }))
}))

const alter = request => withAdmin(request, admin => admin.incrementalAlterConfigs({
  resources: [{
    resourceType: ConfigResourceTypes.TOPIC,
    resourceName: request.topic,
    configs: Object.entries(request.config).map(([name, value]) =>
      ({ name, configOperation: IncrementalAlterConfigOperationTypes.SET, value }))
  }]
}))

const describe = request => withAdmin(request, async admin => {
  const { topics } = await admin.metadata({ topics: [request.topic] })
  const partitions = topics.get(request.topic).partitionsCount
  const offsets = async timestamp => {
    const [topic] = await admin.listOffsets({
      topics: [{
        name: request.topic,
        partitions: Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp }))
      }]
    })
    return topic.partitions.sort((a, b) => a.partitionIndex - b.partitionIndex).map(found => Number(found.offset))
  }
  const [resource] = await admin.describeConfigs({
    resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: request.topic }]
  })
  say({
    partitions,
    earliest: await offsets(ListOffsetTimestamps.EARLIEST),
    latest: await offsets(ListOffsetTimestamps.LATEST),
    config: Object.fromEntries(resource.configs.map(config => [config.name, config.value]))
  })
})

const remove = request => withAdmin(request, admin => admin.deleteTopics({ topics: [request.topic] }))

await serve({ produce, consume, group, create, alter, describe, delete: remove })

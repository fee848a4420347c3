import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** An idempotent producer and a member of a group, until a file appears; they tell what happens (docs/formats/history.md). */
final class Load implements ConsumerRebalanceListener {
    private static final Duration PATIENCE = Duration.ofMinutes(1);

    private final JsonNode request;
    private final String topic, name, group, member;
    private final Map<Integer, Long> positions = new HashMap<>(); // behind what was read
    private volatile boolean written;
    private volatile long since;
    private Map<TopicPartition, Long> ends; // when everything was written

    Load(JsonNode request) {
        this.request = request;
        topic = request.get("topic").asText();
        name = request.get("name").asText();
        group = request.get("group").asText();
        member = name + "-member";
    }

    /** In microseconds of the clock that the test reads too. */
    private static long now() {
        return System.nanoTime() / 1000;
    }

    private static ObjectNode fields(String client) {
        return Driver.JSON.createObjectNode().put("at", now()).put("client", client);
    }

    private ObjectNode fields(String client, int partition) {
        return fields(client).put("topic", topic).put("partition", partition);
    }

    private static void tell(String event, ObjectNode fields) {
        Driver.say(Driver.JSON.createObjectNode().set(event, fields));
    }

    void run() throws Exception {
        AtomicReference<Exception> failed = new AtomicReference<>();
        Thread reading = new Thread(() -> {
            try {
                read();
            } catch (Exception error) {
                failed.set(error);
            }
        });
        reading.start();
        write();
        since = now();
        written = true;
        reading.join();
        if (failed.get() != null) {
            throw failed.get();
        }
    }

    private Map<String, Object> settings() {
        Map<String, Object> settings = Driver.settings(request);
        settings.put("reconnect.backoff.ms", 20);
        settings.put("reconnect.backoff.max.ms", 200);
        return settings;
    }

    private void write() throws Exception {
        Map<String, Object> settings = settings();
        settings.put("linger.ms", 2);
        settings.put("delivery.timeout.ms", 300_000);
        settings.put("max.block.ms", 300_000);
        int partitions = request.get("partitions").size();
        long[] sent = new long[partitions];
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int turn = 0; !Files.exists(Path.of(request.get("until").asText())); turn++) {
                int partition = turn % partitions;
                long number = sent[partition]++;
                byte[] value = (name + ":" + number + ":" + "x".repeat(200)).getBytes(StandardCharsets.US_ASCII);
                tell("send", fields(name, partition).put("value", number));
                producer.send(new ProducerRecord<>(topic, partition, null, value), (done, error) -> {
                    if (error != null) {
                        failed.set(error);
                        return;
                    }
                    // To a batch that it wrote long ago a broker may answer that it is there, and not where.
                    if (done.hasOffset()) {
                        tell("acked", fields(name, partition).put("value", number).put("offset", done.offset()));
                    }
                });
                Thread.sleep(2); // a pace that leaves the broker some of the processor
            }
            producer.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
    }

    private void read() {
        Map<String, Object> settings = settings();
        settings.put("group.id", group);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            tell("subscribe", fields(member).put("topic", topic).put("group", group));
            consumer.subscribe(List.of(topic), this);
            while (!isDone(consumer)) {
                var records = consumer.poll(Duration.ofMillis(100));
                for (TopicPartition partition : records.partitions()) {
                    tellPolls(partition.partition(), records.records(partition));
                }
                if (!records.isEmpty()) {
                    commit(consumer);
                }
            }
            tell("patience", fields(name).put("since", since).put("group", group));
        }
        tell("close", fields(member));
    }

    private boolean isDone(KafkaConsumer<byte[], byte[]> consumer) {
        if (!written) {
            return false;
        }
        if (ends == null) {
            int partitions = request.get("partitions").size();
            ends = consumer.endOffsets(IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).toList());
        }
        boolean all = ends.entrySet().stream()
                .allMatch(end -> positions.getOrDefault(end.getKey().partition(), 0L) >= end.getValue());
        return all || now() - since > PATIENCE.toNanos() / 1000;
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> tell("seek", fields(member, partition.partition()).putNull("offset")));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> positions.remove(partition.partition()));
    }

    /** A line for each epoch. */
    private void tellPolls(int partition, List<ConsumerRecord<byte[], byte[]>> records) {
        for (int from = 0, to; from < records.size(); from = to) {
            var epoch = records.get(from).leaderEpoch();
            ObjectNode fields = fields(member, partition).put("epoch", epoch.orElse(null));
            ArrayNode shown = fields.putArray("records");
            for (to = from; to < records.size() && records.get(to).leaderEpoch().equals(epoch); to++) {
                show(records.get(to), shown.addArray());
                positions.put(partition, records.get(to).offset() + 1);
            }
            tell("poll", fields);
        }
    }

    private static void show(ConsumerRecord<byte[], byte[]> record, ArrayNode shown) {
        String[] words = new String(record.value(), StandardCharsets.US_ASCII).split(":", 3);
        CRC32 digest = new CRC32();
        digest.update((record.timestamp() + ":").getBytes(StandardCharsets.US_ASCII));
        digest.update(record.value());
        shown.add(record.offset()).add(words[0]).add(Long.parseLong(words[1])).add(digest.getValue());
    }

    private void commit(KafkaConsumer<byte[], byte[]> consumer) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        positions.forEach((partition, offset) -> offsets.put(new TopicPartition(topic, partition), new OffsetAndMetadata(offset)));
        long begin = now();
        String outcome = "ok";
        try {
            consumer.commitSync(offsets);
        } catch (KafkaException error) {
            outcome = "unknown"; // an attempt before the last may have been carried out
        }
        for (var one : offsets.entrySet()) {
            tell("commit", fields(member, one.getKey().partition()).put("begin", begin).put("group", group)
                    .put("offset", one.getValue().offset()).put("outcome", outcome));
        }
    }
}

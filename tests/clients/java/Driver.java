import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Driver of the Java client; the contract is in ../README.md. */
public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            ObjectNode last = JSON.createObjectNode();
            try {
                answer(JSON.readTree(line));
                last.put("done", true);
            } catch (Exception error) { // whatever the library throws is an answer to the test
                last.put("error", error.toString());
            }
            say(last);
        }
    }

    static synchronized void say(JsonNode line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void answer(JsonNode request) throws Exception {
        switch (request.get("verb").asText()) {
            case "produce" -> produce(request);
            case "consume" -> consume(request);
            case "group" -> group(request);
            case "create" -> create(request);
            case "alter" -> alter(request);
            case "describe" -> describe(request);
            case "delete" -> delete(request);
            case "load" -> new Load(request).run();
            default -> throw new IllegalArgumentException("no such verb");
        }
    }

    static Map<String, Object> settings(JsonNode request) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", request.get("bootstrap").asText());
        if (request.hasNonNull("rack")) {
            settings.put("client.rack", request.get("rack").asText());
        }
        return settings;
    }

    private static byte[] bytes(JsonNode node) throws IOException {
        return node.isNull() ? null : node.binaryValue();
    }

    private static void produce(JsonNode request) throws Exception {
        Map<String, Object> settings = settings(request);
        if (!request.get("codec").isNull()) {
            settings.put("compression.type", request.get("codec").asText());
        }
        String topic = request.get("topic").asText();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<?>> sent = new ArrayList<>();
            for (JsonNode record : request.get("records")) {
                Integer partition = record.get("partition").isNull() ? null : record.get("partition").asInt();
                Long timestamp = record.get("timestamp").isNull() ? null : record.get("timestamp").asLong();
                var message = new ProducerRecord<>(topic, partition, timestamp, bytes(record.get("key")), bytes(record.get("value")));
                for (JsonNode header : record.get("headers")) {
                    message.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(message));
            }
            for (Future<?> acknowledged : sent) {
                acknowledged.get();
            }
        }
    }

    private static List<TopicPartition> partitions(JsonNode request, Iterable<Integer> numbers) {
        List<TopicPartition> found = new ArrayList<>();
        numbers.forEach(number -> found.add(new TopicPartition(request.get("topic").asText(), number)));
        return found;
    }

    private static void consume(JsonNode request) {
        List<Integer> numbers = new ArrayList<>();
        request.get("partitions").forEach(number -> numbers.add(number.asInt()));
        List<TopicPartition> assigned = partitions(request, numbers);
        try (var consumer = new KafkaConsumer<>(settings(request), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(assigned);
            if (!request.get("time").isNull()) {
                long time = request.get("time").asLong();
                Map<TopicPartition, Long> times = assigned.stream().collect(Collectors.toMap(p -> p, p -> time));
                consumer.offsetsForTimes(times).forEach((partition, found) -> consumer.seek(partition, found.offset()));
            } else if (!request.get("offset").isNull()) {
                assigned.forEach(partition -> consumer.seek(partition, request.get("offset").asLong()));
            } else {
                consumer.seekToBeginning(assigned);
            }
            int left = request.get("count").asInt();
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    if (left > 0) {
                        say(consumed(record));
                        left -= 1;
                    }
                }
            }
        }
    }

    private static void group(JsonNode request) {
        Map<String, Object> settings = settings(request);
        settings.put("group.id", request.get("group").asText());
        if (!request.get("protocol").isNull()) {
            settings.put("group.protocol", request.get("protocol").asText());
        }
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("max.poll.records", request.get("count").asInt());
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(request.get("topic").asText()));
            int left = request.get("count").asInt();
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    say(consumed(record));
                    left -= 1;
                }
            }
            consumer.commitSync();
        }
    }

    private static ObjectNode consumed(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode line = JSON.createObjectNode();
        line.put("partition", record.partition()).put("offset", record.offset()).put("timestamp", record.timestamp());
        line.put("key", record.key()).put("value", record.value());
        ArrayNode headers = line.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
        return line;
    }

    private static void create(JsonNode request) throws Exception {
        Map<String, String> config = new HashMap<>();
        request.get("config").properties().forEach(entry -> config.put(entry.getKey(), entry.getValue().asText()));
        try (Admin admin = Admin.create(settings(request))) {
            var topic = new NewTopic(request.get("topic").asText(), request.get("partitions").asInt(), (short) 1).configs(config);
            admin.createTopics(List.of(topic)).all().get();
        }
    }

    private static void alter(JsonNode request) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, request.get("topic").asText());
        List<AlterConfigOp> changes = new ArrayList<>();
        request.get("config").properties().forEach(entry -> changes.add(
                new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue().asText()), AlterConfigOp.OpType.SET)));
        try (Admin admin = Admin.create(settings(request))) {
            admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        }
    }

    private static void describe(JsonNode request) throws Exception {
        String topic = request.get("topic").asText();
        ObjectNode line = JSON.createObjectNode();
        try (Admin admin = Admin.create(settings(request))) {
            var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            List<TopicPartition> partitions = partitions(request, described.partitions().stream().map(p -> p.partition()).toList());
            line.put("partitions", partitions.size());
            offsets(admin, partitions, OffsetSpec.earliest(), line.putArray("earliest"));
            offsets(admin, partitions, OffsetSpec.latest(), line.putArray("latest"));
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            ObjectNode config = line.putObject("config");
            admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
                    .forEach(entry -> config.put(entry.name(), entry.value()));
        }
        say(line);
    }

    private static void offsets(Admin admin, Collection<TopicPartition> partitions, OffsetSpec spec, ArrayNode line)
            throws Exception {
        var wanted = partitions.stream().collect(Collectors.toMap(p -> p, p -> spec));
        var found = admin.listOffsets(wanted).all().get();
        for (TopicPartition partition : partitions) {
            line.add(found.get(partition).offset());
        }
    }

    private static void delete(JsonNode request) throws Exception {
        try (Admin admin = Admin.create(settings(request))) {
            admin.deleteTopics(List.of(request.get("topic").asText())).all().get();
        }
    }
}

// What an application does with Kafka's own Java client, step by step.
//
//     java -cp 'jars/*:classes' Scenario 127.0.0.1:9092
//
// One line for each step: "ok NAME", or "not ok NAME: why".

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The scenario: every method whose name says a deed is one step. */
public final class Scenario {
  private static final int PARTITIONS = 4;
  private static final int RECORDS = 100;
  private static final long FIRST_TIMESTAMP_MS = 1_700_000_000_000L;
  private static final Duration POLL = Duration.ofMillis(200);
  private static final long PATIENCE_S = 40;

  private final String bootstrap;
  private final String topic = "java-" + UUID.randomUUID();
  private int failed = 0;

  private Scenario(String bootstrap) {
    this.bootstrap = bootstrap;
  }

  public static void main(String[] arguments) {
    System.exit(new Scenario(arguments[0]).run());
  }

  private int run() {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      step("create a topic", () -> create(admin));
      step("describe cluster, topic and configuration", () -> describe(admin));
      step("produce with keys, headers and timestamps", this::produce);
      step("consume from the beginning, in order", () -> consume("classic"));
      step("consume with the new group protocol", () -> consume("consumer"));
      for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
        step("compression " + codec, () -> compress(codec));
      }
      step("commit and resume", () -> commitAndResume("classic"));
      step("commit and resume with the new group protocol", () -> commitAndResume("consumer"));
      step("two members share partitions, one leaves", () -> share("classic"));
      step("two members with the new group protocol", () -> share("consumer"));
      step("offsets by timestamp", () -> offsetsByTimestamp(admin));
      step("groups are listed, described and deleted", () -> groups(admin));
      step("alter configuration and add partitions", () -> alter(admin));
      step("delete the topic", () -> delete(admin));
    }
    return failed == 0 ? 0 : 1;
  }

  private void step(String name, Callable<Void> work) {
    try {
      work.call();
      System.out.println("ok " + name);
    } catch (Exception | AssertionError error) {
      failed++;
      Throwable cause = error.getCause() == null ? error : error.getCause();
      String why = String.valueOf(cause).replace('\n', ' ');
      System.out.println("not ok " + name + ": " + why);
      cause.printStackTrace();
    }
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }

  private static <T> T get(org.apache.kafka.common.KafkaFuture<T> future) throws Exception {
    return future.get(PATIENCE_S, TimeUnit.SECONDS);
  }

  private Void create(Admin admin) throws Exception {
    NewTopic wanted = new NewTopic(topic, PARTITIONS, (short) -1);
    get(admin.createTopics(List.of(wanted.configs(Map.of("retention.ms", "-1")))).all());
    // Any broker may answer, and learns of the topic a moment later.
    await(() -> listed(admin), () -> "the new topic is not listed");
    return null;
  }

  private boolean listed(Admin admin) {
    try {
      return get(admin.listTopics().names()).contains(topic);
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private Void describe(Admin admin) throws Exception {
    check(!get(admin.describeCluster().nodes()).isEmpty(), "no node");
    check(get(admin.describeCluster().clusterId()) != null, "no cluster id");
    TopicDescription told = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
    check(told.partitions().size() == PARTITIONS, "partitions: " + told.partitions().size());
    check(told.partitions().get(0).leader() != null, "partition 0 has no leader");
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    ConfigEntry retention =
        get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms");
    check("-1".equals(retention.value()), "retention.ms is " + retention.value());
    check(
        retention.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG,
        "its source is " + retention.source());
    return null;
  }

  private KafkaProducer<String, String> producer(Map<String, Object> more) {
    Map<String, Object> settings = new HashMap<>(more);
    settings.put("bootstrap.servers", bootstrap);
    // Idempotent and acks=all by default.
    return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
  }

  private KafkaConsumer<String, String> consumer(String group, String protocol) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", bootstrap);
    settings.put("group.id", group);
    settings.put("group.protocol", protocol);
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", false);
    if (protocol.equals("classic")) {
      settings.put("session.timeout.ms", 10_000);
      settings.put("heartbeat.interval.ms", 500);
    }
    return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
  }

  private Void produce() throws Exception {
    try (KafkaProducer<String, String> producer = producer(Map.of())) {
      List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
      for (int i = 0; i < RECORDS; i++) {
        ProducerRecord<String, String> record =
            new ProducerRecord<>(
                topic, i % PARTITIONS, FIRST_TIMESTAMP_MS + i, "key-" + i, "value-" + i);
        record.headers().add("number", Integer.toString(i).getBytes(StandardCharsets.UTF_8));
        record.headers().add("empty", null);
        sent.add(producer.send(record));
      }
      for (int i = 0; i < RECORDS; i++) {
        RecordMetadata where = sent.get(i).get(PATIENCE_S, TimeUnit.SECONDS);
        check(where.offset() == i / PARTITIONS, "record " + i + " has offset " + where.offset());
      }
    }
    return null;
  }

  private List<ConsumerRecord<String, String>> read(
      KafkaConsumer<String, String> consumer, int count) throws TimeoutException {
    List<ConsumerRecord<String, String>> records = new ArrayList<>();
    await(
        () -> {
          consumer.poll(POLL).forEach(records::add);
          return records.size() >= count;
        },
        () -> "only " + records.size() + " of " + count + " records came");
    return records;
  }

  private static void await(BooleanSupplier done, java.util.function.Supplier<String> otherwise)
      throws TimeoutException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
    while (!done.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new TimeoutException(otherwise.get());
      }
    }
  }

  private Void consume(String protocol) throws Exception {
    Map<Integer, Long> next = new HashMap<>();
    try (KafkaConsumer<String, String> consumer = consumer(topic + "-" + protocol, protocol)) {
      consumer.subscribe(List.of(topic));
      List<ConsumerRecord<String, String>> records = read(consumer, RECORDS);
      check(records.size() == RECORDS, records.size() + " records");
      for (ConsumerRecord<String, String> record : records) {
        long expected = next.getOrDefault(record.partition(), 0L);
        check(record.offset() == expected, "offset " + record.offset() + ", not " + expected);
        next.put(record.partition(), expected + 1);
        int i = (int) (record.offset() * PARTITIONS + record.partition());
        check(record.key().equals("key-" + i), "key " + record.key() + " of record " + i);
        check(record.value().equals("value-" + i), "value " + record.value());
        check(record.timestamp() == FIRST_TIMESTAMP_MS + i, "timestamp " + record.timestamp());
        Header[] headers = record.headers().toArray();
        check(headers.length == 2 && headers[0].key().equals("number"), "headers changed");
        String number = new String(headers[0].value(), StandardCharsets.UTF_8);
        check(number.equals(Integer.toString(i)), "header number is " + number);
        check(headers[1].value() == null, "the null header has a value");
      }
    }
    return null;
  }

  private Void compress(String codec) throws Exception {
    String name = topic + "-" + codec;
    String text = "the same again and again; ".repeat(40);
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
      get(admin.createTopics(List.of(new NewTopic(name, 1, (short) -1))).all());
    }
    try (KafkaProducer<String, String> producer =
        producer(Map.of("compression.type", codec, "linger.ms", 100))) {
      for (int i = 0; i < 50; i++) {
        producer.send(new ProducerRecord<>(name, i + text));
      }
    }
    try (KafkaConsumer<String, String> consumer = consumer(name, "classic")) {
      consumer.assign(List.of(new TopicPartition(name, 0)));
      List<ConsumerRecord<String, String>> records = read(consumer, 50);
      for (int i = 0; i < 50; i++) {
        check(records.get(i).value().equals(i + text), "record " + i + " changed");
      }
    }
    return null;
  }

  private Void commitAndResume(String protocol) throws Exception {
    String group = topic + "-resume-" + protocol;
    Set<String> seen = new HashSet<>();
    int before;
    try (KafkaConsumer<String, String> consumer = consumer(group, protocol)) {
      consumer.subscribe(List.of(topic));
      await(
          () -> {
            consumer.poll(POLL).forEach(record -> seen.add(record.key()));
            return seen.contains("key-" + 24 * PARTITIONS);
          },
          () -> "the end of partition 0 did not come");
      before = seen.size();
      consumer.commitSync();
      // One partition goes back to its middle: a commit with metadata, read again below.
      consumer.commitSync(
          Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(20, "back to 20")));
    }
    try (KafkaConsumer<String, String> consumer = consumer(group, protocol)) {
      TopicPartition first = new TopicPartition(topic, 0);
      OffsetAndMetadata committed = consumer.committed(Set.of(first)).get(first);
      check(committed.offset() == 20, "committed " + committed.offset());
      check(committed.metadata().equals("back to 20"), "metadata " + committed.metadata());
      consumer.subscribe(List.of(topic));
      List<ConsumerRecord<String, String>> rest = new ArrayList<>();
      await(
          () -> {
            consumer.poll(POLL).forEach(rest::add);
            rest.forEach(record -> seen.add(record.key()));
            return seen.size() == RECORDS
                && rest.stream().anyMatch(r -> r.partition() == 0 && r.offset() == 24);
          },
          () -> before + " before, " + seen.size() + " in all");
      check(
          rest.stream().noneMatch(r -> r.partition() == 0 && r.offset() < 20),
          "read below the committed offset");
    }
    return null;
  }

  private Void share(String protocol) throws Exception {
    String group = topic + "-shared-" + protocol;
    KafkaConsumer<String, String> first = consumer(group, protocol);
    KafkaConsumer<String, String> second = consumer(group, protocol);
    try (first) {
      try (second) {
        first.subscribe(List.of(topic));
        second.subscribe(List.of(topic));
        await(
            () -> {
              first.poll(POLL);
              second.poll(POLL);
              Set<TopicPartition> both = new HashSet<>(first.assignment());
              both.addAll(second.assignment());
              return first.assignment().size() == 2
                  && second.assignment().size() == 2
                  && both.size() == PARTITIONS;
            },
            () -> "assigned " + first.assignment() + " and " + second.assignment());
      }
      await(
          () -> {
            first.poll(POLL);
            return first.assignment().size() == PARTITIONS;
          },
          () -> "after one left: " + first.assignment());
    }
    return null;
  }

  private Void offsetsByTimestamp(Admin admin) throws Exception {
    TopicPartition first = new TopicPartition(topic, 0);
    try (KafkaConsumer<String, String> consumer = consumer(topic + "-times", "classic")) {
      Map<TopicPartition, OffsetAndTimestamp> found =
          consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP_MS + 41));
      check(found.get(first).offset() == 11, "offset " + found.get(first).offset());
      check(found.get(first).timestamp() == FIRST_TIMESTAMP_MS + 44, "its timestamp");
      found = consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP_MS + 10_000));
      check(found.get(first) == null, "an offset beyond the last timestamp");
      check(consumer.beginningOffsets(List.of(first)).get(first) == 0, "beginning");
      check(consumer.endOffsets(List.of(first)).get(first) == 25, "end");
    }
    long newest =
        get(admin.listOffsets(Map.of(first, OffsetSpec.maxTimestamp())).all()).get(first).offset();
    check(newest == 24, "the record with the largest timestamp is " + newest);
    return null;
  }

  private Void groups(Admin admin) throws Exception {
    String group = topic + "-resume-classic";
    Collection<org.apache.kafka.clients.admin.GroupListing> listed = get(admin.listGroups().all());
    check(listed.stream().anyMatch(g -> g.groupId().equals(group)), "not listed");
    get(admin.describeConsumerGroups(List.of(group)).all());
    Map<TopicPartition, OffsetAndMetadata> offsets =
        get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
    check(offsets.get(new TopicPartition(topic, 0)).offset() == 20, "offsets " + offsets);
    get(
        admin
            .alterConsumerGroupOffsets(
                group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7)))
            .all());
    get(admin.deleteConsumerGroups(List.of(group)).all());
    return null;
  }

  private Void alter(Admin admin) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    AlterConfigOp set =
        new AlterConfigOp(
            new ConfigEntry("max.message.bytes", "123456"), AlterConfigOp.OpType.SET);
    get(admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all());
    get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 2))).all());
    await(
        () -> {
          try {
            return get(admin.describeTopics(List.of(topic)).allTopicNames())
                        .get(topic)
                        .partitions()
                        .size()
                    == PARTITIONS + 2
                && get(admin.describeConfigs(List.of(resource)).all())
                    .get(resource)
                    .get("max.message.bytes")
                    .value()
                    .equals("123456");
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        },
        () -> "the changes do not show");
    return null;
  }

  private Void delete(Admin admin) throws Exception {
    get(admin.deleteTopics(List.of(topic)).all());
    await(() -> !listed(admin), () -> "it is still listed");
    return null;
  }
}

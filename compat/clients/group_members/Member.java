// A member of a group with Kafka's own Java client: processes, then commits, and tells of both.
//
//     java -cp 'jars/*:classes' Member BOOTSTRAP GROUP TOPIC classic|cooperative|consumer SESSION_MS NAME

import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** See above. */
public final class Member {
  private static final String PACKAGE = "org.apache.kafka.clients.consumer.";
  private static volatile boolean stopping = false;

  private Member() {}

  private static synchronized void tell(String event, String rest) {
    System.out.println(
        String.format(
            Locale.ROOT,
            "{\"at\": %.6f, \"event\": \"%s\"%s}",
            System.nanoTime() / 1e9,
            event,
            rest));
    System.out.flush();
  }

  private static String why(Throwable error) {
    return ", \"why\": \"" + String.valueOf(error).replaceAll("[\"\\\\\\p{Cntrl}]", " ") + "\"";
  }

  private static String partitions(Collection<Integer> numbers) {
    return ", \"partitions\": " + new TreeSet<>(numbers);
  }

  private static Map<String, Object> settings(String[] arguments) {
    Map<String, Object> settings = new HashMap<>();
    settings.put("bootstrap.servers", arguments[0]);
    settings.put("group.id", arguments[1]);
    settings.put("client.id", "java");
    settings.put("auto.offset.reset", "earliest");
    settings.put("enable.auto.commit", "false");
    settings.put("max.poll.records", "50");
    settings.put("metadata.max.age.ms", "2000");
    settings.put("default.api.timeout.ms", "15000");
    settings.put("key.deserializer", StringDeserializer.class);
    settings.put("value.deserializer", StringDeserializer.class);
    if (arguments[3].equals("consumer")) {
      settings.put("group.protocol", "consumer");
    } else {
      settings.put("session.timeout.ms", arguments[4]);
      settings.put("heartbeat.interval.ms", "500");
      // Both, as while an application moves from one to the other: the group decides.
      String strategies = PACKAGE + "CooperativeStickyAssignor";
      if (arguments[3].equals("classic")) {
        strategies += "," + PACKAGE + "RangeAssignor";
      }
      settings.put("partition.assignment.strategy", strategies);
    }
    return settings;
  }

  private static final class Listener implements ConsumerRebalanceListener {
    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
      tell("revoked", partitions(partitions.stream().map(TopicPartition::partition).toList()));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
      tell("lost", partitions(partitions.stream().map(TopicPartition::partition).toList()));
    }
  }

  private static void commit(
      KafkaConsumer<String, String> consumer, Map<TopicPartition, OffsetAndMetadata> done) {
    Map<String, Long> plain = new TreeMap<>();
    done.forEach((place, offset) -> plain.put("\"" + place.partition() + "\"", offset.offset()));
    String offsets = ", \"offsets\": " + plain.toString().replace('=', ':');
    try {
      consumer.commitSync(done);
      tell("committed", offsets);
    } catch (KafkaException error) {
      tell("not committed", offsets + why(error));
    }
  }

  public static void main(String[] arguments) throws Exception {
    CountDownLatch left = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  stopping = true;
                  try {
                    left.await();
                  } catch (InterruptedException error) {
                    Thread.currentThread().interrupt();
                  }
                }));
    Set<Integer> told = null;
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings(arguments))) {
      consumer.subscribe(Set.of(arguments[2]), new Listener());
      while (!stopping) {
        Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
          tell(
              "processed",
              ", \"partition\": " + record.partition() + ", \"offset\": " + record.offset()
                  + ", \"value\": \"" + record.value() + "\"");
          done.put(
              new TopicPartition(record.topic(), record.partition()),
              new OffsetAndMetadata(record.offset() + 1, arguments[5]));
        }
        if (!done.isEmpty()) {
          commit(consumer, done);
        }
        Set<Integer> assigned = new TreeSet<>();
        consumer.assignment().forEach(place -> assigned.add(place.partition()));
        if (!assigned.equals(told)) {
          told = assigned;
          tell("assigned", partitions(assigned));
        }
      }
    } catch (Exception error) {
      tell("error", why(error));
    }
    tell("left", "");
    left.countDown();
  }
}

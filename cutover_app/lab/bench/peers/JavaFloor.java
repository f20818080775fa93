import com.fasterxml.jackson.databind.JsonNode;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * The floor in Java: floor.py's work by a KafkaConsumer and two HashMaps, with nothing made durable.
 *
 * <p>It reads both topics once, from PEER_BROKER, and prints its figures as one line of JSON.
 */
public final class JavaFloor {
  private static final double WARM_UP = 0.1;

  private final List<Map<String, JsonNode>> waiting = List.of(new HashMap<>(), new HashMap<>());
  private long equal;
  private long unequal;
  private long unreadable;

  private void take(int side, byte[] value) {
    JsonNode message;
    String key;
    try {
      JsonNode read = Task.JSON.readTree(value);
      message = side == 0 ? Task.rebuild(read) : Task.observe(read);
      key = message.get("order_id").asText() + "/" + message.get("revision").asText();
    } catch (IOException | RuntimeException error) {
      unreadable++;
      return;
    }
    JsonNode partner = waiting.get(1 - side).remove(key);
    if (partner == null) {
      waiting.get(side).put(key, message);
    } else if (Task.same(partner, message)) {
      equal++;
    } else {
      unequal++;
    }
  }

  private static double cpuSeconds() {
    return ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class).getProcessCpuTime() / 1e9;
  }

  private static long peakBytes() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
      }
    }
    return 0;
  }

  public static void main(String[] arguments) throws IOException {
    Properties settings = new Properties();
    settings.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BROKER"));
    settings.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
    settings.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
    settings.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 5_000);
    settings.put(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 4 * 1024 * 1024);
    String rebuilt = System.getenv("PEER_REBUILT");
    JavaFloor floor = new JavaFloor();
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
      List<TopicPartition> all = new ArrayList<>();
      for (String topic : List.of(System.getenv("PEER_LEGACY"), rebuilt)) {
        for (PartitionInfo each : consumer.partitionsFor(topic)) {
          all.add(new TopicPartition(topic, each.partition()));
        }
      }
      consumer.assign(all);
      consumer.seekToBeginning(all);
      long goal = consumer.endOffsets(all).values().stream().mapToLong(Long::longValue).sum();
      long seen = 0;
      long from = 0;
      long began = 0;
      double used = 0;
      while (seen < goal) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
          floor.take(record.topic().equals(rebuilt) ? 1 : 0, record.value());
          seen++;
        }
        if (from == 0 && seen >= goal * WARM_UP) {
          from = seen;
          began = System.nanoTime();
          used = cpuSeconds();
        }
      }
      double seconds = (System.nanoTime() - began) / 1e9;
      int alone = floor.waiting.get(0).size() + floor.waiting.get(1).size();
      System.out.printf(
          Locale.ROOT,
          "{\"messages\": %d, \"seconds\": %.6f, \"cpu_seconds\": %.6f, \"peak_rss_bytes\": %d, \"counts\": "
              + "{\"equal\": %d, \"unequal\": %d, \"alone\": %d, \"unreadable\": %d}}%n",
          seen - from, seconds, cpuSeconds() - used, peakBytes(), floor.equal, floor.unequal, alone, floor.unreadable);
    }
  }
}

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.StreamJoined;

/** Kafka Streams: an outer join of the two topics in a window. What it does with a message is in Task.java. */
public final class StreamsPeer {
  private static final Duration WAIT = Duration.ofSeconds(10);

  private StreamsPeer() {}

  private static Serde<JsonNode> json() {
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : Task.JSON.writeValueAsBytes(value);
          } catch (IOException error) {
            throw new SerializationException(error);
          }
        },
        (topic, data) -> {
          try {
            return data == null ? null : Task.JSON.readTree(data);
          } catch (IOException error) {
            throw new SerializationException(error);
          }
        });
  }

  private static String judge(JsonNode expected, JsonNode actual) {
    if (actual == null) {
      return verdict("missing", expected);
    }
    if (expected == null) {
      return verdict("unknown", actual);
    }
    return Task.same(expected, actual) ? "" : verdict("mismatch", expected);
  }

  private static String verdict(String outcome, JsonNode message) {
    return "{\"outcome\":\"" + outcome + "\",\"key\":[" + message.get("order_id") + "]}";
  }

  public static void main(String[] arguments) throws InterruptedException {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("PEER_ID"));
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BROKER"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("PEER_DATADIR"));
    settings.put("auto.offset.reset", "earliest");
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
    if (System.getenv("PEER_TASK_IDLE_MS") != null) {
      settings.put(StreamsConfig.MAX_TASK_IDLE_MS_CONFIG, System.getenv("PEER_TASK_IDLE_MS"));
    }
    StreamsBuilder builder = new StreamsBuilder();
    Consumed<String, JsonNode> read = Consumed.with(Serdes.String(), json());
    KStream<String, JsonNode> expected =
        builder.stream(System.getenv("PEER_LEGACY"), read).mapValues(Task::rebuild);
    KStream<String, JsonNode> actual =
        builder.stream(System.getenv("PEER_REBUILT"), read).mapValues(Task::observe);
    expected
        .outerJoin(
            actual,
            StreamsPeer::judge,
            JoinWindows.ofTimeDifferenceAndGrace(WAIT, WAIT),
            StreamJoined.with(Serdes.String(), json(), json()))
        .filter((key, said) -> !said.isEmpty())
        .to(System.getenv("PEER_VERDICTS"), Produced.with(Serdes.String(), Serdes.String()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
    Thread.currentThread().join();
  }
}

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Map;
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

/** Kafka Streams: an outer join of the two topics in a window. The task is that of job.py. */
public final class StreamsPeer {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Duration WAIT = Duration.ofSeconds(10);
  private static final Map<String, String> STATUSES =
      Map.of("P", "PAID", "R", "READY", "S", "SHIPPED", "D", "DELIVERED", "C", "CANCELLED");
  private static final DateTimeFormatter LEGACY_TIME = DateTimeFormatter.ofPattern("yyyyMMddHHmmss");

  private StreamsPeer() {}

  private static Serde<JsonNode> json() {
    return Serdes.serdeFrom(
        (topic, value) -> {
          try {
            return value == null ? null : JSON.writeValueAsBytes(value);
          } catch (IOException error) {
            throw new SerializationException(error);
          }
        },
        (topic, data) -> {
          try {
            return data == null ? null : JSON.readTree(data);
          } catch (IOException error) {
            throw new SerializationException(error);
          }
        });
  }

  private static JsonNode rebuild(JsonNode legacy) {
    ObjectNode made = JSON.createObjectNode();
    made.put("schema_version", 2);
    made.put("order_id", legacy.get("ordId").asText());
    made.set("revision", legacy.get("rev"));
    made.put("status", STATUSES.get(legacy.get("st").asText()));
    LocalDateTime created = LocalDateTime.parse(legacy.get("regDt").asText(), LEGACY_TIME);
    made.put("created_at", DateTimeFormatter.ISO_OFFSET_DATE_TIME.format(created.atOffset(ZoneOffset.ofHours(9))));
    ObjectNode customer = made.putObject("customer");
    customer.set("name", legacy.get("custNm"));
    customer.set("phone", legacy.get("telNo"));
    ArrayNode lines = made.putArray("lines");
    for (JsonNode item : legacy.get("items")) {
      ObjectNode line = lines.addObject();
      line.set("sku", item.get("sku"));
      line.set("quantity", item.get("qty"));
      line.set("unit_price", item.get("price"));
    }
    made.put("total", Double.parseDouble(legacy.get("total").asText()));
    made.set("note", legacy.get("memo"));
    if (legacy.has("addr")) {
      made.set("shipping", legacy.get("addr"));
      made.set("channel", legacy.get("chnl"));
    }
    return made;
  }

  private static JsonNode observe(JsonNode message) {
    ((ObjectNode) message).remove("trace_id");
    return message;
  }

  private static String judge(JsonNode expected, JsonNode actual) {
    if (actual == null) {
      return verdict("missing", expected);
    }
    if (expected == null) {
      return verdict("unknown", actual);
    }
    return expected.equals(actual) ? "" : verdict("mismatch", expected);
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
        builder.stream(System.getenv("PEER_LEGACY"), read).mapValues(StreamsPeer::rebuild);
    KStream<String, JsonNode> actual =
        builder.stream(System.getenv("PEER_REBUILT"), read).mapValues(StreamsPeer::observe);
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

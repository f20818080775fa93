import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Map;

/** The task of job.py for the programs in Java: messages in, expected messages out. */
final class Task {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, String> STATUSES =
      Map.of("P", "PAID", "R", "READY", "S", "SHIPPED", "D", "DELIVERED", "C", "CANCELLED");
  private static final DateTimeFormatter LEGACY_TIME = DateTimeFormatter.ofPattern("yyyyMMddHHmmss");

  private Task() {}

  static JsonNode rebuild(JsonNode legacy) {
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

  static JsonNode observe(JsonNode message) {
    ((ObjectNode) message).remove("trace_id");
    return message;
  }

  /** Tells whether two messages say the same; 12 is 12.0, as it is for job.py. */
  static boolean same(JsonNode expected, JsonNode actual) {
    return expected.equals(Task::compare, actual);
  }

  private static int compare(JsonNode one, JsonNode two) {
    if (one.isNumber() && two.isNumber()) {
      return one.decimalValue().compareTo(two.decimalValue());
    }
    return one.equals(two) ? 0 : 1;
  }
}

// JDBC (org.postgresql) with com.pgvector: values as text and in binary.  Run as
// a single file; its rows and distances are those of kit.cjs and kit.py.

import com.pgvector.PGbit;
import com.pgvector.PGhalfvec;
import com.pgvector.PGsparsevec;
import com.pgvector.PGvector;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleBiFunction;
import org.postgresql.PGConnection;
import org.postgresql.util.PGobject;

class JdbcTest {
    // vector(8), halfvec(8), sparsevec(12) in dense form, bit(16) as 0 and 1
    record Row(int id, Map<String, float[]> values) {}

    record Metric(String column, String operator, String opclass, ToDoubleBiFunction<float[], float[]> distance) {}

    static final List<Row> rows = new ArrayList<>();
    static final List<Metric> metrics = new ArrayList<>();
    static boolean failed;

    static float number(int i, int k) {
        return ((i * 7919 + k * 104729 + i * k * 31) % 257 - 128) / 64f;
    }

    static float[] numbers(int i, int n) {
        float[] all = new float[n];
        for (int k = 1; k <= n; k++) all[k - 1] = number(i, k);
        return all;
    }

    static void makeRows() {
        for (int i = 1; i <= 200; i++) {
            float[] s = numbers(i, 12), b = new float[16];
            for (int k = 0; k < 12; k++) if (k >= 2 && (i - 1 + k) % 3 != 0) s[k] = 0;
            for (int k = 0; k < 16; k++) b[k] = (i * 40503 % 65536) >> (15 - k) & 1;
            rows.add(new Row(i, Map.of("v", numbers(i, 8), "h", numbers(i + 1000, 8), "s", s, "b", b)));
        }
    }

    static double sum(float[] a, float[] b, ToDoubleBiFunction<Double, Double> f) {
        double total = 0;
        for (int k = 0; k < a.length; k++) total += f.applyAsDouble((double) a[k], (double) b[k]);
        return total;
    }

    static double dot(float[] a, float[] b) {
        return sum(a, b, (x, y) -> x * y);
    }

    static void makeMetrics() {
        Map.of("v", "vector", "h", "halfvec", "s", "sparsevec").forEach((column, type) -> {
            metrics.add(new Metric(column, "<->", type + "_l2_ops",
                    (a, b) -> Math.sqrt(sum(a, b, (x, y) -> (x - y) * (x - y)))));
            metrics.add(new Metric(column, "<#>", type + "_ip_ops", (a, b) -> -dot(a, b)));
            metrics.add(new Metric(column, "<=>", type + "_cosine_ops",
                    (a, b) -> 1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))));
            metrics.add(new Metric(column, "<+>", type + "_l1_ops",
                    (a, b) -> sum(a, b, (x, y) -> Math.abs(x - y))));
        });
        metrics.add(new Metric("b", "<~>", "bit_hamming_ops",
                (a, b) -> sum(a, b, (x, y) -> Math.abs(x - y))));
        metrics.add(new Metric("b", "<%>", "bit_jaccard_ops",
                (a, b) -> 1 - dot(a, b) / sum(a, b, (x, y) -> Math.max(x, y))));
    }

    static void report(boolean good, String name, Object got, Object expected) {
        System.out.println((good ? "ok - " : "not ok - ") + name);
        if (!good) System.out.println("# " + got + "\n# is not\n# " + expected);
        failed |= !good;
    }

    static void same(Object got, Object expected, String name) {
        report(got.equals(expected), name, got, expected);
    }

    static PGobject parameter(String column, Row row) {
        float[] x = row.values.get(column);
        switch (column) {
            case "v": return new PGvector(x);
            case "h": return new PGhalfvec(x);
            case "s": return new PGsparsevec(x);
            default:
                boolean[] bits = new boolean[x.length];
                for (int k = 0; k < x.length; k++) bits[k] = x[k] != 0;
                return new PGbit(bits);
        }
    }

    static float[] numbersOf(Object value) {
        if (value instanceof PGvector v) return v.toArray();
        if (value instanceof PGhalfvec h) return h.toArray();
        if (value instanceof PGsparsevec s) return s.toArray();
        boolean[] bits = ((PGbit) value).toArray();
        float[] x = new float[bits.length];
        for (int k = 0; k < bits.length; k++) x[k] = bits[k] ? 1 : 0;
        return x;
    }

    static Connection connect(boolean binary) throws SQLException {
        Connection conn = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT")
                + "/" + System.getenv("PGDATABASE"), System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
        // -1: ask for binary from the first time on
        if (binary) conn.unwrap(PGConnection.class).setPrepareThreshold(-1);
        PGvector.registerTypes(conn);
        PGbit.registerType(conn);
        return conn;
    }

    static void create() throws SQLException {
        try (Connection conn = connect(false); Statement statement = conn.createStatement()) {
            statement.executeUpdate("CREATE EXTENSION IF NOT EXISTS vector");
            statement.executeUpdate(
                    "CREATE TABLE items (id integer, v vector(8), h halfvec(8), s sparsevec(12), b bit(16))");
        }
    }

    static void insert(Connection conn, List<Row> some) throws SQLException {
        try (PreparedStatement insert = conn.prepareStatement("INSERT INTO items VALUES (?, ?, ?, ?, ?)")) {
            for (Row row : some) {
                insert.setInt(1, row.id);
                int at = 2;
                for (String column : List.of("v", "h", "s", "b")) insert.setObject(at++, parameter(column, row));
                insert.addBatch();
            }
            insert.executeBatch();
        }
    }

    static void indexes(Connection conn) throws SQLException {
        try (Statement statement = conn.createStatement()) {
            statement.executeUpdate("INSERT INTO items (id) VALUES (201)");
            for (Metric metric : metrics)
                statement.executeUpdate(
                        "CREATE INDEX ON items USING hnsw (" + metric.column + " " + metric.opclass + ")");
        }
    }

    static void readBack(Connection conn, String how) throws SQLException {
        try (PreparedStatement select = conn.prepareStatement("SELECT * FROM items ORDER BY id");
                ResultSet result = select.executeQuery()) {
            int right = 0, nulls = 0;
            while (result.next()) {
                int id = result.getInt("id");
                for (String column : List.of("v", "h", "s", "b")) {
                    Object value = result.getObject(column);
                    if (value == null) nulls++;
                    else if (Arrays.equals(numbersOf(value), rows.get(id - 1).values.get(column))) right++;
                }
            }
            same(List.of(right, nulls), List.of(800, 4), "values come back in their types " + how);
        }
    }

    static List<Double> ask(Connection conn, Metric metric, Row question) throws SQLException {
        String distance = metric.column + " " + metric.operator + " ?";
        List<Double> got = new ArrayList<>();
        try (PreparedStatement select = conn.prepareStatement(
                "SELECT " + distance + " FROM items ORDER BY " + distance + " LIMIT 10")) {
            select.setObject(1, parameter(metric.column, question));
            select.setObject(2, parameter(metric.column, question));
            try (ResultSet result = select.executeQuery()) {
                while (result.next()) got.add((Double) result.getObject(1));
            }
        }
        return got;
    }

    static List<Double> nearest(Metric metric, Row question) {
        return rows.stream()
                .map(row -> metric.distance.applyAsDouble(
                        row.values.get(metric.column), question.values.get(metric.column)))
                .sorted().limit(10).toList();
    }

    static void neighbours(Connection conn, String how) throws SQLException {
        for (Metric metric : metrics) {
            List<Double> got = null, expected = null;
            boolean good = true;
            for (Row question : rows) {
                if (question.id % 60 != 7 || !good) continue;
                got = ask(conn, metric, question);
                expected = nearest(metric, question);
                good = got.size() == 10;
                for (int k = 0; good && k < 10; k++) good = Math.abs(got.get(k) - expected.get(k)) < 1e-5;
            }
            report(good, metric.opclass + ": the nearest rows " + how, got, expected);
        }
    }

    static void refused(Connection conn) throws SQLException {
        try (PreparedStatement insert = conn.prepareStatement("INSERT INTO items (v) VALUES (?)")) {
            insert.setObject(1, new PGvector(new float[] {1, 2, 3}));
            insert.executeUpdate();
            report(false, "another number of dimensions is refused", "it was taken", "an error");
        } catch (SQLException error) {
            same(error.getSQLState() + " " + error.getMessage(), "22000 ERROR: expected 8 dimensions, not 3",
                    "another number of dimensions is refused");
        }
    }

    public static void main(String[] arguments) throws Exception {
        makeRows();
        makeMetrics();
        create();
        try (Connection conn = connect(false)) {
            insert(conn, rows.subList(0, 100));
        }
        try (Connection conn = connect(true)) {
            insert(conn, rows.subList(100, 200));
            indexes(conn);
            readBack(conn, "in binary");
            neighbours(conn, "in binary");
            refused(conn);
        }
        try (Connection conn = connect(false)) {
            readBack(conn, "as text");
            neighbours(conn, "as text");
        }
        System.exit(failed ? 1 : 0);
    }
}

//! The JSON writer against PostgreSQL's own: thousands of values of every type, made by hashing
//! their numbers, so that each run sees the same ones.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rowhouse_postgres::{SystemConnection, params, text_of, write_row};
use rowhouse_testkit::TestDatabases;
use serde_json::Value;
use serde_json::value::RawValue;

/// Values of each type that are made from hashes.
const MADE: i64 = 2_000;

/// Values read at once; the longest numbers have 150 kB each.
const READ_AT_ONCE: i64 = 1_000;

/// How the documentation says a type's JSON differs from `to_json`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The same JSON.
    Same,
    /// The same characters, whatever they mean.
    Literal,
    /// The same number of single precision, but perhaps in other digits.
    Single,
    /// The same of double precision.
    Double,
    /// ISO 8601, with signed years instead of BC.
    Calendar,
    /// The same, in UTC with a Z.
    Moment,
    /// Base64 instead of hexadecimal.
    Bytes,
}

/// A type, how to make a value of it from the hashes `a`, `b`, `c` and `d` (64 bits each), and
/// values at its edges as a list of SQL texts.
struct Case {
    ty: &'static str,
    form: Form,
    made: &'static str,
    edges: &'static str,
}

const fn case(ty: &'static str, form: Form, made: &'static str, edges: &'static str) -> Case {
    Case { ty, form, made, edges }
}

const NUMBERS: &[Case] = &[
    case("int2", Form::Same, "a >> (48 + (b & 15)::int)", "'32767', '-32768', '0', '-1'"),
    case("int4", Form::Same, "a >> (32 + (b & 31)::int)", "'2147483647', '-2147483648', '0'"),
    case("int8", Form::Same, "a >> (b & 63)::int", "'9223372036854775807', '-9223372036854775808', '0'"),
    case("bool", Form::Same, "(a & 1)::int::bool", "'t', 'f'"),
    case(
        "float4",
        Form::Single,
        "(a % 10)::text || '.' || abs(b) || 'e' || c % 37",
        "'1e-45', '1.1754944e-38', '3.4028235e38', '-3.4028235e38', 'NaN', 'Infinity', '-Infinity', '-0', '0',
         '16777216', '0.1', '1e15', '1e16', '123456.7'",
    ),
    case(
        "float8",
        Form::Double,
        "(a % 10)::text || '.' || abs(b) || 'e' || c % 308",
        "'5e-324', '4.9e-320', '2.2250738585072014e-308', '1.7976931348623157e308', 'NaN', 'Infinity', '-Infinity',
         '-0', '0', '9007199254740993', '1e15', '1e16', '1e17', '1e21', '0.1', '0.00001', '-1e-5'",
    ),
    case(
        "numeric",
        Form::Literal,
        "case when a < 0 then '-' else '' end || '0' || left(abs(a)::text || abs(b), (c & 31)::int)
         || '.' || repeat('0', (c >> 5 & 15)::int) || left(abs(b)::text || abs(a), (d & 31)::int)
         || '0e' || (d >> 8) % 50",
        "'NaN', 'Infinity', '-Infinity', '0', '0.0000', '-0.1', '1e4', '9999', '10000', '99999999', '0.00010000',
         '1e131071', '1e-16383', repeat('9', 131072) || '.' || repeat('7', 16383), '1000000000000.0001',
         '-' || repeat('1234', 30000) || '.5'",
    ),
    case("numeric(12,2)", Form::Literal, "(a % 1000000000000)::numeric / 100", "'0', '9999999999.99', '-0.01'"),
    case("numeric(5,-2)", Form::Literal, "(a % 9999900)::numeric", "'0', '1200', '-9999900'"),
];

const TEXTS: &[Case] = &[
    case(
        "text",
        Form::Same,
        "(select coalesce(string_agg(chr(case h & 3
                 when 0 then 1 + (h >> 8 & 63)::int
                 when 1 then 32 + (h >> 8 & 127)::int
                 when 2 then 8192 + (h >> 8 & 16383)::int
                 else 65536 + (h >> 8 & 1048575)::int end), ''), '')
          from (select hashint8extended(s, a) h from generate_series(1, (b & 15)::int) s) g)",
        "'', 'NULL', 'null', '{}', '\"', '\\', '\\\"\\', '\"quoted\"', chr(65535), chr(1114111), chr(55295),
         e'\\b\\f\\n\\r\\t\\x7f', '</script>', U&'\\2028\\2029', repeat('\"', 5000)",
    ),
    case("varchar(40)", Form::Same, "md5(a::text)", "'', ' a ', 'ü'"),
    case("char(6)", Form::Same, "left(md5(a::text), (b & 7)::int)", "'', 'a', '  b'"),
    case("name", Form::Same, "md5(a::text)", "'', 'a\"b'"),
    case("uuid", Form::Same, "md5(a::text)::uuid", "'00000000-0000-0000-0000-000000000000'"),
    case(
        "json",
        Form::Literal,
        "json_build_object('k', md5(a::text), 'n', b, 'list', json_build_array(c, null, d / 3.7, 'é\"\\' || chr(9)))",
        "'\"text\"', '\"null\"', 'null', '\"12\"', '12', '1.50', '1e400', 'true', '[]', '{\"a\" : 1,  \"a\":2}',
         '\"\\u0041\\n\"', e'[1,\\n 2]', '-0', '\"\\ud83d\\ude00\"'",
    ),
    case(
        "jsonb",
        Form::Literal,
        "jsonb_build_object('k', md5(a::text), 'n', b, 'list', jsonb_build_array(c, null, d / 3.7, 'é\"\\' || chr(9)))",
        "'\"text\"', '\"null\"', 'null', '\"12\"', '12', '1.50', '1e400', 'true', '[]', '{}', '\"\\n\"', '-0'",
    ),
    case(
        "bytea",
        Form::Bytes,
        "substr(decode(md5(a::text) || md5(b::text), 'hex'), 1, (c & 31)::int)",
        "'', '\\x00', '\\xff', '\\x5c78'",
    ),
    case("app.mood", Form::Same, "(enum_range(null::app.mood))[1 + (a & 3)]", "'sad', 'NULL', '\"so\\so\"'"),
    case("app.label", Form::Same, "md5(a::text)", "'', '\"', '\\'"),
    case("app.amount", Form::Literal, "(a % 1000000000000)::numeric / 100", "'0', '-0.01'"),
    case("app.due", Form::Calendar, "date '2000-01-01' + (a >> 45)::int", "'infinity', '0044-03-15 BC'"),
];

const TIMES: &[Case] = &[
    case(
        "date",
        Form::Calendar,
        "date '2000-01-01' + (case when a < 0 then a % 2451545 else a % 2145031949 >> (b & 31)::int end)::int",
        "'infinity', '-infinity', '4714-11-24 BC', '5874897-12-31', '0001-12-31 BC', '0001-02-29 BC', '0001-01-01',
         '0005-02-29 BC', '9999-12-31', '10000-01-01', '2000-02-29', '1900-02-28', '1900-03-01', '1999-12-31'",
    ),
    case(
        "time",
        Form::Same,
        "time '00:00' + (abs(a) % 86400000000) * interval '1 microsecond'",
        "'00:00', '24:00:00', '23:59:59.999999', '00:00:00.000001', '12:00:00.5', '12:00:00.10'",
    ),
    case("timestamp", Form::Calendar, MOMENT, MOMENTS),
    case("timestamptz", Form::Moment, MOMENT, MOMENTS),
    case(
        "interval",
        Form::Same,
        "make_interval(months => (a >> (33 + (b & 31)::int % 31))::int, days => (c >> (33 + (b >> 5 & 31)::int % 31))::int)
         + (d >> (8 + (b >> 10 & 63) % 56)::int) * interval '1 microsecond'",
        "'0', '1 year -1 day', '-1 year 1 month', '1 day -1 second', '-0.000001 seconds',
         '-1 hour 59 minutes', '-0.5 seconds', '59.999999 seconds', '-61 seconds', '1 mon', '-13 mons', '24:00:00',
         '1 day', '178956970 years 7 mons 2147483647 days 2147483:59:59.999999',
         '-178956970 years -7 mons -2147483647 days -2147483:59:59.999999', '30 seconds', '-10 minutes'",
    ),
];

const MOMENT: &str = "timestamp '2000-01-01' + (abs(c) % 86400000000) * interval '1 microsecond'
    + make_interval(days => (case when a < 0 then a % 2451544 else a % 106741000 >> (b & 31)::int end)::int)";

const MOMENTS: &str = "'infinity', '-infinity', '4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999',
    '0001-12-31 23:59:59.9 BC', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999', '10000-01-01 00:00:00.000001',
    '1999-12-31 23:59:59.999999', '2000-01-01 00:00:00', '1970-01-01 00:00:00.1'";

const TYPES: &str = "
    create type app.mood as enum ('sad', 'NULL', 'ha,ppy', '\"so\\so\"');
    create domain app.label as text check (length(value) < 100);
    create domain app.amount as numeric(12,2);
    create domain app.due as date";

struct Server {
    _test: TestDatabases,
    system: SystemConnection,
}

impl Server {
    async fn start() -> Self {
        let test = TestDatabases::start(&[]).await;
        let scope = test.authorities.system.scope("test");
        let mut system = test.databases.system(&scope, &test.databases.pool_location()).await.unwrap();
        // The settings below are this session's.
        system.keep_from_pool(true);
        system.batch(TYPES).await.unwrap();
        Self { _test: test, system }
    }

    /// Makes a table of values of a type, and one of arrays of them; gives their names. Each type has
    /// tables of its own: a prepared statement knows its types.
    async fn fill(&self, case: &Case) -> [String; 2] {
        let Case { ty, made, edges, .. } = case;
        let word: String = ty.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
        let (one, many) = (format!("{word}_one"), format!("{word}_many"));
        // A value's row number is also its place in the arrays. Arrays hold no giants: their
        // text would have megabytes.
        let fill = format!(
            "set timezone = 'UTC'; set datestyle = 'iso'; set intervalstyle = 'iso_8601';
            create table app.{one} (n int8 primary key, v {ty});
            insert into app.{one}
                select n, ({made})::{ty}
                from (select n, hashint8extended(n, 1) a, hashint8extended(n, 2) b, hashint8extended(n, 3) c,
                             hashint8extended(n, 4) d from generate_series(1, {MADE}) n) h;
            insert into app.{one}
                select {MADE} + row_number() over (), e::{ty} from unnest(array[{edges}]::text[]) e;
            insert into app.{one} select max(n) + 1, null from app.{one};
            create table app.{many} (n int8 primary key generated always as identity, v {ty}[]);
            with s as (select n, case when length(v::text) < 1000 then v end v from app.{one} where n > {MADE} - 300),
                 g as (select n / 3 i, array_agg(v order by n) flat, array_agg(array[v, null, v] order by n) nested,
                              array_agg(array[array[v], array[null::{ty}]] order by n) deep
                       from s group by n / 3 having count(*) = 3)
            insert into app.{many} (v)
                select flat from g union all select nested from g union all select deep from g
                union all select ('[0:2]=' || flat::text)::{ty}[] from g
                union all select ('[-7:-5][2147483640:2147483642]=' || nested::text)::{ty}[] from g
                union all select '{{}}' union all select array[null]::{ty}[] union all select null;"
        );
        self.system.batch(&fill).await.unwrap_or_else(|error| panic!("{ty}: {error}"));
        [one, many]
    }

    /// Compares each value of a table with PostgreSQL's JSON of it; gives each as text.
    async fn compare(&self, table: &str, case: &Case) -> (Vec<i64>, Vec<String>) {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let mut after = 0_i64;
        loop {
            let sql = format!(
                "select v, to_json(v)::text, n, v::text from app.{table} where n > $1 order by n limit {READ_AT_ONCE}"
            );
            let rows = self.system.query(&sql, params![after]).await.unwrap();
            let Some(last) = rows.last() else { return (numbers, texts) };
            after = last.get(2);
            for row in rows {
                let mut json = Vec::new();
                write_row(&row, 1, &mut json);
                let json = String::from_utf8(json).unwrap();
                let theirs: Option<String> = row.get(1);
                let shown: Option<String> = row.get(3);
                let context = || format!("{} {shown:?} gives {json}", case.ty);
                let parsed: Result<std::collections::BTreeMap<&str, &RawValue>, _> = serde_json::from_str(&json);
                let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", context()));
                let ours = parsed["v"].get();
                assert!(same_json(case.form, ours, theirs.as_deref().unwrap_or("null")), "{} {theirs:?}", context());
                match text_of(&row, 0) {
                    Some(text) => {
                        numbers.push(row.get(2));
                        texts.push(text);
                    }
                    None => assert!(shown.is_none(), "{}", context()),
                }
            }
        }
    }

    /// PostgreSQL reads each text as the value it was made of, whatever the session's styles.
    async fn read_back(&self, table: &str, ty: &str, numbers: &[i64], texts: &[String]) {
        self.system
            .batch("set timezone = 'Asia/Kathmandu'; set datestyle = 'sql, dmy'; set intervalstyle = 'sql_standard'")
            .await
            .unwrap();
        let sql = format!(
            "select v::text, t, (t::{ty})::text
             from unnest($1::text[], $2::text[]) u (m, t) join app.{table} on n = m::int8
             where (t::{ty})::text is distinct from v::text limit 5"
        );
        for (numbers, texts) in numbers.chunks(500).zip(texts.chunks(500)) {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            let rows = self.system.query(&sql, params![numbers, texts.to_vec()]).await;
            let rows = rows.unwrap_or_else(|error| panic!("{ty}: {error}, one of {texts:?}"));
            let mut differences = String::new();
            for row in &rows {
                let (value, text, back): (String, String, String) = (row.get(0), row.get(1), row.get(2));
                writeln!(differences, "{ty} {value} gives {text}, which is read as {back}").unwrap();
            }
            assert!(differences.is_empty(), "{differences}");
        }
    }
}

fn same_json(form: Form, ours: &str, theirs: &str) -> bool {
    if form == Form::Literal && !theirs.starts_with('[') {
        return ours == theirs;
    }
    match (serde_json::from_str::<Vec<&RawValue>>(ours), serde_json::from_str::<Vec<&RawValue>>(theirs)) {
        (Ok(ours), Ok(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(ours, theirs)| same_json(form, ours.get(), theirs.get()))
        }
        (Err(_), Err(_)) => same_scalar(form, ours, theirs),
        _ => false,
    }
}

fn same_scalar(form: Form, ours: &str, theirs: &str) -> bool {
    let string = |json: &str| serde_json::from_str::<String>(json).ok();
    let expected = match (form, string(theirs)) {
        (Form::Single, None) if theirs != "null" => {
            let number = |json: &str| json.parse::<f32>().map(f32::to_bits).ok();
            return number(ours).is_some() && number(ours) == number(theirs);
        }
        (Form::Double, None) if theirs != "null" => {
            let number = |json: &str| json.parse::<f64>().map(f64::to_bits).ok();
            return number(ours).is_some() && number(ours) == number(theirs);
        }
        (Form::Calendar, Some(text)) => iso_year(&text),
        (Form::Moment, Some(text)) if text.ends_with("infinity") => text,
        (Form::Moment, Some(text)) => format!("{}Z", iso_year(&text.replacen("+00:00", "", 1))),
        (Form::Bytes, Some(text)) => STANDARD.encode(bytes(text.strip_prefix("\\x").unwrap())),
        (_, None) => return ours == theirs,
        (_, Some(text)) => text,
    };
    string(ours) == Some(expected)
}

/// PostgreSQL's year in ISO 8601: 44 BC is -0043, years beyond four digits have a sign.
fn iso_year(text: &str) -> String {
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let Some((year, rest)) = text.split_once('-').filter(|(year, _)| !year.is_empty()) else { return text.to_owned() };
    let year: i64 = year.parse().unwrap();
    let year = if before { 1 - year } else { year };
    if (0..=9999).contains(&year) { format!("{year:04}-{rest}") } else { format!("{year:+05}-{rest}") }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(pair).collect()
}

async fn every_value_agrees(cases: &[Case]) {
    let server = Server::start().await;
    for case in cases {
        let [one, many] = server.fill(case).await;
        for (table, ty) in [(one, case.ty.to_owned()), (many, format!("{}[]", case.ty))] {
            let (numbers, texts) = server.compare(&table, case).await;
            assert!(texts.len() > 500, "{ty} has {} values only", texts.len());
            server.read_back(&table, &ty, &numbers, &texts).await;
            server
                .system
                .batch("set timezone = 'UTC'; set datestyle = 'iso'; set intervalstyle = 'iso_8601'")
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn numbers_are_written_as_postgresql_writes_them_and_read_back_the_same() {
    every_value_agrees(NUMBERS).await;
}

#[tokio::test]
async fn texts_and_documents_are_written_as_postgresql_writes_them_and_read_back_the_same() {
    every_value_agrees(TEXTS).await;
}

#[tokio::test]
async fn times_are_written_as_iso_8601_over_the_whole_range_and_read_back_the_same() {
    every_value_agrees(TIMES).await;
}

#[tokio::test]
async fn a_row_is_an_object_of_its_first_columns_with_their_names_escaped() {
    let server = Server::start().await;
    let rows = server.system.query("select 1 as \"a\"\"b\\\", null::text as \" \", 'x' as hidden", &[]).await.unwrap();
    let mut json = Vec::new();
    write_row(&rows[0], 2, &mut json);
    let parsed: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(parsed, serde_json::json!({ "a\"b\\": 1, " ": null }));
}

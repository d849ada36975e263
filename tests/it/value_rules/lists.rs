//! Lists of objects that fill arrays.

use super::World;

/// The columns of `listed_many` that an event fills.
const MANY: &str = "items.sku, items.price, items.seller_name, codes, lines.sku, lines.at";

#[test]
fn a_list_of_objects_fills_the_arrays_of_its_path() {
    let world = World::start("listed_many");
    let cases = [
        (
            r#"{"items":[{"sku":"a","price":1.5},{"sku":"b"},{"price":2}]}"#,
            "['a','b','']\t[1.5,NULL,2]\t['','','']\t[0,0,0]\t[]\t[]",
        ),
        (r#"{"items":[]}"#, "[]\t[]\t[]\t[]\t[]\t[]"),
        (r#"{"items":[{},null]}"#, "['','']\t[NULL,NULL]\t['','']\t[0,0]\t[]\t[]"),
        // Keys of several objects join, as outside of a list; a column may read from anywhere in it.
        (
            r#"{"items":[{"seller":{"name":"x"},"code":7},{"seller_name":"y","code":8}]}"#,
            "['','']\t[NULL,NULL]\t['x','y']\t[7,8]\t[]\t[]",
        ),
        // The first path of `codes` that the event has counts, in either order.
        (
            r#"{"codes":[1],"items":[{"code":7},{"code":8}]}"#,
            "['','']\t[NULL,NULL]\t['','']\t[1]\t[]\t[]",
        ),
        (
            r#"{"items":[{"code":7},{"code":8}],"codes":[1]}"#,
            "['','']\t[NULL,NULL]\t['','']\t[1]\t[]\t[]",
        ),
        (
            r#"{"order":{"lines":[{"sku":"a","at":1},{"sku":"b"}]}}"#,
            "[]\t[]\t[]\t[]\t['a','b']\t['1970-01-01 00:00:01.000','1970-01-01 00:00:00.000']",
        ),
        (
            r#"{"order.lines":[{"at":1}],"order":{"id":1}}"#,
            "[]\t[]\t[]\t[]\t['']\t['1970-01-01 00:00:01.000']",
        ),
        // The last list counts, and the last value of an element.
        (
            r#"{"items":[{"sku":"a"},{"sku":"b"}],"items":[{"price":1,"price":2}]}"#,
            "['']\t[2]\t['']\t[0]\t[]\t[]",
        ),
        (
            r#"{"items.sku":["x","y"],"items":[{"price":1}]}"#,
            "['']\t[1]\t['']\t[0]\t[]\t[]",
        ),
        // Values and elements that are read by the lenient rules.
        (
            r#"{"items":[{"code":7.0,"sku":{"x":1}}]}"#,
            "['{\"x\":1}']\t[NULL]\t['']\t[7]\t[]\t[]",
        ),
        // The arrays themselves.
        (r#"{"items":{"sku":["a"],"price":[1]}}"#, "['a']\t[1]\t['']\t[]\t[]\t[]"),
        (r#"{"items":{"sku":"a"}}"#, "['a']\t[NULL]\t['']\t[]\t[]\t[]"),
    ];
    for (n, (event, expected)) in cases.into_iter().enumerate() {
        let row = world.row("/wh/listed_many", MANY, "listed_many", n, event);
        assert_eq!(row, expected, "{event}");
    }
}

#[test]
fn a_list_that_does_not_fit_is_refused_with_its_value() {
    let world = World::start("listed_refused");
    for (event, column, code, got) in [
        (r#"{"items":[{"price":"x"}]}"#, "items.price", "malformed", r#"\"x\""#),
        (r#"{"items":[{"code":7},{"code":-1}]}"#, "codes", "out-of-range", "-1"),
        (r#"{"items":[{"sku":"a"},1]}"#, "items.sku", "wrong-kind", "1"),
        (
            r#"{"items":[{"sku":"a"},["b"]]}"#,
            "items.sku",
            "wrong-kind",
            r#"[\"b\"]"#,
        ),
        // The limit holds for the array, not for an element: five elements take 21 bytes.
        (
            r#"{"items":[{"code":1},{},{},{},{}]}"#,
            "codes",
            "over-max-bytes",
            r#"[{\"code\":1},{},{},{},{}]"#,
        ),
        (
            r#"{"items":[{"sku":"a"}],"items.sku":["x","y"]}"#,
            "items.price",
            "unequal-lengths",
            "1 of 2 elements",
        ),
    ] {
        let answer = world.post("/wh/listed_many", event);
        let body = answer.text();
        assert_eq!(answer.status, 400, "{event}: {body}");
        for part in [
            format!(r#""column":"{column}""#),
            format!(r#""code":"{code}""#),
            format!(r#""got":"{got}""#),
        ] {
            assert!(body.contains(&part), "{event}: {part} is not in {body}");
        }
    }
    let malformed = world.post("/wh/listed_many", r#"{"items":[{"sku":"a"},{"sku":]}"#);
    assert_eq!(malformed.status, 400);
    let deep = format!(r#"{{"items":[{}1{}]}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    assert_eq!(world.post("/wh/listed_many", &deep).status, 400);
}

#[test]
fn an_extra_keeps_a_list_as_in_the_original_format() {
    let world = World::start("listed_kept");
    let columns = "items.sku, items.count, extra.key, extra.value";
    for (n, (event, expected)) in [
        // As the recording `deep under td with sub-extra` of the original.
        (
            r#"{"items":[{"sku":"a","count":1}]}"#,
            r#"[]	[]	['items']	['{"sku":"a","count":1}']"#,
        ),
        (r#"{"items":{"sku":["a"],"count":[1]}}"#, "['a']\t[1]\t[]\t[]"),
    ]
    .into_iter()
    .enumerate()
    {
        let row = world.row("/wh/listed_kept", columns, "listed_kept", n, event);
        assert_eq!(row, expected, "{event}");
    }
}

//! Values at typed paths, as ClickHouse reads them there.

use super::{
    super::{Geometry, JsonText, Map, Point, Utc, testing::*},
    *,
};

crate::json_paths! {
    struct Known { "a.n": i8, "a.u": u64, "f": f64, "s": Cow<'static, str>, "list": Vec<i32>, "at": DateTime<Utc>, "day": Date }
}

fn known(event: &str) -> Result<(), ValueError> {
    json::<JsonText<'_, Known>>(event).map(drop)
}

crate::path_tuple! {
    struct Pair { "x": i8, "y": Cow<'static, str> }
}
crate::enumeration! {
    enum State: i8 { Open = 1 => "open", Shut = 2 => "shut" }
}
crate::json_paths! {
    struct Rare {
        "dec": Decimal32<9, 2>, "fixed": FixedString<3>, "state": State, "t": Time, "t64": Time64<3>, "day": Date32,
        "map": Map<Cow<'static, str>, i8>, "pair": (i8, i8), "named": Pair, "point": Point, "any": Dynamic<'static>,
        "doc": JsonText<'static, Known>, "shape": Geometry,
    }
}

fn rare(event: &str) -> Result<(), ValueError> {
    json::<JsonText<'_, Rare>>(event).map(drop)
}

#[test]
fn rarer_types_are_checked_too() {
    for event in [
        r#"{"dec":1.5}"#,
        r#"{"dec":"1e2"}"#,
        r#"{"fixed":"abc"}"#,
        r#"{"state":"open"}"#,
        r#"{"state":null}"#,
        r#"{"t":"-112:13:14"}"#,
        r#"{"t":-5}"#,
        r#"{"t64":"12:13:14.5"}"#,
        r#"{"day":"1950-02-28"}"#,
        r#"{"map":{"a":1,"b":"-1"}}"#,
        r#"{"pair":[1,2]}"#,
        r#"{"named":{"y":5}}"#,
        r#"{"named":[1,"x"]}"#,
        r#"{"any":[1,{"a":"x"}]}"#,
        r#"{"doc":{"a":{"n":5}}}"#,
        r#"{"shape":[[[1,2]]]}"#,
    ] {
        assert_eq!(rare(event), Ok(()), "{event}");
    }
    for (event, problem) in [
        (r#"{"dec":10000000}"#, ValueError::OutOfRange),
        (r#"{"dec":""}"#, ValueError::Malformed),
        (r#"{"dec":true}"#, ValueError::WrongKind),
        (r#"{"fixed":"abcd"}"#, ValueError::TooLong),
        (r#"{"fixed":5}"#, ValueError::WrongKind),
        (r#"{"state":"1"}"#, ValueError::Malformed),
        (r#"{"state":"x"}"#, ValueError::UnknownName),
        (r#"{"state":1}"#, ValueError::WrongKind),
        (r#"{"t":"12:13"}"#, ValueError::Malformed),
        (r#"{"t":"12:13:14.5"}"#, ValueError::Malformed),
        (r#"{"t":1.5}"#, ValueError::NotAnInteger),
        (r#"{"t64":1.5}"#, ValueError::NotAnInteger),
        (r#"{"day":5}"#, ValueError::WrongKind),
        (r#"{"map":{"a":"x"}}"#, ValueError::Malformed),
        (r#"{"map":[]}"#, ValueError::WrongKind),
        (r#"{"pair":[1]}"#, ValueError::WrongLength),
        (r#"{"named":{}}"#, ValueError::WrongLength),
        (r#"{"named":{"z":1}}"#, ValueError::UnknownName),
        (r#"{"any":18446744073709551616}"#, ValueError::OutOfRange),
        (r#"{"doc":{"a":{"n":"x"}}}"#, ValueError::Malformed),
        (r#"{"doc":5}"#, ValueError::WrongKind),
        (r#"{"shape":[1]}"#, ValueError::NoneOfTheTypes),
    ] {
        assert_eq!(rare(event), Err(problem), "{event}");
    }
}

#[test]
fn values_at_typed_paths_are_checked() {
    for event in [
        r#"{"a":{"n":-5,"u":"18446744073709551615"},"a.x":"free"}"#,
        r#"{"a.n":"-128","f":"1.5","s":{"any":["thing"]},"list":[1,"2",null]}"#,
        r#"{"at":1700000000,"day":"2024-02-29"}"#,
        r#"{"at":"2024-02-29T12:13:14Z","day":null}"#,
        r#"{"in":[{"a":{"n":"elsewhere"}}],"a":5}"#,
    ] {
        assert_eq!(known(event), Ok(()), "{event}");
    }
    for (event, problem) in [
        (r#"{"a":{"n":128}}"#, ValueError::OutOfRange),
        (r#"{"a.n":1.5}"#, ValueError::NotAnInteger),
        (r#"{"a":{"n":""}}"#, ValueError::Malformed),
        (r#"{"a":{"n":"+5"}}"#, ValueError::Malformed),
        (r#"{"a":{"u":"-0"}}"#, ValueError::Malformed),
        (r#"{"a":{"n":{"x":1}}}"#, ValueError::WrongKind),
        (r#"{"f":"nan"}"#, ValueError::Malformed),
        (r#"{"list":[1,"x"]}"#, ValueError::Malformed),
        (r#"{"list":5}"#, ValueError::WrongKind),
        (r#"{"at":1700000000.5}"#, ValueError::NotAnInteger),
        (r#"{"at":"2024-02-29"}"#, ValueError::Malformed),
        (r#"{"day":"2024-02-29 12:13:14"}"#, ValueError::Malformed),
        (r#"{"day":19000}"#, ValueError::WrongKind),
    ] {
        assert_eq!(known(event), Err(problem), "{event}");
    }
}

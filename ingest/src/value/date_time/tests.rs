use super::{super::testing::*, *};

/// 2024-02-29 12:13:14 UTC.
const THEN: u32 = 1_709_208_794;
/// 2024-02-29 00:00:00 UTC.
const MIDNIGHT: u32 = 1_709_164_800;

fn seconds(event: &str) -> Result<u32, ValueError> {
    text::<DateTime>(event).map(DateTime::seconds)
}

fn millis(event: &str) -> Result<i64, ValueError> {
    text::<DateTime64<3>>(event).map(DateTime64::ticks)
}

#[test]
fn iso_8601_and_similar_forms_are_read() {
    for event in [
        "2024-02-29 12:13:14",
        "2024-02-29T12:13:14",
        "2024-02-29t12:13:14z",
        "2024-02-29T12:13:14Z",
        "2024-02-29T12:13:14.999Z",
        "2024-02-29 12:13:14.",
        "2024-02-29T15:13:14.999+03:00",
        "2024-02-29T15:13:14+0300",
        "2024-02-29T15:13:14+03",
        "2024-02-29 15:13:14 +03:00",
        "2024-02-29T06:43:14-05:30",
        "2024-2-29 12:13:14",
        "2024/02/29 12:13:14",
        "2024:02:29 12:13:14",
        "20240229121314",
        "20240229T121314Z",
        "20240229 121314",
        "20240229T12:13:14",
    ] {
        assert_eq!(seconds(event), Ok(THEN), "{event}");
    }
    assert_eq!(seconds("2024-02-29T12:13Z"), Ok(THEN - 14));
    assert_eq!(seconds("2024-02-29 12"), Ok(MIDNIGHT + 12 * 3600));
    for event in [
        "2024-02-29",
        "20240229",
        "2024-02-29T",
        " 2024-02-29 ",
        "2024-02-28 24:00:00",
    ] {
        assert_eq!(seconds(event), Ok(MIDNIGHT), "{event}");
    }
    assert_eq!(seconds("2024-02-28 23:59:60"), Ok(MIDNIGHT));
    assert_eq!(seconds("2024-02"), Ok(MIDNIGHT - 28 * 86_400));
    assert_eq!(seconds("202402"), Ok(MIDNIGHT - 28 * 86_400));
    assert_eq!(seconds("2024"), Ok(1_704_067_200));
}

#[test]
fn forms_of_people_and_mail_headers_are_read() {
    for event in [
        "Thu, 29 Feb 2024 12:13:14 GMT",
        "Thu, 29 Feb 2024 15:13:14 +0300",
        "Thu,29 Feb 2024 12:13:14 GMT",
        "Thu, 29-Feb-2024 12:13:14 GMT",
        "Thursday, 29 February 2024 12:13:14",
        "Thu Feb 29 12:13:14 2024",
        "Thu Feb 29 15:13:14 MSK 2024",
        "Thu Feb 29 2024 15:13:14 GMT+0300",
        "Feb 29, 2024 12:13:14 PM",
        "29.02.2024 12:13:14",
        "29-02-2024 12:13:14",
        "29/02/2024 12:13:14",
        "02/29/2024 12:13:14",
        "29/02/24 12:13:14",
        "12:13:14 2024-02-29",
        "12:13:14 29.02.2024",
        "2024-02-29 12:13:14UTC",
    ] {
        assert_eq!(seconds(event), Ok(THEN), "{event}");
    }
    assert_eq!(seconds("2024-02-29 12:13:14 AM"), Ok(THEN - 12 * 3600));
    assert_eq!(seconds("2024-02-29 1:13:14 pm"), Ok(THEN + 3600));
    assert_eq!(seconds("29 FEB 2024"), Ok(MIDNIGHT));
    assert_eq!(
        seconds("2.3.2024"),
        seconds("2024-03-02"),
        "the day is first where both are possible"
    );
    assert_eq!(seconds("1/2/70"), seconds("1970-02-01"));
}

#[test]
fn the_number_of_digits_decides_the_unit_of_a_text() {
    for (event, expected) in [
        ("1709208794", 1_709_208_794_000),
        ("170920879", 170_920_879_000),
        ("1709208794.5", 1_709_208_794_500),
        ("1709208794.9999999999", 1_709_208_794_999),
        ("1709208794123", 1_709_208_794_123),
        ("1709208794123456", 1_709_208_794_123),
        ("1709208794123456789", 1_709_208_794_123),
    ] {
        assert_eq!(millis(event), Ok(expected), "{event}");
    }
    for event in [
        "17092087",
        "17092087941",
        "99999999999999999",
        "-1709208794",
        "1709208794Z",
        "1709208794123.5",
    ] {
        assert_eq!(millis(event), Err(ValueError::Malformed), "{event}");
    }
}

#[test]
fn the_unit_of_a_number_is_that_of_the_column() {
    assert_eq!(json("1709208794"), Ok(DateTime::<Utc>::from_seconds(THEN)));
    assert_eq!(
        json("1709208794123"),
        Ok(DateTime64::<3>::from_ticks(1_709_208_794_123))
    );
    assert_eq!(json("-1"), Ok(DateTime64::<3>::from_ticks(-1)));
    assert_eq!(json("null"), Ok(DateTime64::<3>::from_ticks(0)));
    assert_eq!(json::<DateTime>("1709208794.5"), Err(ValueError::NotAnInteger));
    for event in ["true", "[]", "{}"] {
        assert_eq!(json::<DateTime>(event), Err(ValueError::WrongKind), "{event}");
    }
    for event in [
        "-1",
        "4294967296",
        "1709208794123",
        r#""1969-12-31 23:59:59""#,
        r#""2106-02-07 06:28:16""#,
    ] {
        assert_eq!(json::<DateTime>(event), Err(ValueError::OutOfRange), "{event}");
    }
    assert_eq!(
        json(r#""2106-02-07 06:28:15""#),
        Ok(DateTime::<Utc>::from_seconds(u32::MAX))
    );
}

#[test]
fn a_number_with_a_fraction_is_in_seconds_by_the_lenient_rules() {
    assert_eq!(lenient("1709208794.908181"), Ok(DateTime::<Utc>::from_seconds(THEN)));
    assert_eq!(
        lenient("1709208794.0"),
        Ok(DateTime64::<3>::from_ticks(1_709_208_794_000))
    );
    assert_eq!(
        lenient("1709208794.908181"),
        Ok(DateTime64::<6>::from_ticks(1_709_208_794_908_181))
    );
    assert_eq!(lenient("-0.5"), Ok(DateTime64::<0>::from_ticks(-1)));
    // An integer is in the units of the column by all rules.
    assert_eq!(lenient("1709208794"), Ok(DateTime64::<3>::from_ticks(1_709_208_794)));
    for event in ["-0.5", "4294967296.0", "1e300"] {
        let result = lenient::<DateTime>(event);
        assert!(
            matches!(result, Err(ValueError::OutOfRange | ValueError::NotAnInteger)),
            "{event}"
        );
    }
    assert_eq!(lenient::<DateTime64<3>>("253402300800.0"), Err(ValueError::OutOfRange));
}

#[test]
fn malformed_times_are_refused() {
    for event in [
        "",
        "abc",
        "now",
        "0",
        "1",
        "12345",
        "12:13:14",
        "29.02",
        "29 Feb",
        "2023-02-29 12:00:00",
        "2024-13-01 12:00:00",
        "2024-00-10 12:00:00",
        "0000-00-00 00:00:00",
        "0000-01-01",
        "2024-02-29 24:00:01",
        "2024-02-29 25:00:00",
        "2024-02-29 23:60:00",
        "2024-02-29 23:59:61",
        "2024-02-29 12:13:14+24:00",
        "2024-02-29 12:13:14 Europe/Moscow",
        "2024-02-29 12:13:14 CET",
        "2024-02-29 12:",
        "2024-02-29 123:13:14",
        "2024-02-29-12:13:14",
        "2024-02-29T12:13:14.123.456",
        "2024 02 09",
        "2024/02-09",
        "2024-02-29 12:13:14+03:00 MSK",
        "13/13/2024",
        "10000-01-01",
        "2024-W09-4",
        "2024-060",
        "20240230",
        "20240229T1213",
        "2024-02-29 12:13:14 é",
        "PM",
        "2024 PM",
        "Feb Mar 2024",
    ] {
        assert_eq!(seconds(event), Err(ValueError::Malformed), "{event}");
    }
}

#[test]
fn fractions_are_rounded_down_to_the_columns_unit() {
    assert_eq!(millis("2024-02-29T12:13:14.1239Z"), Ok(1_709_208_794_123));
    assert_eq!(millis("1969-12-31 23:59:59.5"), Ok(-500));
    assert_eq!(text("1969-12-31 23:59:59.5"), Ok(DateTime64::<0>::from_ticks(-1)));
    assert_eq!(
        text("2024-02-29 12:13.5"),
        Ok(DateTime64::<1>::from_ticks(17_092_087_805))
    );
}

#[test]
fn the_range_of_a_date_time64_depends_on_its_digits() {
    assert_eq!(millis("0001-01-01"), Ok(-62_135_596_800_000));
    assert_eq!(millis("9999-12-31 23:59:59.999"), Ok(253_402_300_799_999));
    assert_eq!(millis("9999-12-31 23:59:59-01:00"), Err(ValueError::OutOfRange));
    assert_eq!(json::<DateTime64<3>>("253402300800000"), Err(ValueError::OutOfRange));
    let nanos = |event| text::<DateTime64<9>>(event).map(DateTime64::ticks);
    assert_eq!(nanos("2262-04-11 23:47:16.5"), Ok(9_223_372_036_500_000_000));
    assert_eq!(nanos("2262-04-11 23:47:17"), Err(ValueError::OutOfRange));
    assert_eq!(nanos("1677-09-21 00:12:43"), Err(ValueError::OutOfRange));
    assert_eq!(json(&i64::MIN.to_string()), Ok(DateTime64::<9>::from_ticks(i64::MIN)));
}

#[test]
fn text_without_an_offset_is_local_time_of_the_column() {
    crate::zone! {
        struct Berlin = "Europe/Berlin";
    }
    let berlin = |event| text::<DateTime<Berlin>>(event).map(DateTime::seconds);
    assert_eq!(berlin("2024-02-29 13:13:14"), Ok(THEN));
    assert_eq!(berlin("29.02.2024 13:13:14"), Ok(THEN));
    assert_eq!(berlin("2024-02-29 12:13:14Z"), Ok(THEN));
    assert_eq!(berlin("1709208794"), Ok(THEN));
    assert_eq!(berlin("1970-01-01 00:59:59"), Err(ValueError::OutOfRange));
}

#[test]
fn the_last_second_of_the_calendar_is_a_local_time_of_any_zone() {
    crate::zone! {
        struct NewYork = "America/New_York";
    }
    let new_york = |event| text::<DateTime64<0, NewYork>>(event).map(DateTime64::ticks);
    assert_eq!(new_york("9999-12-31 23:59:59"), Ok(253_402_300_799 + 5 * 3600));
    assert_eq!(new_york("9999-12-31 24:00:00"), Err(ValueError::OutOfRange));
    assert_eq!(new_york("9999-12-31 23:59:59-05:00"), Err(ValueError::OutOfRange));
    assert_eq!(millis("9999-12-31 24:00:00"), Err(ValueError::OutOfRange));
}

#[test]
fn the_fast_and_the_slow_path_agree() {
    // The fast path accepts hyphens only.
    for event in [
        "2024-02-29 12:13:14",
        "1999-12-31T23:59:59.123456789Z",
        "2100-01-01",
        "2024-02-29 12:13:14-05:30",
    ] {
        let slow = event.replacen("-", "/", 2);
        assert_eq!(text::<DateTime64<6>>(event), text::<DateTime64<6>>(&slow), "{event}");
    }
}

#[test]
fn values_are_little_endian() {
    assert_eq!(bytes(&DateTime::<Utc>::from_seconds(1)), [1, 0, 0, 0]);
    assert_eq!(bytes(&DateTime64::<3>::from_ticks(-1)), [0xFF; 8]);
}
